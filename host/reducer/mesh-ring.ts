// A ring of bytes in shared memory with one writer and one reader (docs/architecture.md, the mesh). Both positions only grow, modulo 2^32;
// each is stored by one side alone, so a store that follows the copy is the only synchronisation.
// The copies are those of Buffer: the `set` of a typed array goes word by word or byte by byte as soon as one side is shared, in three to twenty
// times as long.
//
//   control, Int32:  [0] written   [16] read   [32] 1 = the writer waits for room        data: a power of two bytes
import { strict as assert } from 'node:assert';

const WRITTEN = 0;
const READ = 16;
const WRITER_WAITS = 32;
/** Three cache lines apart from each other and from the data. */
const CONTROL_BYTES = 192;

export const MESH_RING_BYTES = 1 << 20;

/** Memory for one direction between two workers. `capacityBytes`: a power of two. */
export function allocateRing(capacityBytes = MESH_RING_BYTES): SharedArrayBuffer {
  assert(Number.isInteger(Math.log2(capacityBytes)), `${capacityBytes} is not a power of two`);
  return new SharedArrayBuffer(CONTROL_BYTES + capacityBytes);
}

export class RingWriter {
  readonly capacityBytes: number;
  readonly #control: Int32Array;
  readonly #data: Buffer;

  constructor(memory: SharedArrayBuffer) {
    this.#control = new Int32Array(memory, 0, CONTROL_BYTES / 4);
    this.#data = Buffer.from(memory, CONTROL_BYTES);
    this.capacityBytes = this.#data.length;
  }

  get freeBytes(): number {
    return this.capacityBytes - ((Atomics.load(this.#control, WRITTEN) - Atomics.load(this.#control, READ)) >>> 0);
  }

  /** Publishes the bytes in one step: the reader sees all of them or none. Throws AssertionError when they do not fit. */
  write(bytes: Uint8Array): void {
    assert(bytes.length <= this.freeBytes, `${bytes.length} bytes into ${this.freeBytes}`);
    const written = Atomics.load(this.#control, WRITTEN);
    const start = written & (this.capacityBytes - 1);
    const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const untilWrap = source.copy(this.#data, start);
    source.copy(this.#data, 0, untilWrap);
    Atomics.store(this.#control, WRITTEN, (written + bytes.length) | 0);
  }

  /** Asks the reader to ring when it has made room. Look at `freeBytes` again afterwards: the room may have come in between. */
  awaitRoom(): void {
    Atomics.store(this.#control, WRITER_WAITS, 1);
  }
}

export class RingReader {
  readonly #control: Int32Array;
  readonly #data: Buffer;

  constructor(memory: SharedArrayBuffer) {
    this.#control = new Int32Array(memory, 0, CONTROL_BYTES / 4);
    this.#data = Buffer.from(memory, CONTROL_BYTES);
  }

  get availableBytes(): number {
    return (Atomics.load(this.#control, WRITTEN) - Atomics.load(this.#control, READ)) >>> 0;
  }

  /** Copies the oldest `target.length` bytes, which must be available, and leaves them in the ring. */
  copyInto(target: Uint8Array): void {
    assert(target.length <= this.availableBytes);
    const start = Atomics.load(this.#control, READ) & (this.#data.length - 1);
    const untilWrap = this.#data.copy(target, 0, start, start + target.length);
    this.#data.copy(target, untilWrap, 0, target.length - untilWrap);
  }

  /** Gives `byteCount` bytes back. True when the writer waits for room and has to be rung. */
  advance(byteCount: number): boolean {
    assert(byteCount <= this.availableBytes);
    Atomics.store(this.#control, READ, (Atomics.load(this.#control, READ) + byteCount) | 0);
    return byteCount > 0 && Atomics.exchange(this.#control, WRITER_WAITS, 0) === 1;
  }
}

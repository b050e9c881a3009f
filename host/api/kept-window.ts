// A closed window in the store. What its workers wrote is large and mostly zeros, so it is packed, and unpacked for each that reads it.
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompressSync } from 'node:zlib';
import { takeReturned } from '../lib/returned-memory.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';

const compress = promisify(zstdCompress);
/**
 * Of 4.7 MB the main thread has 270 kB after 9 ms of another thread, and 4.7 MB again in 6 ms. A larger distance than 2^19 saves a twentieth, and has each of
 * libuv's threads keep 2 MiB more.
 */
const COMPRESSION = { params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_windowLog]: 19 } };

/** Less has memory of malloc: what is mapped by itself takes whole pages. */
const MAPPED_BYTES_MIN = 1 << 16;

interface PackedOutput {
  bytes: Uint8Array;
  plainBytes: number;
}

export class KeptWindow {
  readonly window: number;
  readonly windowNs: number;
  #plain: readonly Uint8Array[];
  #packed: readonly PackedOutput[] | undefined;

  constructor({ window, windowNs, outputs }: ClosedWindow) {
    this.window = window;
    this.windowNs = windowNs;
    this.#plain = outputs;
  }

  /** What it takes of memory now. */
  get byteLength(): number {
    const outputs = this.#packed?.map(({ bytes }) => bytes) ?? this.#plain;
    return outputs.reduce((total, { byteLength }) => total + byteLength, 0);
  }

  /** As the workers wrote them; to be read at once. */
  get outputs(): readonly Uint8Array[] {
    return this.#packed?.map(unpack) ?? this.#plain;
  }

  /** Resolves with the outputs that it was made with, which are the caller's from then on; with copies of them when they cannot be packed. */
  async pack(): Promise<readonly Uint8Array[]> {
    const plain = this.#plain;
    try {
      this.#packed = await Promise.all(plain.map(pack));
    } catch {
      return plain.map((output) => Uint8Array.from(output));
    }
    this.#plain = [];
    return plain;
  }
}

async function pack(output: Uint8Array): Promise<PackedOutput> {
  const plainBytes = output.byteLength;
  const packed = await compress(output, COMPRESSION);
  // Compression leaves room behind the last byte.
  const bytes =
    packed.byteLength < MAPPED_BYTES_MIN ? new Uint8Array(packed.byteLength) : takeReturned(packed.byteLength);
  bytes.set(packed);
  return { bytes, plainBytes };
}

/** In one piece: a full one would be followed by another, and all of them copied together. */
function unpack({ bytes, plainBytes }: PackedOutput): Uint8Array {
  return zstdDecompressSync(bytes, { chunkSize: Math.max(constants.Z_MIN_CHUNK, plainBytes + 1) });
}

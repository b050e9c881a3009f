// Bytes in any pieces → frames. A frame inside one piece is a view of it; a frame that spans pieces is copied once into memory of its
// exact size, so the work is proportional to the bytes and at most one incomplete frame is held, however small the pieces are.
import { strict as assert } from 'node:assert';
import { crc32 } from 'node:zlib';
import { decompress, FRAME_BYTES_MAX, frameHeader, viewOf } from './frame.ts';
import type { FrameMemory } from './frame-memory.ts';
import { FRAME_HEADER_SIZE, FrameFlags, type FrameHeader, FrameKind, writeFrameHeader } from './gen/wire-layout.ts';
import { type Refusal, RefusalCounters } from './refusal.ts';

const FLAGS_KNOWN = FrameFlags.Crc32 | FrameFlags.Zstd;
const NO_BYTES = new Uint8Array(0);

export interface Frame {
  kind: number;
  flags: number;
  seq: number;
  /** Decompressed; empty when refused. */
  payload: Uint8Array;
  /** Header and payload, decompressed, in one piece; empty when refused. */
  bytes: Uint8Array;
  /** Why the payload cannot be used. The header was sound, so the frame still has its place in the sequence. */
  refusal: Refusal | undefined;
  /** `bytes` are part of the piece that was received, which others use again or free: who keeps them copies them. */
  isBorrowed: boolean;
  /** What `bytes` lies in, when that is from the FrameMemory: to be given back by whoever consumes the frame. */
  memory?: Uint8Array<ArrayBuffer>;
}

export class FrameDecoder {
  readonly refused = new RefusalCounters();
  /** Greatest frame that is accepted. The reducer keeps it small until it knows the peer. */
  frameBytesMax: number;
  /** Why the stream cannot be read on: after a broken header nobody knows where the next frame begins. */
  broken: Refusal | undefined;
  #piece: Uint8Array = NO_BYTES;
  #position = 0;
  /** The frame that spans pieces: first its header alone, then all of it. */
  #spanning: Uint8Array = NO_BYTES;
  #spanningFilled = 0;
  /** What `#spanning` lies in, when that is from `#memory`. */
  #spanningMemory: Uint8Array<ArrayBuffer> | undefined;
  readonly #memory: FrameMemory | undefined;

  /** `memory`: for frames that span pieces; new memory for each without. */
  constructor(frameBytesMax = FRAME_BYTES_MAX, memory?: FrameMemory) {
    this.frameBytesMax = frameBytesMax;
    this.#memory = memory;
  }

  /** Bytes of a frame that is not complete. */
  get pendingBytes(): number {
    return this.#spanningFilled + this.#piece.length - this.#position;
  }

  /** Takes the next piece, which must not change before `next` has returned undefined. Frames of the one before must have been taken. */
  push(piece: Uint8Array): void {
    assert(
      this.#position === this.#piece.length || this.broken !== undefined,
      'call next() until it returns undefined',
    );
    // A Buffer would hand its own slice and subarray, which differ, to everybody who gets a view.
    this.#piece = new Uint8Array(piece.buffer, piece.byteOffset, piece.length);
    this.#position = 0;
  }

  /** The next frame, or undefined when more bytes are needed or the stream is `broken`. */
  next(): Frame | undefined {
    if (this.broken !== undefined) return undefined;
    const frame = this.#next();
    if (frame === undefined) this.#forgetPiece();
    return frame;
  }

  #next(): Frame | undefined {
    if (this.#spanning.length === 0) {
      const whole = this.#takeWhole();
      return whole && this.#open(whole, true);
    }
    const bytes = this.#continueSpanning();
    if (bytes === undefined) return undefined;
    const memory = this.#spanningMemory;
    this.#spanningMemory = undefined;
    const frame = this.#open(bytes, false);
    // A frame that was compressed is read where it was decompressed.
    if (memory === undefined) return frame;
    if (frame.bytes === bytes) return { ...frame, memory };
    this.#memory?.give(memory);
    return frame;
  }

  /** Also when the stream is broken: nothing of what is left will be read. */
  #forgetPiece(): void {
    this.#piece = NO_BYTES;
    this.#position = 0;
  }

  #takeWhole(): Uint8Array | undefined {
    const available = this.#piece.length - this.#position;
    if (available === 0) return undefined;
    if (available < FRAME_HEADER_SIZE) return this.#startSpanning(FRAME_HEADER_SIZE);
    const frameBytes = this.#frameBytes(this.#piece.subarray(this.#position));
    if (frameBytes === undefined) return undefined;
    if (available < frameBytes) return this.#startSpanning(frameBytes);
    const start = this.#position;
    this.#position += frameBytes;
    return this.#piece.subarray(start, this.#position);
  }

  #startSpanning(byteCount: number): undefined {
    this.#spanning = this.#spanningOf(byteCount);
    this.#spanningFilled = 0;
    this.#fillSpanning();
  }

  #continueSpanning(): Uint8Array | undefined {
    this.#fillSpanning();
    if (this.#spanningFilled < this.#spanning.length) return undefined;
    const frameBytes = this.#frameBytes(this.#spanning);
    if (frameBytes === undefined) return undefined;
    if (frameBytes > this.#spanning.length) {
      const header = this.#spanning;
      this.#spanning = this.#spanningOf(frameBytes);
      this.#spanning.set(header);
      this.#fillSpanning();
      if (this.#spanningFilled < frameBytes) return undefined;
    }
    const bytes = this.#spanning;
    this.#spanning = NO_BYTES;
    this.#spanningFilled = 0;
    return bytes;
  }

  #spanningOf(byteCount: number): Uint8Array {
    this.#spanningMemory = this.#memory?.take(byteCount);
    return this.#spanningMemory?.subarray(0, byteCount) ?? new Uint8Array(byteCount);
  }

  #fillSpanning(): void {
    const count = Math.min(this.#spanning.length - this.#spanningFilled, this.#piece.length - this.#position);
    this.#spanning.set(this.#piece.subarray(this.#position, this.#position + count), this.#spanningFilled);
    this.#spanningFilled += count;
    this.#position += count;
  }

  /** Size of the frame with this header; undefined when the header is broken. */
  #frameBytes(bytes: Uint8Array): number | undefined {
    const header = frameHeader(bytes);
    this.broken = this.#headerRefusal(header);
    if (this.broken !== undefined) this.refused.count(this.broken);
    return this.broken === undefined ? FRAME_HEADER_SIZE + header.length : undefined;
  }

  #headerRefusal({ length, kind, flags, crc }: FrameHeader): Refusal | undefined {
    if (kind === FrameKind.None) return 'kind';
    if ((flags & ~FLAGS_KNOWN) !== 0 || ((flags & FrameFlags.Crc32) === 0 && crc !== 0)) return 'flags';
    if (FRAME_HEADER_SIZE + length > this.frameBytesMax) return 'length';
    if ((flags & FrameFlags.Zstd) === 0 && length % 8 !== 0) return 'alignment';
    return undefined;
  }

  #open(bytes: Uint8Array, isBorrowed: boolean): Frame {
    const { kind, flags, seq, crc } = frameHeader(bytes);
    const body = bytes.subarray(FRAME_HEADER_SIZE);
    const refuse = (refusal: Refusal): Frame => {
      this.refused.count(refusal);
      return { kind, flags, seq, payload: NO_BYTES, bytes: NO_BYTES, isBorrowed: false, refusal };
    };
    if ((flags & FrameFlags.Crc32) !== 0 && crc32(body) !== crc) return refuse('crc');
    if ((flags & FrameFlags.Zstd) === 0) {
      return { kind, flags, seq, payload: body, bytes, isBorrowed, refusal: undefined };
    }
    const plain = decompressed(kind, seq, body);
    return plain === undefined ? refuse('zstd') : { kind, flags, seq, ...plain, isBorrowed: false, refusal: undefined };
  }
}

/** The same frame as if it had been sent without compression. */
function decompressed(
  kind: number,
  seq: number,
  body: Uint8Array,
): { payload: Uint8Array; bytes: Uint8Array } | undefined {
  let plain: Uint8Array;
  try {
    plain = decompress(body);
  } catch {
    return undefined;
  }
  if (plain.length % 8 !== 0) return undefined;
  const bytes = new Uint8Array(FRAME_HEADER_SIZE + plain.length);
  writeFrameHeader(viewOf(bytes), 0, { length: plain.length, kind, flags: 0, seq, crc: 0 });
  bytes.set(plain, FRAME_HEADER_SIZE);
  return { payload: bytes.subarray(FRAME_HEADER_SIZE), bytes };
}

// A frame is a 16-byte header and a payload (docs/protocol.md, section 2). This file makes them; frame-decoder.ts reads them.
import { strict as assert } from 'node:assert';
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import {
  FRAME_HEADER_SIZE,
  FrameFlags,
  type FrameHeader,
  readFrameHeader,
  writeFrameHeader,
} from './gen/wire-layout.ts';

/** Header and payload, before compression and as transmitted. */
export const FRAME_BYTES_MAX = 1 << 20;

/** zstd windows are at most as large as a frame: a header that asks for more memory is refused by the decompressor. */
const ZSTD_WINDOW_LOG_MAX = 20;

/** A frame costs at least this much credit: what the receiver needs to keep one, however small. */
const FRAME_COST_BYTES_MIN = 256;

const SEQ_MAX = 0xffff_ffff;

export interface FrameOptions {
  kind: number;
  /** 0 for Hello and for whatever goes towards the agent; else 1 to 2^32 - 1. */
  seq: number;
  /** One FlatBuffer; a multiple of 8 bytes. */
  payload: Uint8Array;
  crc?: boolean;
  /** Compress, unless that makes the payload larger. */
  zstd?: boolean;
}

/** Throws AssertionError when the payload is misaligned or too long: the caller made it. */
export function encodeFrame({ kind, seq, payload, crc = false, zstd = false }: FrameOptions): Uint8Array<ArrayBuffer> {
  assert(payload.length % 8 === 0, `payload of ${payload.length} bytes is not padded to 8`);
  assert(payload.length <= FRAME_BYTES_MAX - FRAME_HEADER_SIZE, `payload of ${payload.length} bytes`);
  assert(kind > 0 && seq >= 0 && seq <= SEQ_MAX);
  const compressed = zstd ? compress(payload) : payload;
  const isSmaller = compressed.length < payload.length;
  const body = isSmaller ? compressed : payload;
  const frame = new Uint8Array(FRAME_HEADER_SIZE + body.length);
  frame.set(encodeFrameHeader({ kind, seq, body, crc, isCompressed: isSmaller }));
  frame.set(body, FRAME_HEADER_SIZE);
  return frame;
}

export interface FrameHeaderOptions extends Omit<FrameOptions, 'payload' | 'zstd'> {
  /** What follows the header. */
  body: Uint8Array;
  isCompressed?: boolean;
}

export function encodeFrameHeader(options: FrameHeaderOptions): Uint8Array<ArrayBuffer> {
  const { kind, seq, body, crc = false, isCompressed = false } = options;
  const header = new Uint8Array(FRAME_HEADER_SIZE);
  writeFrameHeader(viewOf(header), 0, {
    length: body.length,
    kind,
    flags: (crc ? FrameFlags.Crc32 : 0) | (isCompressed ? FrameFlags.Zstd : 0),
    seq,
    crc: crc ? crc32(body) : 0,
  });
  return header;
}

/** Credit that a frame takes, bytes. Counted before compression, because that is what the receiver has to hold. */
export function frameCostBytes(payloadBytes: number): number {
  return Math.max(FRAME_COST_BYTES_MIN, FRAME_HEADER_SIZE + payloadBytes);
}

/** Header of a frame that begins at the start of `bytes`. */
export function frameHeader(bytes: Uint8Array): FrameHeader {
  return readFrameHeader(viewOf(bytes), 0);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function compress(payload: Uint8Array): Uint8Array {
  return zstdCompressSync(payload, {
    pledgedSrcSize: payload.length,
    params: { [constants.ZSTD_c_windowLog]: ZSTD_WINDOW_LOG_MAX },
  });
}

/** Throws when `body` is not zstd or would grow beyond a frame. */
export function decompress(body: Uint8Array): Uint8Array {
  return zstdDecompressSync(body, {
    maxOutputLength: FRAME_BYTES_MAX - FRAME_HEADER_SIZE,
    params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
  });
}

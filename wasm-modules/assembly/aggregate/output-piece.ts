// The part of a WindowOutput that was written last. An output may have hundreds of megabytes and linear memory never shrinks, so it leaves in
// pieces: what was written in one call is read before the next.

import { allocate } from '../lib/arena';

/** More than the points of a slice take, and than the longest record: a full piece ends the slice. What is not written takes no memory. */
const PIECE_BYTES: u32 = 1 << 20;

let piece: usize = 0;
let bytes: u32 = 0;

export function initOutputPiece(): void {
  piece = allocate(PIECE_BYTES);
  bytes = 0;
}

/** The piece has been read. */
export function beginPiece(): void {
  bytes = 0;
}

/** Where the next `size` bytes of the output belong; 0 = the piece is full. */
export function takeRoom(size: u32): usize {
  assert(size <= PIECE_BYTES);
  if (size > PIECE_BYTES - bytes) return 0;
  const address = piece + bytes;
  bytes += size;
  return address;
}

export function pieceAddress(): usize {
  return piece;
}

export function pieceBytes(): u32 {
  return bytes;
}

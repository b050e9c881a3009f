// Memory of pieces that were received. The collector would find it when tens of megabytes of them have gathered.

/** Frees the memory of a piece that is not kept, unless others have a part of it. */
export function freePiece(piece: Uint8Array): void {
  memoryOf(piece)?.transfer(0);
}

/** The piece, or a copy when others have a part of its memory, as TLS's have: to be handed to another thread with its buffer. */
export function ownPiece(piece: Uint8Array): Uint8Array<ArrayBuffer> {
  const memory = memoryOf(piece);
  return memory === undefined ? new Uint8Array(piece) : new Uint8Array(memory, piece.byteOffset, piece.byteLength);
}

/**
 * That of the piece alone. What shares memory with others takes less than half of it (Buffer.poolSize; TLS reads records of 16 KiB into slabs of 64),
 * and Node leaves up to a quarter of a piece's memory empty.
 */
function memoryOf({ buffer, byteLength }: Uint8Array): ArrayBuffer | undefined {
  return buffer instanceof ArrayBuffer && byteLength * 2 >= buffer.byteLength ? buffer : undefined;
}

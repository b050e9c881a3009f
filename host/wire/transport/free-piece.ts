/**
 * The memory of a piece that was received, unless others have a part of it: what shares memory takes less than half of it (Buffer.poolSize), and Node
 * leaves up to a quarter of a piece's memory empty.
 */
export function memoryOfPiece({ buffer, byteLength }: Uint8Array): ArrayBuffer | undefined {
  return buffer instanceof ArrayBuffer && byteLength * 2 >= buffer.byteLength ? buffer : undefined;
}

/** Frees the memory of a piece that is not kept. The collector would find it when tens of megabytes of them have gathered. */
export function freePiece(piece: Uint8Array): void {
  memoryOfPiece(piece)?.transfer(0);
}

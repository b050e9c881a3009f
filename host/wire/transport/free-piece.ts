/**
 * Frees the memory of a piece that was received and is not kept. The collector would find it when tens of megabytes of them have gathered. Node leaves
 * up to a quarter of a piece's memory empty; what shares memory with others takes less than half of it (Buffer.poolSize).
 */
export function freePiece({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && byteLength * 2 >= buffer.byteLength) buffer.transfer(0);
}

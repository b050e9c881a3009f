// Memory of megabytes that comes and goes with each window. malloc takes what was freed once from its arenas, which go back to the system only
// from their ends; memory that may be resized is mapped by itself, and unmapped when it is freed.

/** Zeros that the system has back as soon as they are given. They may be transferred to another thread, and given there. */
export function takeReturned(byteCount: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(byteCount, { maxByteLength: byteCount }), 0, byteCount);
}

/** Frees all of the array's memory, unless others have a part of it. */
export function giveReturned({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) buffer.transferToFixedLength(0);
}

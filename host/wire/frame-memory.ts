// Memory of frames that come in several pieces, used again once a frame has been consumed: agents fill their frames, so most frames are of this
// kind, and new memory for each would have the garbage collector look through the heap several times in a window.

/** Smaller ones are cheap to make. */
const BYTES_MIN = 1 << 14;
/** Kept for use at most, over all sizes. */
const KEPT_BYTES_MAX = 8 << 20;

export class FrameMemory {
  readonly #kept = new Map<number, Uint8Array<ArrayBuffer>[]>();
  #keptBytes = 0;

  /** Of at least `byteCount` bytes, the next power of two; they hold whatever was there. Undefined when new memory of that size is as good. */
  take(byteCount: number): Uint8Array<ArrayBuffer> | undefined {
    if (byteCount < BYTES_MIN) return undefined;
    const size = 2 ** Math.ceil(Math.log2(byteCount));
    const kept = this.#kept.get(size)?.pop();
    if (kept === undefined) return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
    this.#keptBytes -= size;
    return kept;
  }

  /** Nobody reads `memory`, which `take` gave, any more. */
  give(memory: Uint8Array<ArrayBuffer>): void {
    if (this.#keptBytes + memory.length > KEPT_BYTES_MAX) {
      // Freed now, not when the collector finds it.
      memory.buffer.transfer(0);
      return;
    }
    this.#keptBytes += memory.length;
    const kept = this.#kept.get(memory.length);
    if (kept === undefined) this.#kept.set(memory.length, [memory]);
    else kept.push(memory);
  }
}

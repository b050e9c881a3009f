// Memory of frames that are copied, used again once they have been consumed: those that come in several pieces, and those that fill their piece.
// Agents fill their frames, so most are of these kinds, and new memory for each would have the garbage collector look through the heap several
// times in a window.

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
    const { length } = memory;
    while (this.#keptBytes + length > KEPT_BYTES_MAX) {
      const other = this.#largestOtherThan(length);
      if (other === undefined) return free(memory);
      this.#keptBytes -= other.length;
      free(other);
    }
    this.#keptBytes += length;
    const kept = this.#kept.get(length);
    if (kept === undefined) this.#kept.set(length, [memory]);
    else kept.push(memory);
  }

  /** No longer kept. What is given last is what is taken next, so sizes that are not taken any more make room for it. */
  #largestOtherThan(size: number): Uint8Array<ArrayBuffer> | undefined {
    let largest = 0;
    for (const [other, { length }] of this.#kept) if (length > 0 && other !== size) largest = Math.max(largest, other);
    return this.#kept.get(largest)?.pop();
  }
}

/** Now, not when the collector finds it. */
function free({ buffer }: Uint8Array<ArrayBuffer>): void {
  buffer.transfer(0);
}

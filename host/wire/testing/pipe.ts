// A byte stream between two simulated ends: it delays, cuts into pieces of any size and breaks at any byte, but neither loses nor
// reorders what it delivers, as TCP does.

interface Piece {
  atMs: number;
  bytes: Uint8Array;
}

export class Pipe {
  readonly #random: () => number;
  #pieces: Piece[] = [];
  #lastMs = 0;
  #isCut = false;

  constructor(random: () => number) {
    this.#random = random;
  }

  send(bytes: Uint8Array, nowMs: number): void {
    if (this.#isCut) return;
    for (let start = 0; start < bytes.length; ) {
      const end = this.#random() < 0.5 ? bytes.length : start + 1 + Math.floor(this.#random() * (bytes.length - start));
      this.#lastMs = Math.max(this.#lastMs, nowMs + this.#random() ** 4 * 300);
      this.#pieces.push({ atMs: this.#lastMs, bytes: bytes.slice(start, end) });
      start = end;
    }
  }

  /** What has arrived by now, in order. */
  arrived(nowMs: number): Uint8Array[] {
    const end = this.#pieces.findIndex((piece) => piece.atMs > nowMs);
    return this.#pieces.splice(0, end < 0 ? this.#pieces.length : end).map((piece) => piece.bytes);
  }

  /** Breaks the stream: of what is under way a part arrives, up to any byte. What is sent later is lost. */
  cut(): void {
    this.#isCut = true;
    this.#pieces.length = Math.floor(this.#random() * (this.#pieces.length + 1));
    const last = this.#pieces.at(-1);
    if (last !== undefined) last.bytes = last.bytes.subarray(0, Math.floor(this.#random() * (last.bytes.length + 1)));
  }
}

// Which closed windows are known to be committed, by the incarnation that closed them. The numbers of two incarnations must not be mixed: a
// window that one sealed and never exported is not committed because the next one got further.
import type { Hello } from './gen/wire-tables.ts';

/** Agents that were away for more incarnations than this are told nothing of the oldest. */
const INCARNATION_COUNT_MAX = 64;

export class KnownCommits {
  readonly #closedWindows = new Map<bigint, number>();

  /** `incarnation` committed `closedWindow` and all before it. */
  note(incarnation: bigint, closedWindow: number): void {
    if (incarnation === 0n || closedWindow <= this.of(incarnation)) return;
    this.#closedWindows.set(incarnation, closedWindow);
    const [oldest] = this.#closedWindows.keys();
    if (this.#closedWindows.size > INCARNATION_COUNT_MAX) this.#closedWindows.delete(oldest);
  }

  /** What an agent knows of the incarnation that it spoke to last. Of `own`, the incarnation that reads this, no agent knows more. */
  noteHello({ incarnation, committedClosedWindow }: Hello, own: bigint): void {
    if (incarnation !== own) this.note(incarnation, committedClosedWindow);
  }

  /** The greatest closed window of `incarnation` that is known to be committed; 0 = none. Welcome tells it for Hello's incarnation. */
  of(incarnation: bigint): number {
    return this.#closedWindows.get(incarnation) ?? 0;
  }
}

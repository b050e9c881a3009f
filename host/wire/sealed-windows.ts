// What a reducer sealed and no exporter has confirmed yet, per session: pairs of (closed window, the session's own window that is held in
// it). Both ends keep the list: the reducer to tell it again after a reconnect, the agent to understand a commit that it hears of from
// another incarnation. Both numbers rise.
import type { Committed } from './gen/wire-layout.ts';

/** A reducer that cannot export keeps far fewer windows than this in its queue. */
const SEALED_COUNT_MAX = 4096;

export class SealedWindows {
  /** Pairs given up because SEALED_COUNT_MAX was reached: their windows are told again if the reducer dies. */
  dropped = 0;
  #pairs: Committed[] = [];

  /** False for what is known already. */
  seal(pair: Committed): boolean {
    const last = this.#pairs.at(-1);
    if (last !== undefined && pair.closedWindow <= last.closedWindow) return false;
    this.#pairs.push(pair);
    if (this.#pairs.length > SEALED_COUNT_MAX) {
      this.#pairs.shift();
      this.dropped++;
    }
    return true;
  }

  /** Removes the pairs up to `closedWindow` and returns the last of them. */
  commit(closedWindow: number): Committed | undefined {
    const end = this.#pairs.findIndex((pair) => pair.closedWindow > closedWindow);
    return this.#pairs.splice(0, end < 0 ? this.#pairs.length : end).at(-1);
  }

  /** Oldest first. */
  list(): readonly Committed[] {
    return this.#pairs;
  }

  clear(): void {
    this.#pairs = [];
  }
}

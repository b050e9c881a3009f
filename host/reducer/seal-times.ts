// When the open window may be sealed, by the reducer's clock (docs/protocol.md, sections 4 and 6): not before it has ended, nor before
// agents could come back to a fresh reducer, nor during a hold; and when all of them have told it, or had the lateness to do so.
import type { Instant } from '../lib/clock.ts';

export interface SealTimesOptions {
  windowNs: bigint;
  latenessNs: bigint;
  recoveryMs: number;
  start: Instant;
}

export class SealTimes {
  readonly #options: SealTimesOptions;
  /** Since when agents can reach this reducer; undefined while it is about to listen. */
  #reachableSince: Instant | undefined;
  #isHeld = false;
  /** When the last hold ended. */
  #heldUntilNs = 0n;

  constructor(options: SealTimesOptions) {
    this.#options = options;
    this.#reachableSince = options.start;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  beginListening(): void {
    this.#reachableSince = undefined;
  }

  /** The recovery period begins. */
  listening(now: Instant): void {
    this.#reachableSince = now;
  }

  hold(isHeld: boolean, now: Instant): void {
    if (this.#isHeld && !isHeld) this.#heldUntilNs = now.unixNs;
    this.#isHeld = isHeld;
  }

  isRecovering(now: Instant): boolean {
    return this.#reachableSince === undefined || now.ms - this.#reachableSince.ms < this.#options.recoveryMs;
  }

  /** It ended when agents had their Welcome. Several windows may have ended before, and all of them close at once. */
  couldBeTold(window: number): boolean {
    return this.#reachableSince !== undefined && this.#endNs(window) >= this.#recoveredNs(this.#reachableSince);
  }

  /** `isComplete`: all that are waited for have told `window`, the open one. */
  isDue(window: number, isComplete: boolean, now: Instant): boolean {
    const { latenessNs } = this.#options;
    const endNs = this.#endNs(window);
    // Whoever spoke to an earlier incarnation needs time to come back.
    if (this.#isHeld || this.#reachableSince === undefined) return false;
    const firstCloseNs = this.#recoveredNs(this.#reachableSince) + latenessNs;
    if (now.unixNs < endNs || now.unixNs < firstCloseNs) return false;
    if (!isComplete && now.unixNs < this.#heldUntilNs + latenessNs) return false;
    return isComplete || now.unixNs >= endNs + latenessNs;
  }

  #endNs(window: number): bigint {
    return BigInt(window + 1) * this.#options.windowNs;
  }

  #recoveredNs({ unixNs }: Instant): bigint {
    return unixNs + BigInt(this.#options.recoveryMs) * 1_000_000n;
  }
}

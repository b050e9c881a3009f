// Says that something was lost, but not more often than somebody reads it.
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { KernelLosses } from './kernel-source.ts';

const PERIOD_MS = 10_000;

export class LossLog {
  readonly #log: Logger;
  readonly #clock: Clock;
  #logged = 0;
  #loggedMs = -Infinity;

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** `losses`: since the session began. */
  note({ events, states, changes, drops, datagrams, skips }: KernelLosses): void {
    const lost = events + states + changes + drops + datagrams + skips;
    const { ms } = this.#clock();
    if (lost === this.#logged || ms - this.#loggedMs < PERIOD_MS) return;
    this.#log.warn(
      { lost: lost - this.#logged, events, states, changes, drops, datagrams, skips },
      'events of the kernel were lost',
    );
    this.#logged = lost;
    this.#loggedMs = ms;
  }
}

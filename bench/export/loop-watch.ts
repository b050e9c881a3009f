// How late the event loop of a thread is, sampled every millisecond.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { LoopDelay } from './order.ts';

const RESOLUTION_MS = 1;
const NS_PER_MS = 1e6;

export class LoopWatch {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  begin(): void {
    this.#histogram.reset();
    this.#histogram.enable();
  }

  /** Since `begin`; what the timer waits itself is left out. */
  read(): LoopDelay {
    const late = (ns: number) => Math.max(0, ns / NS_PER_MS - RESOLUTION_MS);
    const { max } = this.#histogram;
    return {
      p50: late(this.#histogram.percentile(50)),
      p99: late(this.#histogram.percentile(99)),
      max: late(max),
    };
  }

  end(): void {
    this.#histogram.disable();
  }
}

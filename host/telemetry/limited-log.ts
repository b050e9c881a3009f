/**
 * Warnings that somebody outside can cause at will. The first of a reason is logged as it is; those that follow within the period are counted,
 * and the last of them is logged with that count when the period ends. So a flood writes two lines in each period, and a single event is
 * never held back.
 */
import type { Logger } from 'pino';

/** How often a reason that goes on is told. */
const PERIOD_MS = 10_000;
/** Reasons at a time; what comes on top is told as one reason, `other`. */
const REASON_COUNT_MAX = 64;

interface Quiet {
  timer: NodeJS.Timeout;
  /** Not told yet. */
  count: number;
  fields: object;
  message: string;
}

export interface LimitedLogOptions {
  periodMs?: number;
}

export class LimitedLog {
  readonly #log: Logger;
  readonly #periodMs: number;
  readonly #quiet = new Map<string, Quiet>();

  constructor(log: Logger, { periodMs = PERIOD_MS }: LimitedLogOptions = {}) {
    this.#log = log;
    this.#periodMs = periodMs;
  }

  /** `reason`: a word of ours, one for each thing that can go wrong; it is logged as the field `reason`. */
  warn(reason: string, fields: object, message: string): void {
    const key = this.#quiet.has(reason) || this.#quiet.size < REASON_COUNT_MAX ? reason : 'other';
    const quiet = this.#quiet.get(key);
    if (quiet !== undefined) {
      quiet.count++;
      quiet.fields = fields;
      quiet.message = message;
      return;
    }
    this.#log.warn({ reason, ...fields }, message);
    this.#quiet.set(key, { timer: this.#endPeriod(key), count: 0, fields, message });
  }

  /** Tells what was counted and not told; for the end of a process. */
  flush(): void {
    for (const [reason, quiet] of this.#quiet) {
      clearTimeout(quiet.timer);
      this.#tell(reason, quiet);
    }
    this.#quiet.clear();
  }

  #endPeriod(reason: string): NodeJS.Timeout {
    const end = (): void => {
      const quiet = this.#quiet.get(reason);
      if (quiet === undefined) return;
      if (quiet.count === 0) {
        this.#quiet.delete(reason);
        return;
      }
      this.#tell(reason, quiet);
      quiet.count = 0;
      quiet.timer = this.#endPeriod(reason);
    };
    return setTimeout(end, this.#periodMs).unref();
  }

  #tell(reason: string, { count, fields, message }: Quiet): void {
    if (count > 0) this.#log.warn({ reason, ...fields, repeated: count }, message);
  }
}

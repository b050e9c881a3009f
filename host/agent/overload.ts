// What an agent leaves out when it costs more than it may. The order is that of docs/operating.md: what is missed least goes first, and
// bytes are never left out. No I/O: measurements go in, the hooks to leave out come out.

import { ShedStep } from '../wire/gen/wire-layout.ts';

/** What is left out at each step, beside all of the steps before. */
export const SHED_STEPS = [
  { step: ShedStep.Dns, name: 'dns', hooks: ['dns_sent', 'dns_arrived'] },
  { step: ShedStep.Drops, name: 'drops', hooks: ['drop'] },
  { step: ShedStep.SocketDetail, name: 'socket detail', hooks: ['socket_send', 'socket_receive', 'zero_window'] },
] as const;

export interface Step {
  step: ShedStep;
  name: string;
  hooks: readonly string[];
}

/** Without what is not observed in the first place. */
export function stepsOf(observed: ReadonlySet<string>): Step[] {
  const steps = SHED_STEPS.map((step) => ({ ...step, hooks: step.hooks.filter((hook) => observed.has(hook)) }));
  return steps.filter(({ hooks }) => hooks.length > 0);
}

/** Measurements above the limit, one after the other, before something more is left out: a burst is none. */
const PATIENCE = 2;
/** Measurements with room, before something is taken back; doubled each time that this was too early, until once it was not. */
const RESTORE_PATIENCE = 6;
const RESTORE_PATIENCE_MAX = 360;
/** What is taken back has to fit below this share of the limit. */
const RESTORE_SHARE = 0.8;
/** The load may have fallen by itself when a step was taken, so what the step saved is believed less with each measurement: half after 34. */
const SAVED_KEPT = 0.98;

export class OverloadControl {
  readonly #limit: number;
  readonly #all: readonly Step[];
  #steps = 0;
  #above = 0;
  #below = 0;
  #patience = RESTORE_PATIENCE;
  /** What the last step saved, as far as it was seen; by step. */
  readonly #saved: number[] = [];
  #shareBefore = 0;
  #isNew = false;
  /** Measurements since something was taken back. */
  #sinceRestored = Number.POSITIVE_INFINITY;

  /** `limit`: share of one processor. */
  constructor(limit: number, all: readonly Step[] = SHED_STEPS) {
    this.#limit = limit;
    this.#all = all;
  }

  /** How many steps are taken. */
  get steps(): number {
    return this.#steps;
  }

  get taken(): readonly Step[] {
    return this.#all.slice(0, this.#steps);
  }

  get names(): string[] {
    return this.taken.map(({ name }) => name);
  }

  get hooks(): string[] {
    return this.taken.flatMap(({ hooks }) => hooks);
  }

  /** `share`: of one processor, of the time since the last call. Returns whether `hooks` is another now. */
  observe(share: number): boolean {
    if (this.#isNew) {
      this.#saved[this.#steps] = Math.max(0, this.#shareBefore - share);
      this.#isNew = false;
    }
    this.#sinceRestored++;
    if (share > this.#limit) return this.#observeAbove(share);
    this.#above = 0;
    if (this.#steps === 0) return false;
    const saved = (this.#saved[this.#steps] ?? 0) * SAVED_KEPT;
    this.#saved[this.#steps] = saved;
    const withMore = share + saved;
    this.#below = withMore < this.#limit * RESTORE_SHARE ? this.#below + 1 : 0;
    if (this.#below < this.#patience) return false;
    this.#below = 0;
    this.#steps--;
    this.#sinceRestored = 0;
    return true;
  }

  #observeAbove(share: number): boolean {
    if (this.#above === 0) {
      const wasTooEarly = this.#sinceRestored <= RESTORE_PATIENCE;
      if (wasTooEarly) this.#patience = Math.min(RESTORE_PATIENCE_MAX, this.#patience * 2);
      else if (this.#sinceRestored > this.#patience) this.#patience = RESTORE_PATIENCE;
    }
    this.#below = 0;
    if (this.#steps === this.#all.length || ++this.#above < PATIENCE) return false;
    this.#above = 0;
    this.#steps++;
    this.#shareBefore = share;
    this.#isNew = true;
    return true;
  }
}

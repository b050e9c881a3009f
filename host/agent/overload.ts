// What an agent leaves out when it costs more than it may. The order is that of docs/operating.md: what is missed least goes first, and
// bytes are never left out. No I/O: measurements go in, the hooks to leave out come out.

import { ShedStep } from '../wire/gen/wire-layout.ts';

/** What is left out at each step, beside all of the steps before. */
export const SHED_STEPS = [
  { step: ShedStep.Dns, name: 'dns', hooks: ['dns_sent', 'dns_arrived'] },
  { step: ShedStep.Drops, name: 'drops', hooks: ['drop'] },
  { step: ShedStep.SocketDetail, name: 'socket detail', hooks: ['socket_send', 'socket_receive', 'zero_window'] },
] as const;

/** Measurements above the limit, one after the other, before something more is left out: a burst is none. */
const PATIENCE = 2;
/** Measurements with room, before something is taken back; doubled each time that this was too early. */
const RESTORE_PATIENCE = 6;
const RESTORE_PATIENCE_MAX = 360;
/** What is taken back has to fit below this share of the limit. */
const RESTORE_SHARE = 0.8;

export class OverloadControl {
  readonly #limit: number;
  #steps = 0;
  #above = 0;
  #below = 0;
  #patience = RESTORE_PATIENCE;
  /** What the last step saved, as far as it was seen; by step. */
  readonly #saved: number[] = [];
  #shareBefore = 0;
  #isNew = false;

  /** `limit`: share of one processor. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many of SHED_STEPS are left out. */
  get steps(): number {
    return this.#steps;
  }

  get names(): string[] {
    return SHED_STEPS.slice(0, this.#steps).map(({ name }) => name);
  }

  get hooks(): string[] {
    return SHED_STEPS.slice(0, this.#steps).flatMap(({ hooks }) => hooks);
  }

  /** `share`: of one processor, of the time since the last call. Returns whether `hooks` is another now. */
  observe(share: number): boolean {
    if (this.#isNew) {
      this.#saved[this.#steps] = Math.max(0, this.#shareBefore - share);
      this.#isNew = false;
    }
    if (share > this.#limit) return this.#observeAbove(share);
    this.#above = 0;
    if (this.#steps === 0) return false;
    const withMore = share + (this.#saved[this.#steps] ?? 0);
    this.#below = withMore < this.#limit * RESTORE_SHARE ? this.#below + 1 : 0;
    if (this.#below < this.#patience) return false;
    this.#below = 0;
    this.#steps--;
    return true;
  }

  #observeAbove(share: number): boolean {
    // Soon after something was taken back: it was too early.
    if (this.#above === 0 && this.#below < RESTORE_PATIENCE && this.#saved[this.#steps + 1] !== undefined)
      this.#patience = Math.min(RESTORE_PATIENCE_MAX, this.#patience * 2);
    this.#below = 0;
    if (this.#steps === SHED_STEPS.length || ++this.#above < PATIENCE) return false;
    this.#above = 0;
    this.#steps++;
    this.#shareBefore = share;
    this.#isNew = true;
    return true;
  }
}

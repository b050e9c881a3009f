// Measures what this agent costs, its eBPF programs included, and leaves out what makes it cost more than it may.
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { ShedStep } from '../wire/gen/wire-layout.ts';
import type { KernelSource } from './kernel-source.ts';
import { OverloadControl, stepsOf } from './overload.ts';

const PERIOD_MS = 5_000;
/** The programs' time is measured for this share of each period, because measuring it has a price. */
const SAMPLE_SHARE = 0.05;

type ObservedCost = Pick<KernelSource, 'measure' | 'programNs' | 'shed' | 'stats'>;

/** Shares of one processor. */
export interface Cost {
  process: number;
  programs: number;
}

export interface CostWatchOptions {
  /** Share of one processor. */
  limit: number;
  log: Logger;
  clock: Clock;
  /** Takes the whole seconds for which something was left out. `step`: wire.ShedStep. */
  countShed: (step: number, seconds: number) => void;
  /** Between measurements; 5 s. */
  periodMs?: number;
}

export class CostWatch {
  readonly #source: ObservedCost;
  readonly #options: CostWatchOptions;
  readonly #control: OverloadControl;
  #timer: NodeJS.Timeout | undefined;
  /** Time of each step that is not a whole second yet, ms. */
  readonly #shedMs = new Map<ShedStep, number>();
  #canMeasure = true;
  #cost: Cost = { process: 0, programs: 0 };

  /** `source` has started. */
  constructor(source: ObservedCost, options: CostWatchOptions) {
    this.#source = source;
    this.#options = options;
    const observed = source.stats().hooks.flatMap(({ hook, attached }) => (attached ? [hook] : []));
    this.#control = new OverloadControl(options.limit, stepsOf(new Set(observed)));
  }

  start(): void {
    try {
      this.#source.measure(true);
      this.#source.measure(false);
    } catch (error) {
      this.#canMeasure = false;
      const fix = 'give the agent CAP_SYS_ADMIN';
      this.#options.log.warn(
        { err: error },
        `agent.cpu-limit counts this process alone, not its eBPF programs; to measure them ${fix}`,
      );
    }
    this.#await(cpuUs());
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** As last measured. */
  get cost(): Cost {
    return this.#cost;
  }

  /** Names of what is left out now. */
  get shed(): string[] {
    return this.#control.names;
  }

  #await(cpuUsBefore: number): void {
    const { periodMs = PERIOD_MS } = this.#options;
    const pauseMs = periodMs * (1 - SAMPLE_SHARE);
    const sinceMs = this.#options.clock().ms;
    this.#timer = setTimeout(() => {
      if (this.#canMeasure) this.#source.measure(true);
      const nsBefore = this.#source.programNs();
      const sampleMs = this.#options.clock().ms;
      this.#timer = setTimeout(() => {
        const { ms } = this.#options.clock();
        const programs = (this.#source.programNs() - nsBefore) / ((ms - sampleMs) * 1e6);
        if (this.#canMeasure) this.#source.measure(false);
        const cpuUsAfter = cpuUs();
        this.#countShed(ms - sinceMs);
        this.#judge({ process: (cpuUsAfter - cpuUsBefore) / ((ms - sinceMs) * 1e3), programs });
        this.#await(cpuUsAfter);
      }, periodMs - pauseMs);
    }, pauseMs);
  }

  /** What was left out at the last judgement was so until now. */
  #countShed(elapsedMs: number): void {
    for (const { step } of this.#control.taken) {
      const ms = (this.#shedMs.get(step) ?? 0) + elapsedMs;
      this.#shedMs.set(step, ms % 1000);
      if (ms >= 1000) this.#options.countShed(step, Math.floor(ms / 1000));
    }
  }

  #judge(cost: Cost): void {
    this.#cost = cost;
    const before = this.#control.steps;
    if (!this.#control.observe(cost.process + cost.programs)) return;
    this.#source.shed(this.#control.hooks);
    const { log, limit } = this.#options;
    const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
    const details = {
      shed: this.#control.names,
      process: percent(cost.process),
      programs: percent(cost.programs),
      limit: percent(limit),
    };
    if (this.#control.steps > before) log.warn(details, 'more CPU than agent.cpu-limit allows: something is left out');
    else log.info(details, 'what was left out for agent.cpu-limit is observed again');
  }
}

/** Of this process with all its threads, since its start. */
function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

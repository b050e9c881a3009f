// What a guest answers for each run of the workload, one line of JSON.
import type { CollectorStats, HookStatus } from '../../bpf/addon/index.ts';

/** One number that was expected, and what the collector told. */
export interface Count {
  name: string;
  /** Without these there is nothing to tell, and the number is left out. */
  hooks: string[];
  told: number;
  expected: number;
}

export interface Answer {
  /** As uname -r says. */
  kernel: string;
  object: string;
  hooks: HookStatus[];
  counts: Count[];
  /** Events that found the ring full. */
  losses: Partial<CollectorStats['eventsLost']>;
  /** Why there are no counts. */
  error?: string;
}

/** Begins the lines of the console that are answers. */
export const ANSWER_PREFIX = '@@';

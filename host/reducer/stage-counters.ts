// The stages' counters by name. Their order in memory is that of records.ReducerCounter; refusals have one counter for each reason.
import { ReducerCounter, RefusalReason } from '../wire/gen/records-layout.ts';

export type StageCounterName = Exclude<keyof typeof ReducerCounter, 'RefusedBy' | 'End'>;

export interface StageCounters {
  counts: Record<StageCounterName, number>;
  /** Frames, sockets, claims and sessions refused, by reason; reasons that never occurred are left out. */
  refused: Partial<Record<keyof typeof RefusalReason, number>>;
}

const COUNTER_NAMES = Object.keys(ReducerCounter).filter(
  (name) => name !== 'RefusedBy' && name !== 'End',
) as StageCounterName[];
const REASON_NAMES = Object.keys(RefusalReason).filter((name) => name !== 'None') as (keyof typeof RefusalReason)[];

/** Sums over workers. */
export function addStageCounters(workers: readonly BigUint64Array[]): StageCounters {
  const sum = (index: number): number => workers.reduce((total, counters) => total + Number(counters[index]), 0);
  const refused: StageCounters['refused'] = {};
  for (const name of REASON_NAMES) {
    const count = sum(ReducerCounter.RefusedBy + RefusalReason[name]);
    if (count > 0) refused[name] = count;
  }
  const counts = Object.fromEntries(COUNTER_NAMES.map((name) => [name, sum(ReducerCounter[name])]));
  return { counts: counts as StageCounters['counts'], refused };
}

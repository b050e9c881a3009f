// The stages' counters by name. Their order in memory is that of records.ReducerCounter; refusals have one counter for each reason.

import { ReducerCounter, RefusalReason } from '../wire/gen/records-layout.ts';
import { LossKind } from '../wire/gen/wire-layout.ts';
import { LOSS_NAMES, type LossName } from '../wire/losses.ts';

export type StageCounterName = Exclude<keyof typeof ReducerCounter, 'RefusedBy' | 'AgentLost' | 'End'>;

export interface StageCounters {
  counts: Record<StageCounterName, number>;
  /** Frames, sockets, claims and sessions refused, by reason; reasons that never occurred are left out. */
  refused: Partial<Record<keyof typeof RefusalReason, number>>;
  /** What agents left out. */
  lost: Record<LossName, number>;
}

const COUNTER_NAMES = Object.keys(ReducerCounter).filter(
  (name) => name !== 'RefusedBy' && name !== 'AgentLost' && name !== 'End',
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
  const lost = Object.fromEntries(LOSS_NAMES.map((name) => [name, sum(ReducerCounter.AgentLost + LossKind[name])]));
  return { counts: counts as StageCounters['counts'], refused, lost: lost as StageCounters['lost'] };
}

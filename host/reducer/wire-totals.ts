// What the workers' channels counted, summed over connections and sessions, those that have ended included.
import type { ReducerSession } from '../wire/reducer-session.ts';
import type { Refusal, RefusalCounters } from '../wire/refusal.ts';

export interface WireTotals {
  /** Frames that were handed on to the stages, or are queued for them. */
  framesAccepted: number;
  /** Frames that had come before: an agent sends again what it does not know as received. */
  framesRepeated: number;
  /** Frames refused and connections cut off, by reason; reasons that never occurred are left out. */
  refused: Partial<Record<Refusal, number>>;
}

export function noWireTotals(): WireTotals {
  return { framesAccepted: 0, framesRepeated: 0, refused: {} };
}

/** Adds to `totals` in place. */
export function addSession(totals: WireTotals, session: ReducerSession): void {
  totals.framesAccepted += session.framesAccepted;
  totals.framesRepeated += session.framesRepeated;
  addRefusals(totals, session.refused);
}

export function addRefusals({ refused }: WireTotals, { counts }: RefusalCounters): void {
  for (const [reason, count] of counts) refused[reason] = (refused[reason] ?? 0) + count;
}

export function sumWireTotals(all: readonly WireTotals[]): WireTotals {
  const sum = noWireTotals();
  for (const { framesAccepted, framesRepeated, refused } of all) {
    sum.framesAccepted += framesAccepted;
    sum.framesRepeated += framesRepeated;
    for (const [reason, count] of Object.entries(refused) as [Refusal, number][]) {
      sum.refused[reason] = (sum.refused[reason] ?? 0) + count;
    }
  }
  return sum;
}

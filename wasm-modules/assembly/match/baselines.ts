// Where counting starts. A baseline is kept beside its end until the window closes, because only then it is certain which ends the flow
// has; most ends never have one.
import { EndTotals } from '../gen/records';
import { BaselineKind } from '../gen/wire';
import { RowPool } from '../lib/row-pool';
import { END_COUNT_MAX, endAt } from './flow';

@unmanaged
export class Baseline {
  /** First, because a free row keeps its list there. */
  kind: u32;
  pad0: u32;
  bytesSent: u64;
  bytesReceived: u64;
  segmentsSent: u64;
  segmentsReceived: u64;
  retransmits: u64;
}

let baselines: RowPool = changetype<RowPool>(0);

export function initBaselines(): void {
  baselines = RowPool.create(offsetof<Baseline>(), END_COUNT_MAX);
}

export function baselineAt(row: u32): Baseline {
  return changetype<Baseline>(baselines.at(row));
}

/** Of two committed ones the greater counts, of two adopted ones the less, and a committed one before an adopted one. */
export function addBaseline(end: u32, kind: u32, told: EndTotals): void {
  let row = endAt(end).baseline;
  if (row === 0) {
    row = baselines.take();
    endAt(end).baseline = row;
    replace(baselineAt(row), kind, told);
    return;
  }
  const kept = baselineAt(row);
  if (kept.kind !== kind) {
    if (kind === BaselineKind.Committed) replace(kept, kind, told);
    return;
  }
  const isMax = kind === BaselineKind.Committed;
  kept.bytesSent = choose(kept.bytesSent, told.bytesSent, isMax);
  kept.bytesReceived = choose(kept.bytesReceived, told.bytesReceived, isMax);
  kept.segmentsSent = choose(kept.segmentsSent, told.segmentsSent, isMax);
  kept.segmentsReceived = choose(kept.segmentsReceived, told.segmentsReceived, isMax);
  kept.retransmits = choose(kept.retransmits, told.retransmits, isMax);
}

export function dropBaseline(end: u32): void {
  if (endAt(end).baseline === 0) return;
  baselines.give(endAt(end).baseline);
  endAt(end).baseline = 0;
}

function replace(row: Baseline, kind: u32, told: EndTotals): void {
  row.kind = kind;
  row.bytesSent = told.bytesSent;
  row.bytesReceived = told.bytesReceived;
  row.segmentsSent = told.segmentsSent;
  row.segmentsReceived = told.segmentsReceived;
  row.retransmits = told.retransmits;
}

function choose(left: u64, right: u64, isMax: bool): u64 {
  return left > right === isMax ? left : right;
}

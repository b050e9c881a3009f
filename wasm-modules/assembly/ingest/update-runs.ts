// Most updates of a window have small totals: those for one worker lie side by side behind one header, so that the worker reads them in a loop
// and not record by record.
//
//   RecordHeader   MatchUpdates   MatchUpdateNarrow ...
//
// A run is open only while rows are shipped: nothing else is written to its outbox meanwhile, and the host sees whole records.

import {
  EndTotals,
  MATCH_UPDATE_NARROW_SIZE,
  MATCH_UPDATES_SIZE,
  MatchUpdateNarrow,
  MatchUpdates,
  RECORD_HEADER_SIZE,
  RecordHeader,
  RecordKind,
} from '../gen/records';
import { allocate } from '../lib/arena';
import { commitOutbox, reserveOutbox } from '../lib/outbox';
import { narrowTotalsInto } from '../match/narrow-update';
import { workerCount } from './shards';

const RUN_COUNT_MAX: u32 = 64;
const RUN_HEAD_BYTES: u32 = RECORD_HEADER_SIZE + MATCH_UPDATES_SIZE;
const RUN_BYTES_MAX: u32 = RUN_HEAD_BYTES + RUN_COUNT_MAX * MATCH_UPDATE_NARROW_SIZE;

@unmanaged
class Run {
  /** Of its header, in the outbox. */
  address: usize;
  /** Updates in it; 0 = none is open. */
  count: u32;
}

/** By worker. */
let runs: usize = 0;

export function initUpdateRuns(): void {
  runs = allocate(<usize>workerCount() * offsetof<Run>());
}

/** `totals` are narrow. */
export function addToRun(worker: u32, end: u32, totals: EndTotals, fromWindow: u32): void {
  const run = runOf(worker);
  if (run.count === 0) beginRun(run, worker);
  const at = run.address + RUN_HEAD_BYTES + <usize>run.count * MATCH_UPDATE_NARROW_SIZE;
  const update = changetype<MatchUpdateNarrow>(at);
  update.end = end;
  update.fromWindow = fromWindow;
  narrowTotalsInto(update, totals);
  run.count++;
  if (run.count === RUN_COUNT_MAX) endRun(worker);
}

/** To be called before anything else is written to the worker's outbox. */
export function endRun(worker: u32): void {
  const run = runOf(worker);
  if (run.count === 0) return;
  const header = changetype<RecordHeader>(run.address);
  header.size = RUN_HEAD_BYTES + run.count * MATCH_UPDATE_NARROW_SIZE;
  changetype<MatchUpdates>(run.address + RECORD_HEADER_SIZE).count = run.count;
  commitOutbox(worker, header.size);
  run.count = 0;
}

export function endRuns(): void {
  for (let worker: u32 = 0; worker < workerCount(); worker++) endRun(worker);
}

function beginRun(run: Run, worker: u32): void {
  run.address = reserveOutbox(worker, RUN_BYTES_MAX);
  const header = changetype<RecordHeader>(run.address);
  header.kind = RecordKind.MatchUpdates;
  header.pad0 = 0;
  changetype<MatchUpdates>(run.address + RECORD_HEADER_SIZE).pad0 = 0;
}

function runOf(worker: u32): Run {
  return changetype<Run>(runs + <usize>worker * offsetof<Run>());
}

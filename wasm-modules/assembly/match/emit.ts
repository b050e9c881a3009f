// EdgeFlows and EdgeTallies leave for the worker that keeps the edge, behind what that worker must know first.

import { aggregateFlow } from '../aggregate/accumulation';
import { lastLeafOf } from '../aggregate/channel-edges';
import { announceEdge, EDGE_ANNOUNCEMENT_BYTES_MAX, edgeWorker } from '../aggregate/edges';
import { evenFlowInto, isEven, isNarrow, narrowFlowInto } from '../aggregate/narrow-flow';
import { addTally, openLeaf, tallyIdentity } from '../aggregate/tallies';
import { claimLabelAnnounce, LABEL_RECORD_BYTES_MAX, writeLabel } from '../enrich/label-channel';
import {
  EDGE_FLOW_EVEN_SIZE,
  EDGE_FLOW_NARROW_SIZE,
  EDGE_FLOW_SIZE,
  EDGE_TALLY_NARROW_SIZE,
  EDGE_TALLY_SIZE,
  EdgeFlow,
  EdgeFlowEven,
  EdgeFlowNarrow,
  EdgeTally,
  EdgeTallyNarrow,
  RecordKind,
  ReducerCounter,
} from '../gen/records';
import { allocate } from '../lib/arena';
import { count } from '../lib/counters';
import { beginRecord, commitOutbox, extendRecord, reserveOutbox } from '../lib/outbox';
import { clearRow } from '../lib/words';
import { beginSum, joinSum } from './edge-sums';

/** Tallies in the record of their flow: more than a connection ends with. An agent may tell any number, and no record may be longer than receivers take. */
const NARROW_TALLIES_MAX: u32 = 16;

let ownWorker: u32 = 0;
let announcement: usize = 0;
/** The edge to which tallies may be sent, its worker, and its leaf when that is here; 0 = none. */
let tallyEdge: u32 = 0;
let tallyWorker: u32 = 0;
let tallyLeaf: u32 = 0;
/** How many tallies the record of the edge's flow, which ends that worker's outbox, still takes. */
let narrowRoom: u32 = 0;
const blank: EdgeFlow = changetype<EdgeFlow>(memory.data(offsetof<EdgeFlow>(), 8));

export function initEmit(worker: u32): void {
  ownWorker = worker;
  announcement = allocate(EDGE_ANNOUNCEMENT_BYTES_MAX);
}

/** The one scratch row of the close, zeroed. */
export function blankEdgeFlow(): EdgeFlow {
  tallyEdge = 0;
  clearRow<EdgeFlow>(changetype<usize>(blank));
  return blank;
}

/** Tallies that follow may be of `edge`. `maySum`: the flow may leave as part of a sum (edge-sums.ts), behind which no tally finds room. */
export function emitEdgeFlow(edge: u32, flow: EdgeFlow, maySum: bool): void {
  flow.edge = edge;
  count(ReducerCounter.EdgeFlows);
  const worker = edgeWorker(edge);
  if (worker !== ownWorker) {
    sendFlow(worker, flow, maySum);
    return;
  }
  tallyEdge = edge;
  tallyWorker = worker;
  announceEdge(edge, announcement);
  tallyLeaf = aggregateFlow(worker, changetype<usize>(flow));
}

function sendFlow(worker: u32, flow: EdgeFlow, maySum: bool): void {
  const edge = flow.edge;
  tallyEdge = 0;
  if (maySum && joinSum(flow)) return;
  commitOutbox(worker, announceEdge(edge, reserveOutbox(worker, EDGE_ANNOUNCEMENT_BYTES_MAX)));
  if (maySum && beginSum(flow)) return;
  writeFlow(worker, flow);
  tallyEdge = edge;
  tallyWorker = worker;
  narrowRoom = NARROW_TALLIES_MAX;
}

function writeFlow(worker: u32, flow: EdgeFlow): void {
  if (!isNarrow(flow)) {
    memory.copy(beginRecord(worker, RecordKind.EdgeFlow, EDGE_FLOW_SIZE), changetype<usize>(flow), EDGE_FLOW_SIZE);
  } else if (isEven(flow)) {
    const even = beginRecord(worker, RecordKind.EdgeFlowEven, EDGE_FLOW_EVEN_SIZE);
    evenFlowInto(changetype<EdgeFlowEven>(even), flow);
  } else {
    const narrow = beginRecord(worker, RecordKind.EdgeFlowNarrow, EDGE_FLOW_NARROW_SIZE);
    narrowFlowInto(changetype<EdgeFlowNarrow>(narrow), flow);
  }
}

/** True when this worker keeps the edge. */
export function isOwnEdge(edge: u32): bool {
  return edgeWorker(edge) === ownWorker;
}

/** The leaf to which what is emitted for an own edge will probably go; 0 = none yet. */
export function likelyLeaf(edge: u32): u32 {
  return lastLeafOf(ownWorker, edge);
}

/** Tallies that follow are of `edge`, which is that of the flow whose news were emitted last, if any were. */
export function beginTallies(edge: u32): void {
  if (edge === tallyEdge) return;
  tallyEdge = edge;
  narrowRoom = 0;
  tallyWorker = edgeWorker(edge);
  if (tallyWorker === ownWorker) {
    announceEdge(edge, announcement);
    tallyLeaf = openLeaf(ownWorker, edge);
    return;
  }
  commitOutbox(tallyWorker, announceEdge(edge, reserveOutbox(tallyWorker, EDGE_ANNOUNCEMENT_BYTES_MAX)));
}

/** `side`: records.TallySide, `teller`: lib/teller.ts. */
export function emitTally(kind: u16, side: u8, code: u32, label: u32, teller: u8, amount: u64, sum: u64): void {
  if (tallyWorker === ownWorker) {
    addTally(tallyLeaf, tallyIdentity(kind, side, code), label, teller, amount, sum);
    return;
  }
  if (narrowRoom !== 0 && isNarrowTally(code, label, amount, sum)) {
    const narrow = changetype<EdgeTallyNarrow>(extendRecord(tallyWorker, EDGE_TALLY_NARROW_SIZE));
    narrow.kind = <u8>kind;
    narrow.side = side;
    narrow.teller = teller;
    narrow.code = <u8>code;
    narrow.sum = <u32>sum;
    narrowRoom--;
    return;
  }
  narrowRoom = 0;
  if (claimLabelAnnounce(label, tallyWorker)) {
    commitOutbox(tallyWorker, writeLabel(label, reserveOutbox(tallyWorker, LABEL_RECORD_BYTES_MAX)));
  }
  const tally = changetype<EdgeTally>(beginRecord(tallyWorker, RecordKind.EdgeTally, EDGE_TALLY_SIZE));
  tally.edge = tallyEdge;
  tally.kind = kind;
  tally.side = side;
  tally.teller = teller;
  tally.code = code;
  tally.label = label;
  tally.count = amount;
  tally.sum = sum;
}

/** True when an EdgeTallyNarrow says all of it; every `kind` fits. */
function isNarrowTally(code: u32, label: u32, amount: u64, sum: u64): bool {
  return amount === 1 && label === 0 && code <= <u32>u8.MAX_VALUE && sum <= <u64>u32.MAX_VALUE;
}

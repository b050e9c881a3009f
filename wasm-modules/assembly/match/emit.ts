// EdgeFlows leave for the worker that keeps the edge, behind what that worker must know first.

import { aggregateFlow } from '../aggregate/accumulation';
import { announceEdge, EDGE_ANNOUNCEMENT_BYTES_MAX, edgeWorker } from '../aggregate/edges';
import { EDGE_FLOW_SIZE, EdgeFlow, RecordKind, ReducerCounter } from '../gen/records';
import { allocate } from '../lib/arena';
import { count } from '../lib/counters';
import { beginRecord, commitOutbox, reserveOutbox } from '../lib/outbox';

let ownWorker: u32 = 0;
let announcement: usize = 0;
const blank: EdgeFlow = changetype<EdgeFlow>(memory.data(offsetof<EdgeFlow>(), 8));

export function initEmit(worker: u32): void {
  ownWorker = worker;
  announcement = allocate(EDGE_ANNOUNCEMENT_BYTES_MAX);
}

/** The one scratch row of the close, zeroed. */
export function blankEdgeFlow(): EdgeFlow {
  memory.fill(changetype<usize>(blank), 0, EDGE_FLOW_SIZE);
  return blank;
}

export function emitEdgeFlow(edge: u32, flow: EdgeFlow): void {
  flow.edge = edge;
  count(ReducerCounter.EdgeFlows);
  const worker = edgeWorker(edge);
  if (worker === ownWorker) {
    announceEdge(edge, announcement);
    aggregateFlow(worker, changetype<usize>(flow));
    return;
  }
  commitOutbox(worker, announceEdge(edge, reserveOutbox(worker, EDGE_ANNOUNCEMENT_BYTES_MAX)));
  memory.copy(beginRecord(worker, RecordKind.EdgeFlow, EDGE_FLOW_SIZE), changetype<usize>(flow), EDGE_FLOW_SIZE);
}

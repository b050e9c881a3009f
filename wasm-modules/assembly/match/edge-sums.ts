// Even flows that are booked by another worker are added up by their edge before they leave: many connections share one edge, and a flow of a
// sum takes a round trip's four bytes where it would take a record and, over there, a look at its leaf. An edge has one place where its sum
// may wait, which others share: who needs it sends what waits there. Nothing waits beyond the close of a window.

import { edgeWorker } from '../aggregate/edges';
import { evenFlowInto, isEven, isNarrow, widenSum } from '../aggregate/narrow-flow';
import {
  EDGE_FLOW_EVEN_SIZE,
  EDGE_FLOW_SUM_SIZE,
  EdgeFlow,
  EdgeFlowEven,
  EdgeFlowSum,
  RecordKind,
} from '../gen/records';
import { allocate } from '../lib/arena';
import { beginRecord } from '../lib/outbox';
import { clearRow } from '../lib/words';

const PLACE_COUNT: u32 = 1024;
const PLACE_BYTES: u32 = 128;
const SAMPLES_MAX: u32 = (PLACE_BYTES - EDGE_FLOW_SUM_SIZE) >>> 2;

/** EdgeFlowSum by place, each with its samples; `flows` is 0 where none waits. 0 = there is no other worker. */
let places: usize = 0;

export function initEdgeSums(workers: u32): void {
  if (workers > 1) places = allocate(<usize>PLACE_COUNT * PLACE_BYTES);
}

function placeAt(index: u32): EdgeFlowSum {
  return changetype<EdgeFlowSum>(places + <usize>index * PLACE_BYTES);
}

function placeOf(edge: u32): EdgeFlowSum {
  return placeAt(edge & (PLACE_COUNT - 1));
}

/** True when `flow`, of the window that closes alone and not judged, is counted in a sum of its edge that waits. */
export function joinSum(flow: EdgeFlow): bool {
  const sum = placeOf(flow.edge);
  if (sum.edge !== flow.edge || sum.flows === 0 || !isNarrow(flow) || !isEven(flow)) return false;
  if (sum.samples === SAMPLES_MAX) {
    sendSum(sum, flow.fromWindow);
    startSum(sum, flow);
  }
  addTo(sum, flow);
  return true;
}

/** True when a sum begins with such a flow, which no sum waits for and whose edge was announced. */
export function beginSum(flow: EdgeFlow): bool {
  if (!isNarrow(flow) || !isEven(flow)) return false;
  const sum = placeOf(flow.edge);
  if (sum.flows !== 0) sendSum(sum, flow.fromWindow);
  startSum(sum, flow);
  addTo(sum, flow);
  return true;
}

/** All sums that wait leave: `window` closes. */
export function sendSums(window: u32): void {
  if (places === 0) return;
  for (let index: u32 = 0; index < PLACE_COUNT; index++) {
    const sum = placeAt(index);
    if (sum.flows === 0) continue;
    sendSum(sum, window);
    sum.flows = 0;
  }
}

function startSum(sum: EdgeFlowSum, flow: EdgeFlow): void {
  clearRow<EdgeFlowSum>(changetype<usize>(sum));
  sum.edge = flow.edge;
}

function addTo(sum: EdgeFlowSum, flow: EdgeFlow): void {
  sum.flows++;
  sum.connections += <u32>flow.connections;
  sum.closed += <u32>flow.closed;
  sum.activeDelta += flow.activeDelta;
  sum.forwardBytes += flow.forwardBytes;
  sum.reverseBytes += flow.reverseBytes;
  sum.forwardPackets += flow.forwardPackets;
  sum.reversePackets += flow.reversePackets;
  if (flow.rttUs !== 0) store<u32>(sampleAt(sum, sum.samples++), flow.rttUs);
}

function sampleAt(sum: EdgeFlowSum, index: u32): usize {
  return changetype<usize>(sum) + EDGE_FLOW_SUM_SIZE + ((<usize>index) << 2);
}

function sendSum(sum: EdgeFlowSum, window: u32): void {
  const worker = edgeWorker(sum.edge);
  if (sum.flows === 1) {
    const flow = widenSum(sum, window);
    if (sum.samples !== 0) flow.rttUs = load<u32>(sampleAt(sum, 0));
    evenFlowInto(changetype<EdgeFlowEven>(beginRecord(worker, RecordKind.EdgeFlowEven, EDGE_FLOW_EVEN_SIZE)), flow);
    return;
  }
  const size = EDGE_FLOW_SUM_SIZE + (sum.samples << 2);
  memory.copy(beginRecord(worker, RecordKind.EdgeFlowSum, size), changetype<usize>(sum), size);
}

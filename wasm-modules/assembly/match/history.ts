// History that was left out when counting started, because every end that was known then had been adopted. An end that comes later and saw
// the opening says that all of it was traffic; one that knows a committed total says that what lies above it was. Then it is booked after all,
// so it makes no difference in which order the two ends of a flow are told.
import { EdgeFlow } from '../gen/records';
import { RowPool } from '../lib/row-pool';
import { Baseline } from './baselines';
import { coldFlowAt, FLOW_COUNT_MAX, flowAt } from './flow';

@unmanaged
export class History {
  /** First, because a free row keeps its list there. 1: to be booked with the window that closes. */
  isDue: u32;
  pad0: u32;
  forwardBytes: u64;
  reverseBytes: u64;
  forwardPackets: u64;
  reversePackets: u64;
  forwardRetransmits: u64;
  reverseRetransmits: u64;
}

let histories: RowPool = changetype<RowPool>(0);

export function initHistories(): void {
  histories = RowPool.create(offsetof<History>(), FLOW_COUNT_MAX);
}

/** What is booked now, before the first report is, was left out. */
export function keepHistory(flow: u32): void {
  const hot = flowAt(flow);
  const isTraffic = (hot.forwardBytes | hot.reverseBytes | hot.forwardPackets | hot.reversePackets) !== 0;
  if (!isTraffic && (hot.forwardRetransmits | hot.reverseRetransmits) === 0) return;
  const row = histories.take();
  if (row === 0) return;
  coldFlowAt(flow).history = row;
  const history = historyAt(row);
  history.isDue = 0;
  history.forwardBytes = hot.forwardBytes;
  history.reverseBytes = hot.reverseBytes;
  history.forwardPackets = hot.forwardPackets;
  history.reversePackets = hot.reversePackets;
  history.forwardRetransmits = hot.forwardRetransmits;
  history.reverseRetransmits = hot.reverseRetransmits;
}

/** An end saw the opening, or its agent knows what was exported: `client` and `server` are committed totals, or zeros. */
export function returnHistory(flow: u32, client: Baseline, server: Baseline): void {
  const history = historyAt(coldFlowAt(flow).history);
  history.isDue = 1;
  history.forwardBytes = above(history.forwardBytes, client.bytesSent, server.bytesReceived);
  history.reverseBytes = above(history.reverseBytes, server.bytesSent, client.bytesReceived);
  history.forwardPackets = above(history.forwardPackets, client.segmentsSent, server.segmentsReceived);
  history.reversePackets = above(history.reversePackets, server.segmentsSent, client.segmentsReceived);
  history.forwardRetransmits = above(history.forwardRetransmits, client.retransmits, 0);
  history.reverseRetransmits = above(history.reverseRetransmits, server.retransmits, 0);
}

/** Adds to `out` what is due, once. */
export function bookHistory(flow: u32, out: EdgeFlow): void {
  const row = coldFlowAt(flow).history;
  if (row === 0 || historyAt(row).isDue === 0) return;
  const history = historyAt(row);
  out.forwardBytes += history.forwardBytes;
  out.reverseBytes += history.reverseBytes;
  out.forwardPackets += history.forwardPackets;
  out.reversePackets += history.reversePackets;
  out.forwardRetransmits += history.forwardRetransmits;
  out.reverseRetransmits += history.reverseRetransmits;
  dropHistory(flow);
}

export function dropHistory(flow: u32): void {
  const cold = coldFlowAt(flow);
  if (cold.history === 0) return;
  histories.give(cold.history);
  cold.history = 0;
}

function above(leftOut: u64, clientKnows: u64, serverKnows: u64): u64 {
  const known = max(clientKnows, serverKnows);
  return leftOut > known ? leftOut - known : 0;
}

export function historyAt(row: u32): History {
  return changetype<History>(histories.at(row));
}

// What each end says by itself, beside what is booked: by how much its own totals rose in the window, whatever the other end says.
//
// An end starts at its committed baseline, because what lies below was told and exported before; else at its adopted one, because its
// agent did not see how that passed; else at 0. From there on each report raises it to the end's total, also when another session tells the
// total: so neither an agent nor a reducer that starts anew shows a byte of an end twice.
//
// At a close the totals of most ends are exactly what is booked in their direction, so that says what an end had told by then. Only where
// an end is behind, because data was under way or an end was not heard, both are kept.
import { EdgeFlow } from '../gen/records';
import { BaselineKind } from '../gen/wire';
import { RowPool } from '../lib/row-pool';
import { baselineAt } from './baselines';
import { coldFlowAt, END_EXISTING, END_FRESH, End, endAt, FLOW_COUNT_MAX, Flow, flowAt } from './flow';

/** Totals of an end; a row has those of the client, then those of the server. */
@unmanaged
class OwnTotals {
  bytesSent: u64;
  bytesReceived: u64;
  segmentsSent: u64;
  segmentsReceived: u64;
}

/** Free rows keep their list in front. */
const ROW_HEAD_BYTES: usize = 8;

let rows: RowPool = changetype<RowPool>(0);
/** Where the end at hand was at the last close. */
const before: OwnTotals = changetype<OwnTotals>(memory.data(offsetof<OwnTotals>(), 8));

export function initOwnTotals(): void {
  rows = RowPool.create(ROW_HEAD_BYTES + 2 * offsetof<OwnTotals>(), FLOW_COUNT_MAX);
}

/** Writes to `out` what the ends' totals rose by since the last close. To be called before the flow's baselines are applied. */
export function fillOwnNumbers(flow: u32, client: u32, server: u32, out: EdgeFlow): void {
  if (client !== 0) {
    const end = endAt(client);
    fillBefore(flow, end, true);
    out.clientBytesSent = end.bytesSent - before.bytesSent;
    out.clientBytesReceived = end.bytesReceived - before.bytesReceived;
    out.clientPacketsSent = end.segmentsSent - before.segmentsSent;
    out.clientPacketsReceived = end.segmentsReceived - before.segmentsReceived;
  }
  if (server !== 0) {
    const end = endAt(server);
    fillBefore(flow, end, false);
    out.serverBytesSent = end.bytesSent - before.bytesSent;
    out.serverBytesReceived = end.bytesReceived - before.bytesReceived;
    out.serverPacketsSent = end.segmentsSent - before.segmentsSent;
    out.serverPacketsReceived = end.segmentsReceived - before.segmentsReceived;
  }
}

function fillBefore(flow: u32, end: End, isClient: bool): void {
  const row = coldFlowAt(flow).own;
  if ((end.flags & END_FRESH) !== 0) fillBaseline(end);
  else if (row !== 0) memory.copy(changetype<usize>(before), totalsOf(row, isClient), offsetof<OwnTotals>());
  else fillBooked(flowAt(flow), isClient);
}

function fillBaseline(end: End): void {
  memory.fill(changetype<usize>(before), 0, offsetof<OwnTotals>());
  if (end.baseline === 0) return;
  const base = baselineAt(end.baseline);
  const isOpeningSeen = (end.flags & END_EXISTING) === 0;
  if (base.kind === BaselineKind.Adopted && isOpeningSeen) return;
  before.bytesSent = base.bytesSent;
  before.bytesReceived = base.bytesReceived;
  before.segmentsSent = base.segmentsSent;
  before.segmentsReceived = base.segmentsReceived;
}

function fillBooked(flow: Flow, isClient: bool): void {
  before.bytesSent = isClient ? flow.forwardBytes : flow.reverseBytes;
  before.bytesReceived = isClient ? flow.reverseBytes : flow.forwardBytes;
  before.segmentsSent = isClient ? flow.forwardPackets : flow.reversePackets;
  before.segmentsReceived = isClient ? flow.reversePackets : flow.forwardPackets;
}

/** Remembers the ends' totals for the next close. To be called when the flow is booked. */
export function keepOwnTotals(flow: u32, client: u32, server: u32): void {
  const hot = flowAt(flow);
  if (isAsBooked(hot, client, true) && isAsBooked(hot, server, false)) {
    dropOwnTotals(flow);
    return;
  }
  const cold = coldFlowAt(flow);
  if (cold.own === 0) cold.own = rows.take();
  if (client !== 0) keepTotals(totalsOf(cold.own, true), endAt(client));
  if (server !== 0) keepTotals(totalsOf(cold.own, false), endAt(server));
}

function isAsBooked(flow: Flow, end: u32, isClient: bool): bool {
  if (end === 0) return true;
  const told = endAt(end);
  return isClient
    ? told.bytesSent === flow.forwardBytes &&
        told.bytesReceived === flow.reverseBytes &&
        told.segmentsSent === flow.forwardPackets &&
        told.segmentsReceived === flow.reversePackets
    : told.bytesSent === flow.reverseBytes &&
        told.bytesReceived === flow.forwardBytes &&
        told.segmentsSent === flow.reversePackets &&
        told.segmentsReceived === flow.forwardPackets;
}

function keepTotals(to: usize, end: End): void {
  const kept = changetype<OwnTotals>(to);
  kept.bytesSent = end.bytesSent;
  kept.bytesReceived = end.bytesReceived;
  kept.segmentsSent = end.segmentsSent;
  kept.segmentsReceived = end.segmentsReceived;
}

function totalsOf(row: u32, isClient: bool): usize {
  return rows.at(row) + ROW_HEAD_BYTES + (isClient ? 0 : offsetof<OwnTotals>());
}

export function dropOwnTotals(flow: u32): void {
  const cold = coldFlowAt(flow);
  if (cold.own === 0) return;
  rows.give(cold.own);
  cold.own = 0;
}

/** Of folds: what is booked of them, because the other end may have told the rest of their sockets on another edge. */
export function fillOwnOfFold(out: EdgeFlow, isServer: bool): void {
  if (isServer) {
    out.serverBytesSent = out.reverseBytes;
    out.serverBytesReceived = out.forwardBytes;
    out.serverPacketsSent = out.reversePackets;
    out.serverPacketsReceived = out.forwardPackets;
  } else {
    out.clientBytesSent = out.forwardBytes;
    out.clientBytesReceived = out.reverseBytes;
    out.clientPacketsSent = out.forwardPackets;
    out.clientPacketsReceived = out.reversePackets;
  }
}

export function hasOwnNumbers(out: EdgeFlow): bool {
  return (
    (out.clientBytesSent | out.clientBytesReceived | out.clientPacketsSent | out.clientPacketsReceived) !== 0 ||
    (out.serverBytesSent | out.serverBytesReceived | out.serverPacketsSent | out.serverPacketsReceived) !== 0
  );
}

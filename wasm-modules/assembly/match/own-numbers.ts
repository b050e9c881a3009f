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
import { clearRow } from '../lib/words';
import { baselineAt } from './baselines';
import { coldFlowAt, END_EXISTING, END_FRESH, End, EXTRAS_COUNT_MAX, Flow, FlowCold, noEnd } from './flow';

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
/** Where the new end at hand begins. */
const baseline: OwnTotals = changetype<OwnTotals>(memory.data(offsetof<OwnTotals>(), 8));

export function initOwnTotals(): void {
  rows = RowPool.create(ROW_HEAD_BYTES + 2 * offsetof<OwnTotals>(), EXTRAS_COUNT_MAX);
}

/** Writes to `out` what the ends' totals rose by since the last close. To be called before the flow's baselines are applied. */
export function fillOwnNumbers(hot: Flow, cold: FlowCold, client: End, server: End, out: EdgeFlow): void {
  const row = cold.own;
  if (client !== noEnd) {
    if (row === 0 && (client.flags & END_FRESH) === 0) {
      out.clientBytesSent = client.bytesSent - hot.forwardBytes;
      out.clientBytesReceived = client.bytesReceived - hot.reverseBytes;
      out.clientPacketsSent = client.segmentsSent - hot.forwardPackets;
      out.clientPacketsReceived = client.segmentsReceived - hot.reversePackets;
    } else {
      const before = totalsBefore(client, row, true);
      out.clientBytesSent = client.bytesSent - before.bytesSent;
      out.clientBytesReceived = client.bytesReceived - before.bytesReceived;
      out.clientPacketsSent = client.segmentsSent - before.segmentsSent;
      out.clientPacketsReceived = client.segmentsReceived - before.segmentsReceived;
    }
  }
  if (server !== noEnd) {
    if (row === 0 && (server.flags & END_FRESH) === 0) {
      out.serverBytesSent = server.bytesSent - hot.reverseBytes;
      out.serverBytesReceived = server.bytesReceived - hot.forwardBytes;
      out.serverPacketsSent = server.segmentsSent - hot.reversePackets;
      out.serverPacketsReceived = server.segmentsReceived - hot.forwardPackets;
    } else {
      const before = totalsBefore(server, row, false);
      out.serverBytesSent = server.bytesSent - before.bytesSent;
      out.serverBytesReceived = server.bytesReceived - before.bytesReceived;
      out.serverPacketsSent = server.segmentsSent - before.segmentsSent;
      out.serverPacketsReceived = server.segmentsReceived - before.segmentsReceived;
    }
  }
}

/** Of an end that is new, or of a flow that has a row. */
function totalsBefore(end: End, row: u32, isClient: bool): OwnTotals {
  if ((end.flags & END_FRESH) === 0) return changetype<OwnTotals>(totalsOf(row, isClient));
  fillBaseline(end);
  return baseline;
}

function fillBaseline(end: End): void {
  clearRow<OwnTotals>(changetype<usize>(baseline));
  if (end.baseline === 0) return;
  const base = baselineAt(end.baseline);
  const isOpeningSeen = (end.flags & END_EXISTING) === 0;
  if (base.kind === BaselineKind.Adopted && isOpeningSeen) return;
  baseline.bytesSent = base.bytesSent;
  baseline.bytesReceived = base.bytesReceived;
  baseline.segmentsSent = base.segmentsSent;
  baseline.segmentsReceived = base.segmentsReceived;
}

/** Remembers the ends' totals for the next close. To be called when the flow is booked. */
export function keepOwnTotals(hot: Flow, cold: FlowCold, client: End, server: End): void {
  if (isClientAsBooked(hot, client) && isServerAsBooked(hot, server)) {
    if (cold.hasExtras) dropOwn(cold);
    return;
  }
  if (cold.own === 0) cold.own = rows.take();
  if (client !== noEnd) keepTotals(totalsOf(cold.own, true), client);
  if (server !== noEnd) keepTotals(totalsOf(cold.own, false), server);
}

function isClientAsBooked(flow: Flow, client: End): bool {
  const bytes = (client.bytesSent ^ flow.forwardBytes) | (client.bytesReceived ^ flow.reverseBytes);
  const packets = (client.segmentsSent ^ flow.forwardPackets) | (client.segmentsReceived ^ flow.reversePackets);
  return (bytes | packets) === 0 || client === noEnd;
}

function isServerAsBooked(flow: Flow, server: End): bool {
  const bytes = (server.bytesSent ^ flow.reverseBytes) | (server.bytesReceived ^ flow.forwardBytes);
  const packets = (server.segmentsSent ^ flow.reversePackets) | (server.segmentsReceived ^ flow.forwardPackets);
  return (bytes | packets) === 0 || server === noEnd;
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
  dropOwn(coldFlowAt(flow));
}

function dropOwn(cold: FlowCold): void {
  if (cold.own !== 0) rows.give(cold.own);
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

// Books a flow: per direction max(sender, receiver) - booked, then booked rises to it and never falls. So an end that is missing, late,
// told again or told by a new session changes no sum.
//
//                       sender (bytes, segments)   receiver
//   forward             client.sent                server.received
//   reverse             server.sent                client.received          retransmits: the sender's word alone
import { EdgeFlow } from '../gen/records';
import { BaselineKind } from '../gen/wire';
import { Baseline, baselineAt, dropBaseline } from './baselines';
import { noteExported } from './exported';
import { coldFlowAt, END_EXISTING, END_FRESH, End, endAt, FLOW_BOOKED, Flow, flowAt, NO_WINDOW } from './flow';
import { keepHistory, returnHistory } from './history';

const noBaseline: Baseline = changetype<Baseline>(memory.data(offsetof<Baseline>(), 8));

/** Raises `booked` to where counting starts. Only for a flow that has extras or an end with a baseline. */
export function applyBaselines(flow: u32): void {
  const hot = flowAt(flow);
  const cold = coldFlowAt(flow);
  const client = hot.endAt(cold.clientSlot);
  const server = hot.endAt(1 - cold.clientSlot);
  const clientBase = baselineOf(client);
  const serverBase = baselineOf(server);
  if (cold.history !== 0) lookBack(flow, client, server, clientBase, serverBase);
  if (clientBase !== 0 || serverBase !== 0) {
    const isAdopted = (cold.flags & FLOW_BOOKED) === 0 && isAdoptedEnd(client) && isAdoptedEnd(server);
    if (isAdopted) {
      startAtAdopted(hot, clientBase, serverBase);
      keepHistory(flow);
    }
    if (isOfKind(clientBase, BaselineKind.Committed)) raiseForClient(hot, baselineAt(clientBase));
    if (isOfKind(serverBase, BaselineKind.Committed)) raiseForServer(hot, baselineAt(serverBase));
    keepExported(flow, clientBase, serverBase);
    if (client !== 0) dropBaseline(client);
    if (server !== 0) dropBaseline(server);
  }
}

function keepExported(flow: u32, clientBase: u32, serverBase: u32): void {
  const isClientCommitted = isOfKind(clientBase, BaselineKind.Committed);
  const isServerCommitted = isOfKind(serverBase, BaselineKind.Committed);
  if (!isClientCommitted && !isServerCommitted) return;
  noteExported(
    flow,
    isClientCommitted ? baselineAt(clientBase) : noBaseline,
    isServerCommitted ? baselineAt(serverBase) : noBaseline,
  );
}

/**
 * What was left out at the start may have been traffic: an end that came later knows. One that was there before, and tells again on a new channel
 * what is committed, knows no more of it than this ledger.
 */
function lookBack(flow: u32, client: u32, server: u32, clientBase: u32, serverBase: u32): void {
  const knowsClient = isOfKind(clientBase, BaselineKind.Committed) && isFresh(client);
  const knowsServer = isOfKind(serverBase, BaselineKind.Committed) && isFresh(server);
  if (!knowsClient && !knowsServer && !sawOpening(client) && !sawOpening(server)) return;
  returnHistory(
    flow,
    knowsClient ? baselineAt(clientBase) : noBaseline,
    knowsServer ? baselineAt(serverBase) : noBaseline,
  );
}

function isFresh(end: u32): bool {
  return (endAt(end).flags & END_FRESH) !== 0;
}

function sawOpening(end: u32): bool {
  return end !== 0 && (endAt(end).flags & END_EXISTING) === 0;
}

function baselineOf(end: u32): u32 {
  return end === 0 ? 0 : endAt(end).baseline;
}

function isOfKind(row: u32, kind: u32): bool {
  return row !== 0 && baselineAt(row).kind === kind;
}

/** True for an end with nothing but history behind it, and for one that nobody reports. */
function isAdoptedEnd(end: u32): bool {
  if (end === 0) return true;
  return (endAt(end).flags & END_EXISTING) !== 0 && isOfKind(endAt(end).baseline, BaselineKind.Adopted);
}

/** Every known end is adopted: the least of their totals is history that both saw pass. */
function startAtAdopted(flow: Flow, clientBase: u32, serverBase: u32): void {
  if (clientBase !== 0) raiseForClient(flow, baselineAt(clientBase));
  if (serverBase === 0) return;
  const server = baselineAt(serverBase);
  if (clientBase === 0) {
    raiseForServer(flow, server);
    return;
  }
  flow.forwardBytes = min(flow.forwardBytes, server.bytesReceived);
  flow.reverseBytes = min(flow.reverseBytes, server.bytesSent);
  flow.forwardPackets = min(flow.forwardPackets, server.segmentsReceived);
  flow.reversePackets = min(flow.reversePackets, server.segmentsSent);
  flow.reverseRetransmits = max(flow.reverseRetransmits, server.retransmits);
}

function raiseForClient(flow: Flow, base: Baseline): void {
  flow.forwardBytes = max(flow.forwardBytes, base.bytesSent);
  flow.reverseBytes = max(flow.reverseBytes, base.bytesReceived);
  flow.forwardPackets = max(flow.forwardPackets, base.segmentsSent);
  flow.reversePackets = max(flow.reversePackets, base.segmentsReceived);
  flow.forwardRetransmits = max(flow.forwardRetransmits, base.retransmits);
}

function raiseForServer(flow: Flow, base: Baseline): void {
  flow.forwardBytes = max(flow.forwardBytes, base.bytesReceived);
  flow.reverseBytes = max(flow.reverseBytes, base.bytesSent);
  flow.forwardPackets = max(flow.forwardPackets, base.segmentsReceived);
  flow.reversePackets = max(flow.reversePackets, base.segmentsSent);
  flow.reverseRetransmits = max(flow.reverseRetransmits, base.retransmits);
}

/** Books what the open window adds, and writes it to the zeroed `out`; `window` is the one that closes. */
export function bookTotals(flow: Flow, client: End, server: End, window: u32, out: EdgeFlow): void {
  out.fromWindow = window;
  const forward = max(client.bytesSent, server.bytesReceived);
  if (forward > flow.forwardBytes) {
    out.forwardBytes = forward - flow.forwardBytes;
    flow.forwardBytes = forward;
    markLate(out, out.forwardBytes, client, client.bytesSent, server, server.bytesReceived, window);
  }
  const reverse = max(server.bytesSent, client.bytesReceived);
  if (reverse > flow.reverseBytes) {
    out.reverseBytes = reverse - flow.reverseBytes;
    flow.reverseBytes = reverse;
    markLate(out, out.reverseBytes, server, server.bytesSent, client, client.bytesReceived, window);
  }
  const forwardPackets = max(client.segmentsSent, server.segmentsReceived);
  if (forwardPackets > flow.forwardPackets) {
    out.forwardPackets = forwardPackets - flow.forwardPackets;
    flow.forwardPackets = forwardPackets;
  }
  const reversePackets = max(server.segmentsSent, client.segmentsReceived);
  if (reversePackets > flow.reversePackets) {
    out.reversePackets = reversePackets - flow.reversePackets;
    flow.reversePackets = reversePackets;
  }
  if (client.retransmits > flow.forwardRetransmits) {
    out.forwardRetransmits = client.retransmits - flow.forwardRetransmits;
    flow.forwardRetransmits = client.retransmits;
  }
  if (server.retransmits > flow.reverseRetransmits) {
    out.reverseRetransmits = server.retransmits - flow.reverseRetransmits;
    flow.reverseRetransmits = server.retransmits;
  }
}

/** The end whose total was booked says from which window on; when both have it, the one that is less late. */
function markLate(out: EdgeFlow, bytes: u64, sender: End, sent: u64, receiver: End, received: u64, window: u32): void {
  const senderFrom: u32 = sender.fromWindow === NO_WINDOW ? 0 : sender.fromWindow;
  const receiverFrom: u32 = receiver.fromWindow === NO_WINDOW ? 0 : receiver.fromWindow;
  const from: u32 = sent > received ? senderFrom : received > sent ? receiverFrom : max(senderFrom, receiverFrom);
  if (from === 0 || from >= window) return;
  out.lateBytes += bytes;
  if (from < out.fromWindow) out.fromWindow = from;
}

/**
 * Difference of the two ends, and what it was judged on: both have told all. Of datagrams it is loss, what was sent and not received; what was
 * received and not sent, the sender's agent did not see.
 */
export function judgeResidual(client: End, server: End, isDatagrams: bool, out: EdgeFlow): void {
  out.residualBytes = isDatagrams
    ? loss(client.bytesSent, server.bytesReceived) + loss(server.bytesSent, client.bytesReceived)
    : difference(client.bytesSent, server.bytesReceived) + difference(server.bytesSent, client.bytesReceived);
  out.judgedBytes = max(client.bytesSent, server.bytesReceived) + max(server.bytesSent, client.bytesReceived);
}

function loss(sent: u64, received: u64): u64 {
  return sent > received ? sent - received : 0;
}

function difference(left: u64, right: u64): u64 {
  return left > right ? left - right : right - left;
}

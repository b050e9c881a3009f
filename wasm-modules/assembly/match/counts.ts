// Connections, failures, closes and resets: each is counted once per flow, whichever end tells it and however often.
import { CloseReason } from '../gen/kernel-events';
import { EdgeFlow } from '../gen/records';
import {
  coldEndAt,
  END_CLOSED,
  END_COUNTED,
  END_EXISTING,
  END_REPORTED,
  END_SETTLED,
  End,
  endAt,
  FLOW_CLOSED_COUNTED,
  FLOW_CONNECTION_COUNTED,
  FLOW_FAILURE_COUNTED,
  FLOW_JUDGED,
  FLOW_RESET_COUNTED,
  Flow,
  FlowCold,
  noEnd,
} from './flow';
import { isConnectFailure, KeyKind } from './flow-key';
import { judgeResidual } from './ledger';

const IPPROTO_UDP: u8 = 17;

export const RESET_BY_CLIENT: u8 = 1;
export const RESET_BY_SERVER: u8 = 2;
const SEEN_CLIENT: u8 = 1;
const SEEN_SERVER: u8 = 2;

/** Adds to `out` what the open window counts of the flow. */
export function countFlow(hot: Flow, cold: FlowCold, client: End, server: End, out: EdgeFlow): void {
  out.match = (isSeen(client) ? SEEN_CLIENT : 0) | (isSeen(server) ? SEEN_SERVER : 0);
  const isOpen = ((client.flags | server.flags) & END_CLOSED) === 0;
  // What goes on was counted when it began: most flows of a window.
  if (!isOpen || (cold.flags & FLOW_CONNECTION_COUNTED) === 0) countChanges(hot, cold, client, server, out);
}

function countChanges(hot: Flow, cold: FlowCold, client: End, server: End, out: EdgeFlow): void {
  if (cold.kind === KeyKind.Socket) {
    countFailure(cold, hot.endAt(cold.clientSlot), out);
    return;
  }
  const failed = failedEnd(hot, cold);
  if (failed !== 0) {
    countFailure(cold, failed, out);
    return;
  }
  countConnection(cold, client, server, out);
  if (((client.flags | server.flags) & END_CLOSED) === 0) return;
  const isSettled = ((client.flags | server.flags) & END_SETTLED) !== 0;
  countClose(hot, cold, isSettled, out);
  if (!isSettled && (client.flags & server.flags & END_CLOSED) !== 0) judgeFlow(hot, cold, client, server, out);
}

/** Both ends have told all. Before that nobody needs the cold row of an end. */
function judgeFlow(hot: Flow, cold: FlowCold, client: End, server: End, out: EdgeFlow): void {
  const isDatagrams = coldEndAt(hot.endAt(cold.clientSlot)).protocol === IPPROTO_UDP;
  if (isDatagrams && (isHalfSeen(client) || isHalfSeen(server))) return;
  if (mark(cold, FLOW_JUDGED)) judgeResidual(client, server, isDatagrams, out);
}

/** Of datagrams there is no history that could be asked for: what passed before the look would be loss. */
function isHalfSeen(end: End): bool {
  return (end.flags & (END_EXISTING | END_COUNTED)) === END_EXISTING;
}

/** Told in this window, or closed with its totals known. */
function isSeen(end: End): bool {
  return (end.flags & (END_REPORTED | END_CLOSED)) !== 0;
}

export function isClosed(end: u32): bool {
  return end !== 0 && (endAt(end).flags & END_CLOSED) !== 0;
}

/** Sets the flag; true when it was not set. */
function mark(cold: FlowCold, flag: u16): bool {
  if ((cold.flags & flag) !== 0) return false;
  cold.flags |= flag;
  return true;
}

/** The only end, of a socket that was told as open and closes with the word that it never was connected; else 0. */
function failedEnd(hot: Flow, cold: FlowCold): u32 {
  const isCounted = (cold.flags & FLOW_CONNECTION_COUNTED) !== 0;
  if (isCounted || (hot.end0 !== 0 && hot.end1 !== 0)) return 0;
  const end = hot.end0 !== 0 ? hot.end0 : hot.end1;
  return isConnectFailure(reasonOf(end)) ? end : 0;
}

function countFailure(cold: FlowCold, end: u32, out: EdgeFlow): void {
  if (!mark(cold, FLOW_FAILURE_COUNTED)) return;
  out.reason = coldEndAt(end).closeReason;
  out.reasonCount = 1;
}

/** Somebody saw the connection begin, and nobody says that it is counted. */
function countConnection(cold: FlowCold, client: End, server: End, out: EdgeFlow): void {
  if (((client.flags | server.flags) & END_COUNTED) !== 0) {
    mark(cold, FLOW_CONNECTION_COUNTED);
    return;
  }
  const isOpeningSeen = sawOpening(client) || sawOpening(server);
  if (isOpeningSeen && mark(cold, FLOW_CONNECTION_COUNTED)) out.connections = 1;
}

function sawOpening(end: End): bool {
  return end !== noEnd && (end.flags & END_EXISTING) === 0;
}

/** A connection closes with the first of its ends. A settled one was counted by an earlier incarnation. */
function countClose(hot: Flow, cold: FlowCold, isSettled: bool, out: EdgeFlow): void {
  if (mark(cold, FLOW_CLOSED_COUNTED) && !isSettled) out.closed = 1;
  const client = hot.endAt(cold.clientSlot);
  const server = hot.endAt(1 - cold.clientSlot);
  const sender = resetSender(client, server);
  if (sender === 0 || !mark(cold, FLOW_RESET_COUNTED) || isSettled) return;
  out.resetBy = sender;
  out.reason =
    reasonOf(sender === RESET_BY_CLIENT ? client : server) === CloseReason.ResetSent
      ? CloseReason.ResetSent
      : CloseReason.ResetReceived;
  out.reasonCount = 1;
}

/** RESET_BY_CLIENT, RESET_BY_SERVER, or 0. */
export function resetSender(client: u32, server: u32): u8 {
  const clientReason = reasonOf(client);
  const serverReason = reasonOf(server);
  if (clientReason === CloseReason.ResetSent || serverReason === CloseReason.ResetReceived) return RESET_BY_CLIENT;
  if (serverReason === CloseReason.ResetSent || clientReason === CloseReason.ResetReceived) return RESET_BY_SERVER;
  return 0;
}

function reasonOf(end: u32): u8 {
  return isClosed(end) ? coldEndAt(end).closeReason : CloseReason.None;
}

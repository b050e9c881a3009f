// Connections, failures, closes and resets: each is counted once per flow, whichever end tells it and however often.
import { CloseReason } from '../gen/kernel-events';
import { EdgeFlow } from '../gen/records';
import {
  coldEndAt,
  coldFlowAt,
  END_CLOSED,
  END_COUNTED,
  END_EXISTING,
  END_REPORTED,
  END_SETTLED,
  endAt,
  FLOW_CLOSED_COUNTED,
  FLOW_CONNECTION_COUNTED,
  FLOW_FAILURE_COUNTED,
  FLOW_JUDGED,
  FLOW_RESET_COUNTED,
} from './flow';
import { isConnectFailure, KeyKind } from './flow-key';
import { judgeResidual } from './ledger';

const IPPROTO_UDP: u8 = 17;

export const RESET_BY_CLIENT: u8 = 1;
export const RESET_BY_SERVER: u8 = 2;
const SEEN_CLIENT: u8 = 1;
const SEEN_SERVER: u8 = 2;

/** Adds to `out` what the open window counts of the flow. */
export function countFlow(flow: u32, client: u32, server: u32, out: EdgeFlow): void {
  out.match = (isSeen(client) ? SEEN_CLIENT : 0) | (isSeen(server) ? SEEN_SERVER : 0);
  if (coldFlowAt(flow).kind === KeyKind.Socket) {
    countFailure(flow, client, out);
    return;
  }
  const failed = failedEnd(flow, client, server);
  if (failed !== 0) {
    countFailure(flow, failed, out);
    return;
  }
  countConnection(flow, client, server, out);
  const isSettled = hasFlag(client, END_SETTLED) || hasFlag(server, END_SETTLED);
  countClose(flow, client, server, isSettled, out);
  if (!isSettled && isClosed(client) && isClosed(server)) judgeFlow(flow, client, server, out);
}

/** Both ends have told all. Before that nobody needs the cold row of an end. */
function judgeFlow(flow: u32, client: u32, server: u32, out: EdgeFlow): void {
  const isDatagrams = coldEndAt(client).protocol === IPPROTO_UDP;
  if (isDatagrams && (isHalfSeen(client) || isHalfSeen(server))) return;
  if (mark(flow, FLOW_JUDGED)) judgeResidual(endAt(client), endAt(server), isDatagrams, out);
}

/** Of datagrams there is no history that could be asked for: what passed before the look would be loss. */
function isHalfSeen(end: u32): bool {
  return hasFlag(end, END_EXISTING) && !hasFlag(end, END_COUNTED);
}

/** Told in this window, or closed with its totals known. */
function isSeen(end: u32): bool {
  return hasFlag(end, END_REPORTED | END_CLOSED);
}

export function isClosed(end: u32): bool {
  return hasFlag(end, END_CLOSED);
}

function hasFlag(end: u32, flag: u16): bool {
  return end !== 0 && (endAt(end).flags & flag) !== 0;
}

/** Sets the flag; true when it was not set. */
function mark(flow: u32, flag: u16): bool {
  const cold = coldFlowAt(flow);
  if ((cold.flags & flag) !== 0) return false;
  cold.flags |= flag;
  return true;
}

/** The only end, of a socket that was told as open and closes with the word that it never was connected; else 0. */
function failedEnd(flow: u32, client: u32, server: u32): u32 {
  const isCounted = (coldFlowAt(flow).flags & FLOW_CONNECTION_COUNTED) !== 0;
  if (isCounted || (client !== 0 && server !== 0)) return 0;
  const end = client !== 0 ? client : server;
  return isConnectFailure(reasonOf(end)) ? end : 0;
}

function countFailure(flow: u32, end: u32, out: EdgeFlow): void {
  if (!mark(flow, FLOW_FAILURE_COUNTED)) return;
  out.reason = coldEndAt(end).closeReason;
  out.reasonCount = 1;
}

/** Somebody saw the connection begin, and nobody says that it is counted. */
function countConnection(flow: u32, client: u32, server: u32, out: EdgeFlow): void {
  if (hasFlag(client, END_COUNTED) || hasFlag(server, END_COUNTED)) {
    mark(flow, FLOW_CONNECTION_COUNTED);
    return;
  }
  const isOpeningSeen =
    (client !== 0 && !hasFlag(client, END_EXISTING)) || (server !== 0 && !hasFlag(server, END_EXISTING));
  if (isOpeningSeen && mark(flow, FLOW_CONNECTION_COUNTED)) out.connections = 1;
}

/** A connection closes with the first of its ends. A settled one was counted by an earlier incarnation. */
function countClose(flow: u32, client: u32, server: u32, isSettled: bool, out: EdgeFlow): void {
  if (!isClosed(client) && !isClosed(server)) return;
  if (mark(flow, FLOW_CLOSED_COUNTED) && !isSettled) out.closed = 1;
  const sender = resetSender(client, server);
  if (sender === 0 || !mark(flow, FLOW_RESET_COUNTED) || isSettled) return;
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

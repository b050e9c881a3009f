// What a closed socket gives to a fold. What was told of it in several windows is in several folds, one part in each.
import { CloseReason, Role } from '../gen/kernel-events';
import { FOLD_SIZE, Fold, Totals } from '../gen/wire';
import { shardOfJoinKey, shardOfTuple } from '../lib/flow-place';
import { DEFAULT_SPACE } from './address-spaces';
import { clearTotals, copyTotals, SocketFlag, SocketRow } from './socket-row';
import { committedOf } from './versions';

/** Ports from here on are given to clients (the default of net.ipv4.ip_local_port_range). */
const EPHEMERAL_PORT_MIN: u16 = 32768;

/** Fills `fold` with the key of a socket, and with one socket. */
export function describeSocket(fold: Fold, socket: SocketRow): void {
  memory.fill(changetype<usize>(fold), 0, FOLD_SIZE);
  fold.process = socket.process;
  fold.addressSpace = socket.space;
  fold.localAddressHi = socket.localAddressHi;
  fold.localAddressLo = socket.localAddressLo;
  fold.remoteAddressHi = socket.remoteAddressHi;
  fold.remoteAddressLo = socket.remoteAddressLo;
  fold.serverPort = serverPortOf(socket);
  fold.role = socket.role;
  fold.protocol = socket.protocol;
  fold.shard = shardOf(socket);
  fold.sockets = 1;
  fold.endTimeNs = socket.endTimeNs;
}

/** A failed connect has no other end to meet. */
function shardOf(socket: SocketRow): u8 {
  if (socket.has(SocketFlag.Failed)) return 0;
  if (socket.joinKey !== 0) return shardOfJoinKey(socket.joinKey);
  return shardOfTuple(
    socket.localAddressHi,
    socket.localAddressLo,
    socket.localPort,
    socket.remoteAddressHi,
    socket.remoteAddressLo,
    socket.remotePort,
    socket.protocol,
  );
}

/** What belongs to the socket as a whole goes to the window that told its end. */
export function countEnd(fold: Fold, socket: SocketRow): void {
  if (socket.has(SocketFlag.Failed)) {
    countFailure(fold, socket.reason);
    return;
  }
  fold.closed = 1;
  if (socket.reason === CloseReason.ResetSent) fold.resetsSent = 1;
  else if (socket.reason === CloseReason.ResetReceived) fold.resetsReceived = 1;
  const isAdopted = socket.has(SocketFlag.Adopted);
  if (!isAdopted && !socket.has(SocketFlag.MayBeOlder)) fold.openings = 1;
  // What is committed of an adopted socket is its history as long as no window is.
  if (isAdopted && !socket.has(SocketFlag.OpenCommitted)) subtractTotals(fold.last, socket.now, committedOf(socket));
  else copyTotals(fold.last, socket.now);
  fold.last.srttUs = 0;
  fold.last.minRttUs = 0;
}

/** The parts that follow have no end. */
export function clearEnd(fold: Fold): void {
  clearFailures(fold);
  fold.closed = 0;
  fold.openings = 0;
  fold.resetsSent = 0;
  fold.resetsReceived = 0;
  clearTotals(fold.last);
}

function serverPortOf(socket: SocketRow): u16 {
  if (socket.role === Role.Client) return socket.remotePort;
  if (socket.role === Role.Server) return socket.localPort;
  const least = min(socket.localPort, socket.remotePort);
  return least < EPHEMERAL_PORT_MIN && max(socket.localPort, socket.remotePort) >= EPHEMERAL_PORT_MIN ? least : 0;
}

function countFailure(fold: Fold, reason: u8): void {
  if (reason === CloseReason.ConnectRefused) fold.refused = 1;
  else if (reason === CloseReason.ConnectTimedOut) fold.timedOut = 1;
  else if (reason === CloseReason.ConnectAbandoned) fold.abandoned = 1;
  else if (reason === CloseReason.ConnectUnreachable) fold.unreachable = 1;
  else fold.other = 1;
}

export function clearFailures(fold: Fold): void {
  fold.refused = 0;
  fold.timedOut = 0;
  fold.abandoned = 0;
  fold.unreachable = 0;
  fold.other = 0;
}

/** `now` less `committed`, without RTT. */
export function subtractTotals(to: Totals, now: Totals, committed: Totals): void {
  to.bytesSent = now.bytesSent - committed.bytesSent;
  to.bytesReceived = now.bytesReceived - committed.bytesReceived;
  to.segmentsSent = now.segmentsSent - committed.segmentsSent;
  to.segmentsReceived = now.segmentsReceived - committed.segmentsReceived;
  to.retransmits = now.retransmits - committed.retransmits;
}

/** Takes everything out of the key but the role. */
export function generalise(fold: Fold): void {
  fold.process = 0;
  fold.addressSpace = DEFAULT_SPACE;
  fold.localAddressHi = 0;
  fold.localAddressLo = 0;
  fold.remoteAddressHi = 0;
  fold.remoteAddressLo = 0;
  fold.serverPort = 0;
  fold.shard = 0;
}

// What every TCP socket tallies by itself: how long its handshake and its life took. A socket that is told as Once says both there; one that
// has a handle does it here, once, however often it is told.
import { Role } from '../gen/kernel-events';
import { TallyKind } from '../gen/wire';
import { SocketFlag, SocketRow } from './socket-row';
import { tally } from './tallies';

const IPPROTO_TCP: u8 = 6;

/** When the socket's Open has been told. */
export function tallyHandshake(row: u32, socket: SocketRow): void {
  if (!hasHandshake(socket) || socket.has(SocketFlag.HandshakeTallied)) return;
  socket.set(SocketFlag.HandshakeTallied);
  const kind = socket.role === Role.Client ? TallyKind.HandshakeServer : TallyKind.HandshakeClient;
  tally(row, kind, 0, 0, 1, <u64>socket.handshakeUs * 1000);
}

/** When the socket has closed and a Close will tell it. */
export function tallyDuration(row: u32, socket: SocketRow): void {
  if (!hasDuration(socket) || socket.has(SocketFlag.DurationTallied)) return;
  socket.set(SocketFlag.DurationTallied);
  tally(row, TallyKind.Duration, socket.reason, 0, 1, socket.endTimeNs - socket.startTimeNs);
}

/** Samples that the reducer takes from the Once of a closed socket. */
export function samplesInOnce(socket: SocketRow): u32 {
  return u32(hasDuration(socket)) + u32(hasHandshake(socket));
}

/** Whoever looked before has told of the handshake of an adopted socket. */
function hasHandshake(socket: SocketRow): bool {
  return socket.handshakeUs !== 0 && socket.role !== Role.Unknown && !socket.has(SocketFlag.Adopted);
}

/** A failed connect had none, and of an adopted socket nobody knows the beginning. */
function hasDuration(socket: SocketRow): bool {
  if (socket.has(SocketFlag.Adopted | SocketFlag.Failed) || socket.protocol !== IPPROTO_TCP) return false;
  return socket.startTimeNs !== 0 && socket.endTimeNs >= socket.startTimeNs;
}

// What a new reducer has to hear of closed and committed sockets, so that the other end's late report is not booked again
// (docs/decisions/settled.md). Kept as wire.Settled, oldest first.
import { Role } from '../gen/kernel-events';
import { Settled } from '../gen/wire';
import { pairOf } from '../lib/flow-place';
import { DEFAULT_SPACE } from './address-spaces';
import { Fifo } from './fifo';
import { SETTLED_NS } from './limits';
import { copyTotals, SocketFlag, SocketRow } from './socket-row';

let settled: Fifo<Settled> = changetype<Fifo<Settled>>(0);
let settledMax: u32 = 0;
let keptWindows: u32 = 0;
let dropped: u64 = 0;

export function initSettled(countMax: u32): void {
  settled = Fifo.create<Settled>();
  settledMax = countMax;
}

/** For how many windows what is committed is kept. */
export function settledWindows(): u32 {
  return keptWindows;
}

export function settledCount(): u32 {
  return settled.count;
}

export function settledDropped(): u64 {
  return dropped;
}

/** `ratio`: length of the windows so far to their length from now on. */
export function setSettledWindowLength(windowNs: f64, ratio: f64): void {
  keptWindows = <u32>Math.ceil(SETTLED_NS / windowNs);
  settled.rewind();
  for (let entry = settled.next(); changetype<usize>(entry) !== 0; entry = settled.next()) {
    entry.window = <u32>(<f64>entry.window * ratio);
  }
}

/** A failed connect has no other end, and a socket without a join key cannot be found again. */
export function settle(socket: SocketRow): void {
  if (socket.joinKey === 0 || socket.has(SocketFlag.Failed)) return;
  if (settled.count === settledMax) {
    settled.shift();
    dropped++;
  }
  const entry = settled.push();
  entry.joinKey = socket.joinKey;
  entry.pair = pairOfSocket(socket);
  entry.role = socket.role;
  entry.counted = socket.has(SocketFlag.Adopted) ? 0 : 1;
  entry.pad1 = 0;
  entry.window = socket.closeWindow;
  copyTotals(entry.totals, socket.now);
}

/** By it the folds of the other end find what is settled. An entry outlives its address space, unless that is the configured one. */
function pairOfSocket(socket: SocketRow): u64 {
  if (socket.role === Role.Unknown || socket.space !== DEFAULT_SPACE) return 0;
  const localHigh = socket.localAddressHi;
  const localLow = socket.localAddressLo;
  const remoteHigh = socket.remoteAddressHi;
  const remoteLow = socket.remoteAddressLo;
  return socket.role === Role.Client
    ? pairOf(localHigh, localLow, remoteHigh, remoteLow, socket.remotePort, socket.protocol)
    : pairOf(remoteHigh, remoteLow, localHigh, localLow, socket.localPort, socket.protocol);
}

export function expireSettled(window: u32): void {
  while (settled.count > 0 && settled.first().window + keptWindows < window) settled.shift();
}

export function rewindSettled(): void {
  settled.rewind();
}

/** The next one of the walk, or null (address 0). */
export function nextSettled(): Settled {
  return settled.next();
}

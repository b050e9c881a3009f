// What folds are told apart by, and how those that are not become one.
import { Fold, Totals } from '../gen/wire';
import { hashPair } from '../lib/hash';

/** `window`: folds that it tells apart. */
export function hashFoldKey(key: Fold, window: u32): u32 {
  const place = hashPair(key.localAddressHi ^ key.remoteAddressLo, key.localAddressLo);
  const rest = ((<u64>key.process) << 32) | ((<u64>key.serverPort) << 16) | ((<u64>key.shard) << 8) | key.role;
  return hashPair(rest, (((<u64>place) << 32) | window) + key.remoteAddressHi);
}

export function isSameFoldKey(a: Fold, b: Fold): bool {
  return (
    a.process === b.process &&
    a.addressSpace === b.addressSpace &&
    a.localAddressHi === b.localAddressHi &&
    a.localAddressLo === b.localAddressLo &&
    a.remoteAddressHi === b.remoteAddressHi &&
    a.remoteAddressLo === b.remoteAddressLo &&
    a.serverPort === b.serverPort &&
    a.role === b.role &&
    a.shard === b.shard &&
    a.protocol === b.protocol
  );
}

export function copyFoldKey(to: Fold, from: Fold): void {
  to.process = from.process;
  to.addressSpace = from.addressSpace;
  to.localAddressHi = from.localAddressHi;
  to.localAddressLo = from.localAddressLo;
  to.remoteAddressHi = from.remoteAddressHi;
  to.remoteAddressLo = from.remoteAddressLo;
  to.serverPort = from.serverPort;
  to.role = from.role;
  to.shard = from.shard;
  to.protocol = from.protocol;
}

/** Adds what `from` sums up of other sockets with the same key. */
export function absorbFold(to: Fold, from: Fold): void {
  to.sockets += from.sockets;
  to.connections += from.connections;
  to.refused += from.refused;
  to.timedOut += from.timedOut;
  to.abandoned += from.abandoned;
  to.unreachable += from.unreachable;
  to.other += from.other;
  to.resetsSent += from.resetsSent;
  to.resetsReceived += from.resetsReceived;
  to.closed += from.closed;
  to.openings += from.openings;
  to.endTimeNs = max(to.endTimeNs, from.endTimeNs);
  addTotals(to.totals, from.totals);
  addTotals(to.last, from.last);
}

function addTotals(to: Totals, from: Totals): void {
  to.bytesSent += from.bytesSent;
  to.bytesReceived += from.bytesReceived;
  to.segmentsSent += from.segmentsSent;
  to.segmentsReceived += from.segmentsReceived;
  to.retransmits += from.retransmits;
}

// What makes two ends one flow, and which slot of it an end takes. Both follow from the end's own words, alike on every worker and
// whatever the seed of the tables, because the key also chooses the shard.
import { CloseReason, Role } from '../gen/kernel-events';
import { MatchOpen } from '../gen/records';
import { shardOfJoinKey, shardOfTuple } from '../lib/flow-place';
import { stableHashPair } from '../lib/hash';

export namespace KeyKind {
  /** (join key, 0): both ends computed it from the connection's own sequence numbers. */
  export const Join: u8 = 0;
  /** Two hashes of the ordered tuple, its space and protocol. */
  export const Tuple: u8 = 1;
  /** A connect that failed: hashes of (boot, cookie) and of the tuple. There is no other end. */
  export const Socket: u8 = 2;
}

@unmanaged
export class FlowKey {
  high: u64;
  low: u64;
  kind: u8;
  slot: u8;
  shard: u8;
}

/** The key of the last `keyOf...` call. */
export const flowKey: FlowKey = changetype<FlowKey>(memory.data(offsetof<FlowKey>(), 8));

/** `reason`: kernel.CloseReason of a Once, else 0. */
export function shardOfOpen(open: MatchOpen, reason: u8): u8 {
  const isOfTuple = open.joinKey === 0 && !isConnectFailure(reason);
  return isOfTuple ? shardOfEnds(open) : shardOfSocket(open.boot, open.cookie, open.joinKey, reason);
}

/** Of a connect that failed, or of a socket with a join key. */
export function shardOfSocket(boot: u64, cookie: u64, joinKey: u64, reason: u8): u8 {
  return isConnectFailure(reason) ? <u8>stableHashPair(boot, cookie) : shardOfJoinKey(joinKey);
}

/** Fills `flowKey` for an end, whose shard `open` has; `reason`: as there. */
export function keyOfOpen(open: MatchOpen, reason: u8): void {
  const shard = open.shard;
  if (isConnectFailure(reason)) {
    setKey(KeyKind.Socket, stableHashPair(open.boot, open.cookie), tupleHash(open, isLocalLower(open), 1), shard);
    flowKey.slot = 0;
  } else if (open.joinKey !== 0) {
    setKey(KeyKind.Join, open.joinKey, 0, shard);
    flowKey.slot = open.role === Role.Unknown ? <u8>!isLocalLower(open) : <u8>(open.role === Role.Server);
  } else {
    const isLower = isLocalLower(open);
    setKey(KeyKind.Tuple, tupleHash(open, isLower, 2), tupleHash(open, isLower, 3), shard);
    flowKey.slot = <u8>!isLower;
  }
}

/** Of a connection whose two ends computed `joinKey`, without `slot`. */
export function keyOfJoin(joinKey: u64, shard: u32): void {
  setKey(KeyKind.Join, joinKey, 0, <u8>shard);
}

export function keyOfSettled(joinKey: u64, role: u8): void {
  keyOfJoin(joinKey, shardOfJoinKey(joinKey));
  flowKey.slot = <u8>(role === Role.Server);
}

export function isConnectFailure(reason: u8): bool {
  return reason >= CloseReason.ConnectRefused && reason <= CloseReason.ConnectOther;
}

function setKey(kind: u8, high: u64, low: u64, shard: u8): void {
  flowKey.kind = kind;
  flowKey.high = high;
  flowKey.low = low;
  flowKey.shard = shard;
}

function shardOfEnds(open: MatchOpen): u8 {
  return shardOfTuple(
    open.localAddressHi,
    open.localAddressLo,
    open.localPort,
    open.remoteAddressHi,
    open.remoteAddressLo,
    open.remotePort,
    open.protocol,
  );
}

function isLocalLower(open: MatchOpen): bool {
  return precedesTuple(
    open.localAddressHi,
    open.localAddressLo,
    open.localPort,
    open.remoteAddressHi,
    open.remoteAddressLo,
    open.remotePort,
  );
}

/** Order of (address, port), the address as bytes; a tie is the left one's. */
export function precedesTuple(high: u64, low: u64, port: u16, otherHigh: u64, otherLow: u64, otherPort: u16): bool {
  if (high !== otherHigh) return bswap<u64>(high) < bswap<u64>(otherHigh);
  if (low !== otherLow) return bswap<u64>(low) < bswap<u64>(otherLow);
  return port <= otherPort;
}

function tupleHash(open: MatchOpen, isLower: bool, salt: u64): u64 {
  const ports: u64 = isLower
    ? ((<u64>open.localPort) << 16) | open.remotePort
    : ((<u64>open.remotePort) << 16) | open.localPort;
  const head = stableHashPair(open.addressSpace, (salt << 48) | ((<u64>open.protocol) << 32) | ports);
  const local = stableHashPair(open.localAddressHi, open.localAddressLo);
  const remote = stableHashPair(open.remoteAddressHi, open.remoteAddressLo);
  return isLower ? stableHashPair(head ^ local, remote) : stableHashPair(head ^ remote, local);
}

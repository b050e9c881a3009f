// Where the books of a connection are kept, as each of its ends computes it alone. Its shard decides which worker matches it. Its pair,
// which both ends know only where no address is translated, and its time decide which folds it may be in.
import { stableHashPair } from './hash';

export const SHARD_COUNT: u32 = 256;

export function shardOfJoinKey(joinKey: u64): u8 {
  return <u8>stableHashPair(joinKey, 0);
}

/**
 * Of a connection without a join key. Addresses are their 16 bytes as two little-endian loads. The address space has no part in it: an
 * agent knows spaces by their handles alone.
 */
export function shardOfTuple(
  localHigh: u64,
  localLow: u64,
  localPort: u16,
  remoteHigh: u64,
  remoteLow: u64,
  remotePort: u16,
  protocol: u8,
): u8 {
  const local = stableHashPair(localHigh ^ localPort, localLow);
  const remote = stableHashPair(remoteHigh ^ remotePort, remoteLow);
  return <u8>stableHashPair(min(local, remote), max(local, remote) + protocol);
}

/** Whoever knows the address space completes it by `pairInSpace`. Never 0. */
export function pairOf(
  clientHigh: u64,
  clientLow: u64,
  serverHigh: u64,
  serverLow: u64,
  serverPort: u16,
  protocol: u8,
): u64 {
  const client = stableHashPair(clientHigh, clientLow);
  const server = stableHashPair(serverHigh, serverLow);
  return stableHashPair(stableHashPair(client, server), ((<u64>serverPort) << 8) | protocol) | 1;
}

/** `space`: its identity, alike on all workers. Never 0. */
export function pairInSpace(pair: u64, space: u64): u64 {
  return stableHashPair(pair, space) | 1;
}

/** Unix nanoseconds in units of 2^24 ns (17 ms), modulo 2^32 (two years); 0 stays 0 and means unknown, nothing else becomes it. */
export function shortTime(timeNs: u64): u32 {
  const time = <u32>(timeNs >>> 24);
  return time === 0 && timeNs !== 0 ? 1 : time;
}

/** How far the short time `later` is behind `earlier`, in its units; negative when it is before. */
export function shortTimeBetween(earlier: u32, later: u32): i32 {
  return <i32>(later - earlier);
}

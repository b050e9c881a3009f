// The ledger of folds. A pair is (client address, server address, server port, protocol) in its address space. Per pair and field it keeps the
// sums that folds of the client's end and of the server's end have told, and what is booked: a close books max(client, server) - booked,
// like the ledger of flows. So what both ends folded counts once, whichever came first.
//
// Not matched: a fold whose connections the other end told one by one, ends that see different addresses, folds without addresses or role.
// A pair of which nothing was told for FLOW_LINGER_NS is forgotten.

import { Role } from '../gen/kernel-events';
import { MatchFold, ReducerCounter } from '../gen/records';
import { count } from '../lib/counters';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { FLOW_LINGER_NS } from './flow-table';

/** Pairs at once, per worker; the folds of further ones are booked as they are, and counted. */
export const FOLD_PAIR_COUNT_MAX: u32 = 1 << 16;

const SUM_COUNT: usize = 8;

@unmanaged
export class FoldSums {
  forwardBytes: u64;
  reverseBytes: u64;
  forwardPackets: u64;
  reversePackets: u64;
  connections: u64;
  closed: u64;
  clientResets: u64;
  serverResets: u64;
  /** First window that what was told covers. Not a sum. */
  fromWindow: u32;
  pad0: u32;

  hasNews(): bool {
    for (let index: usize = 0; index < SUM_COUNT; index++) if (sumAt(this, index) !== 0) return true;
    return false;
  }
}

/** One end of a pair. Its sums `told` by earlier windows, then what the open window tells (`fresh`), lie behind it. */
@unmanaged
class Side {
  /** The owner of all that the open window tells; 0 = several, or unknown. Borrowed from the folds. */
  node: u32;
  isFresh: bool;
  /** All of `fresh` was booked. */
  isWhole: bool;
  pad0: u16;

  get told(): FoldSums {
    return changetype<FoldSums>(changetype<usize>(this) + offsetof<Side>());
  }

  /** After the close's judgement: what of it was booked. */
  get fresh(): FoldSums {
    return changetype<FoldSums>(changetype<usize>(this) + offsetof<Side>() + offsetof<FoldSums>());
  }
}

const SIDE_BYTES: usize = offsetof<Side>() + 2 * offsetof<FoldSums>();

/** Behind it: the sums `booked`, the client's side, the server's side. */
@unmanaged
class Pair {
  /** Free rows keep their list here. */
  previous: u32;
  next: u32;
  tag: u32;
  /** The last window that told of it; 0 = only the open one did. */
  window: u32;
  addressSpace: u64;
  clientHi: u64;
  clientLo: u64;
  serverHi: u64;
  serverLo: u64;
  serverPort: u16;
  protocol: u8;
  pad0: u8;
  pad1: u32;

  get booked(): FoldSums {
    return changetype<FoldSums>(changetype<usize>(this) + offsetof<Pair>());
  }

  side(role: u8): Side {
    const first = changetype<usize>(this) + offsetof<Pair>() + offsetof<FoldSums>();
    return changetype<Side>(role === Role.Server ? first + SIDE_BYTES : first);
  }
}

const PAIR_BYTES: usize = offsetof<Pair>() + offsetof<FoldSums>() + 2 * SIDE_BYTES;

let table: OpenTable = changetype<OpenTable>(0);
let pairs: RowPool = changetype<RowPool>(0);
let lingerWindows: u32 = 0;
/** Judged pairs, by their last window. */
let oldest: u32 = 0;
let newest: u32 = 0;
const key: Pair = changetype<Pair>(memory.data(offsetof<Pair>(), 8));
const scratch: FoldSums = changetype<FoldSums>(memory.data(offsetof<FoldSums>(), 8));

export function initFoldPairs(windowNs: u64): void {
  table = OpenTable.create(FOLD_PAIR_COUNT_MAX);
  pairs = RowPool.create(PAIR_BYTES, FOLD_PAIR_COUNT_MAX);
  lingerWindows = <u32>((FLOW_LINGER_NS + windowNs - 1) / windowNs);
}

function pairAt(pair: u32): Pair {
  return changetype<Pair>(pairs.at(pair));
}

/** The pair of a fold, new if need be; 0 when the other end's folds cannot be found. */
export function pairOfFold(fold: MatchFold): u32 {
  if (fold.role === Role.Unknown || fold.serverPort === 0) return 0;
  fillKey(fold);
  for (let row = table.first(key.tag); row !== 0; row = table.next()) if (isKey(pairAt(row))) return row;
  const row = pairs.take();
  if (row === 0 || !table.insert(key.tag, row)) {
    if (row !== 0) pairs.give(row);
    count(ReducerCounter.FoldPairsRefused);
    return 0;
  }
  memory.fill(pairs.at(row), 0, PAIR_BYTES);
  memory.copy(pairs.at(row), changetype<usize>(key), offsetof<Pair>());
  return row;
}

function fillKey(fold: MatchFold): void {
  const isServer = fold.role === Role.Server;
  key.addressSpace = fold.addressSpace;
  key.clientHi = isServer ? fold.remoteAddressHi : fold.localAddressHi;
  key.clientLo = isServer ? fold.remoteAddressLo : fold.localAddressLo;
  key.serverHi = isServer ? fold.localAddressHi : fold.remoteAddressHi;
  key.serverLo = isServer ? fold.localAddressLo : fold.remoteAddressLo;
  key.serverPort = fold.serverPort;
  key.protocol = fold.protocol;
  const ends = ((<u64>hashPair(key.clientHi, key.clientLo)) << 32) | hashPair(key.serverHi, key.serverLo);
  key.tag = hashPair(ends, key.addressSpace ^ (((<u64>key.serverPort) << 8) | key.protocol));
}

function isKey(pair: Pair): bool {
  return (
    pair.addressSpace === key.addressSpace &&
    pair.clientHi === key.clientHi &&
    pair.clientLo === key.clientLo &&
    pair.serverHi === key.serverHi &&
    pair.serverLo === key.serverLo &&
    pair.serverPort === key.serverPort &&
    pair.protocol === key.protocol
  );
}

/** Adds what a fold tells to its side; `node`: its owner, who stays until the close. */
export function addToPair(pair: u32, fold: MatchFold, node: u32): void {
  const side = pairAt(pair).side(fold.role);
  if (!side.isFresh) memory.fill(changetype<usize>(side.fresh), 0, offsetof<FoldSums>());
  fillSums(scratch, fold);
  side.fresh.fromWindow = side.isFresh ? min(side.fresh.fromWindow, fold.fromWindow) : fold.fromWindow;
  side.node = side.isFresh && side.node !== node ? 0 : node;
  side.isFresh = true;
  for (let index: usize = 0; index < SUM_COUNT; index++)
    setSum(side.fresh, index, sumAt(side.fresh, index) + sumAt(scratch, index));
}

/** Books what the window told, once: returns true for the first call of a window. */
export function judgePair(pair: u32, window: u32): bool {
  const row = pairAt(pair);
  if (row.window === window) return false;
  judgeSide(row, row.side(Role.Client));
  judgeSide(row, row.side(Role.Server));
  if (row.window !== 0) unlink(pair);
  row.window = window;
  row.previous = newest;
  row.next = 0;
  if (newest === 0) oldest = pair;
  else pairAt(newest).next = pair;
  newest = pair;
  return true;
}

function judgeSide(pair: Pair, side: Side): void {
  side.isWhole = true;
  if (!side.isFresh) return;
  side.isFresh = false;
  for (let index: usize = 0; index < SUM_COUNT; index++) {
    const fresh = sumAt(side.fresh, index);
    const told = sumAt(side.told, index) + fresh;
    const booked = sumAt(pair.booked, index);
    const news = told > booked ? told - booked : 0;
    setSum(side.told, index, told);
    setSum(pair.booked, index, booked + news);
    setSum(side.fresh, index, news);
    if (news !== fresh) side.isWhole = false;
  }
}

/** After `judgePair`: every fold of this side adds all that it tells. */
export function isPairWhole(pair: u32, role: u8): bool {
  return pairAt(pair).side(role).isWhole;
}

/** After `judgePair`: what a side that is not whole adds. */
export function remainderOf(pair: u32, role: u8): FoldSums {
  return pairAt(pair).side(role).fresh;
}

/** Who told all of a side; 0 when several did. */
export function remainderNode(pair: u32, role: u8): u32 {
  return pairAt(pair).side(role).node;
}

/** Forgets the pairs of which nothing was told for long. */
export function expirePairs(window: u32): void {
  while (oldest !== 0 && pairAt(oldest).window + lingerWindows <= window) {
    const pair = oldest;
    unlink(pair);
    table.remove(pairAt(pair).tag, pair);
    pairs.give(pair);
  }
}

function unlink(pair: u32): void {
  const row = pairAt(pair);
  if (row.previous === 0) oldest = row.next;
  else pairAt(row.previous).next = row.next;
  if (row.next === 0) newest = row.previous;
  else pairAt(row.next).previous = row.previous;
}

/** Writes what a fold tells of its connections; failed connects have no other end and are not among it. */
export function fillSums(to: FoldSums, fold: MatchFold): void {
  const isServer = fold.role === Role.Server;
  to.forwardBytes = isServer ? fold.totalsBytesReceived : fold.totalsBytesSent;
  to.reverseBytes = isServer ? fold.totalsBytesSent : fold.totalsBytesReceived;
  to.forwardPackets = isServer ? fold.totalsSegmentsReceived : fold.totalsSegmentsSent;
  to.reversePackets = isServer ? fold.totalsSegmentsSent : fold.totalsSegmentsReceived;
  to.connections = fold.connections;
  to.closed = fold.sockets - fold.refused - fold.timedOut - fold.abandoned - fold.unreachable - fold.other;
  to.clientResets = isServer ? fold.resetsReceived : fold.resetsSent;
  to.serverResets = isServer ? fold.resetsSent : fold.resetsReceived;
}

function sumAt(sums: FoldSums, index: usize): u64 {
  return load<u64>(changetype<usize>(sums) + index * sizeof<u64>());
}

function setSum(sums: FoldSums, index: usize, value: u64): void {
  store<u64>(changetype<usize>(sums) + index * sizeof<u64>(), value);
}

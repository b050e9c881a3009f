// The ledger of folds. The join keys of folded sockets are gone, so folds meet the other ends of their sockets by sums: those of one pair
// (client address, server address, server port, protocol, in its address space) and shard. Per pair and field:
//
//   clientLast   what sockets of folded client ends ever told, less what flows that lack their client end have booked
//   clientKnown  the part of clientLast that was told or exported before the folds, likewise; serverLast, serverKnown the same
//   booked       what folds added, less what they took from the news of flows
//
// A close brings `booked` to max(clientLast, serverLast, 0) - max(clientKnown, serverKnown, 0): folds add the difference, or when it is
// negative the window's news of the pair's flows shrink by it. So it makes no difference which end folded, nor who told first. Judged when
// all of a window is in. A pair of which no fold was told for long is forgotten.

import { idNodeOf } from '../enrich/nodes';
import { Role } from '../gen/kernel-events';
import { MatchFold, ReducerCounter } from '../gen/records';
import { count } from '../lib/counters';
import { pairInSpace, pairOf, shortTimeBetween } from '../lib/flow-place';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { FoldSums, fillLast, fillNews, SUM_COUNT } from './fold-sums';

/** Pairs and shards at once, per worker; the folds of further ones are booked as they are, and counted. */
export const FOLD_PAIR_COUNT_MAX: u32 = 1 << 17;

/** Behind it lie the sums of `Sum`. */
@unmanaged
export class FoldPair {
  /** Pairs by their last window. Free rows keep their list here. */
  previous: u32;
  next: u32;
  tag: u32;
  /** The last window with a fold; 0 = only the open one has. */
  window: u32;
  identity: u64;
  /** First in the list of its members (fold-members.ts). */
  firstMember: u32;
  // Of the open window, until its close has sent everything.
  nextTouched: u32;
  firstWaiting: u32;
  /** The waiting member that takes what cannot be told apart. */
  heir: u32;
  /** The owner of all that a side folded; 0 = several, or unknown. Borrowed from the folds. */
  clientNode: u32;
  serverNode: u32;
  clientFrom: u32;
  serverFrom: u32;
  /** When the last of all its folded sockets closed, in short time; 0 = unknown. */
  endTime: u32;
  shard: u8;
  isTouched: bool;
  isNew: bool;
  hasFolds: bool;
  isClientWhole: bool;
  isServerWhole: bool;
  isRemainderDue: bool;
  /** Bit of a field: the news of flows shrink, and what is left goes to the heir. */
  shrunk: u8;
  /** `endTime` has risen. */
  isLonger: bool;
  pad0: u8;
  pad1: u16;

  sums(index: u32): FoldSums {
    return changetype<FoldSums>(changetype<usize>(this) + offsetof<FoldPair>() + <usize>index * offsetof<FoldSums>());
  }
}

export namespace Sum {
  export const Booked: u32 = 0;
  export const ClientLast: u32 = 1;
  export const ServerLast: u32 = 2;
  export const ClientKnown: u32 = 3;
  export const ServerKnown: u32 = 4;
  /** What the window's folds of a side tell; after the judgement, what of it is booked. */
  export const ClientNews: u32 = 5;
  export const ServerNews: u32 = 6;
  /** What flows tell in the window; after the judgement, what the heir takes beside its own or, in a shrunk field, instead of it. */
  export const FlowNews: u32 = 7;
  export const Count: u32 = 8;
}

const PAIR_BYTES: usize = offsetof<FoldPair>() + <usize>Sum.Count * offsetof<FoldSums>();

let table: OpenTable = changetype<OpenTable>(0);
let pairs: RowPool = changetype<RowPool>(0);
let lingerWindows: u32 = 0;
let oldest: u32 = 0;
let newest: u32 = 0;
let touched: u32 = 0;
/** Shards with a pair that is new in the open window, as bits. */
const newShards: usize = memory.data(32, 8);
let newCount: u32 = 0;
const scratch: FoldSums = changetype<FoldSums>(memory.data(offsetof<FoldSums>(), 8));

export function initFoldPairs(windowsToLinger: u32): void {
  table = OpenTable.create(FOLD_PAIR_COUNT_MAX);
  pairs = RowPool.create(PAIR_BYTES, FOLD_PAIR_COUNT_MAX);
  lingerWindows = windowsToLinger;
}

export function hasFoldPairs(): bool {
  return pairs.live !== 0;
}

export function hasNewPairs(): bool {
  return newCount !== 0;
}

export function pairAt(pair: u32): FoldPair {
  return changetype<FoldPair>(pairs.at(pair));
}

/** `identity`: lib/flow-place.ts, in its address space. Returns 0 for a pair without folds. */
export function findPair(identity: u64, shard: u8): u32 {
  const tag = hashPair(identity, shard);
  for (let row = table.first(tag); row !== 0; row = table.next())
    if (pairAt(row).identity === identity && pairAt(row).shard === shard) return row;
  return 0;
}

/** The pair of a fold, new if need be; 0 when the other ends of its sockets cannot be found. */
export function pairOfFold(fold: MatchFold): u32 {
  if (fold.role === Role.Unknown || fold.serverPort === 0) return 0;
  const identity = pairInSpace(
    fold.role === Role.Server
      ? pairOf(
          fold.remoteAddressHi,
          fold.remoteAddressLo,
          fold.localAddressHi,
          fold.localAddressLo,
          fold.serverPort,
          fold.protocol,
        )
      : pairOf(
          fold.localAddressHi,
          fold.localAddressLo,
          fold.remoteAddressHi,
          fold.remoteAddressLo,
          fold.serverPort,
          fold.protocol,
        ),
    fold.addressSpace,
  );
  const known = findPair(identity, fold.shard);
  return known !== 0 ? known : addPair(identity, fold.shard);
}

function addPair(identity: u64, shard: u8): u32 {
  const row = pairs.take();
  const tag = hashPair(identity, shard);
  if (row === 0 || !table.insert(tag, row)) {
    if (row !== 0) pairs.give(row);
    count(ReducerCounter.FoldPairsRefused);
    return 0;
  }
  memory.fill(pairs.at(row), 0, PAIR_BYTES);
  const pair = pairAt(row);
  pair.tag = tag;
  pair.identity = identity;
  pair.shard = shard;
  pair.isNew = true;
  newCount++;
  const word = newShards + ((<usize>shard >>> 6) << 3);
  store<u64>(word, load<u64>(word) | ((<u64>1) << (shard & 63)));
  return row;
}

/** True when a pair of this shard is new in the open window. */
export function isNewShard(shard: u8): bool {
  return ((load<u64>(newShards + ((<usize>shard >>> 6) << 3)) >>> (shard & 63)) & 1) !== 0;
}

/** The flows of new pairs were found. */
export function clearNewPairs(): void {
  memory.fill(newShards, 0, 32);
  newCount = 0;
}

/** The pair is judged when the window closes. */
export function touchPair(row: u32): FoldPair {
  const pair = pairAt(row);
  if (pair.isTouched) return pair;
  pair.isTouched = true;
  pair.hasFolds = false;
  pair.heir = 0;
  pair.clientNode = 0;
  pair.serverNode = 0;
  pair.sums(Sum.ClientNews).clear();
  pair.sums(Sum.ServerNews).clear();
  pair.sums(Sum.FlowNews).clear();
  pair.nextTouched = touched;
  touched = row;
  return pair;
}

/** One pair to judge; 0 when there is none. */
export function takeTouchedPair(): u32 {
  const row = touched;
  if (row !== 0) touched = pairAt(row).nextTouched;
  return row;
}

/** Adds what a fold tells to its side; `node`: its owner, who stays until the close. */
export function addToPair(row: u32, fold: MatchFold, node: u32): void {
  const pair = touchPair(row);
  const isServer = fold.role === Role.Server;
  if (!pair.hasFolds) {
    pair.clientFrom = 0;
    pair.serverFrom = 0;
  }
  pair.hasFolds = true;
  const owner = node === 0 ? 0 : idNodeOf(node);
  if (pair.endTime === 0 || shortTimeBetween(pair.endTime, fold.endTime) > 0) {
    pair.endTime = fold.endTime;
    pair.isLonger = true;
  }
  if (isServer) {
    pair.serverNode = pair.serverFrom === 0 || pair.serverNode === owner ? owner : 0;
    pair.serverFrom = pair.serverFrom === 0 ? fold.fromWindow : min(pair.serverFrom, fold.fromWindow);
  } else {
    pair.clientNode = pair.clientFrom === 0 || pair.clientNode === owner ? owner : 0;
    pair.clientFrom = pair.clientFrom === 0 ? fold.fromWindow : min(pair.clientFrom, fold.fromWindow);
  }
  fillLast(scratch, fold);
  pair.sums(isServer ? Sum.ServerLast : Sum.ClientLast).add(scratch);
  pair.sums(isServer ? Sum.ServerKnown : Sum.ClientKnown).add(scratch);
  fillNews(scratch, fold);
  pair.sums(isServer ? Sum.ServerKnown : Sum.ClientKnown).subtract(scratch);
  pair.sums(isServer ? Sum.ServerNews : Sum.ClientNews).add(scratch);
}

/** Brings `booked` to what is due, as far as the window has something to book or to take back. */
export function judgePair(row: u32, window: u32): void {
  const pair = pairAt(row);
  pair.isTouched = false;
  pair.isNew = false;
  pair.isClientWhole = true;
  pair.isServerWhole = true;
  pair.shrunk = 0;
  for (let index: u32 = 0; index < SUM_COUNT; index++) judgeField(pair, index);
  pair.isRemainderDue = !pair.isClientWhole || !pair.isServerWhole;
  if (!pair.hasFolds) return;
  if (pair.window !== 0) unlink(row);
  pair.window = window;
  pair.previous = newest;
  pair.next = 0;
  if (newest === 0) oldest = row;
  else pairAt(newest).next = row;
  newest = row;
}

function judgeField(pair: FoldPair, index: u32): void {
  const booked = <i64>pair.sums(Sum.Booked).at(index);
  const change = dueOf(pair, index) - booked;
  const clientNews = pair.sums(Sum.ClientNews).at(index);
  const serverNews = pair.sums(Sum.ServerNews).at(index);
  const flowNews = pair.sums(Sum.FlowNews).at(index);
  let rise: u64 = change > 0 ? <u64>change : 0;
  const clientShare = min(rise, clientNews);
  rise -= clientShare;
  const serverShare = min(rise, serverNews);
  rise -= serverShare;
  if (pair.heir === 0) rise = 0;
  const fall = change < 0 ? min(<u64>-change, flowNews) : 0;
  pair.sums(Sum.ClientNews).setAt(index, clientShare);
  pair.sums(Sum.ServerNews).setAt(index, serverShare);
  pair.sums(Sum.FlowNews).setAt(index, fall !== 0 ? flowNews - fall : rise);
  pair.sums(Sum.Booked).setAt(index, booked + clientShare + serverShare + rise - fall);
  if (clientShare !== clientNews) pair.isClientWhole = false;
  if (serverShare !== serverNews) pair.isServerWhole = false;
  if (fall !== 0) pair.shrunk |= <u8>((<u32>1) << index);
}

function dueOf(pair: FoldPair, index: u32): i64 {
  const last = max<i64>(pair.sums(Sum.ClientLast).at(index), pair.sums(Sum.ServerLast).at(index));
  const known = max<i64>(pair.sums(Sum.ClientKnown).at(index), pair.sums(Sum.ServerKnown).at(index));
  return max<i64>(last, 0) - max<i64>(known, 0);
}

/** After `judgePair`: every fold of this side adds all that it tells. */
export function isPairWhole(row: u32, role: u8): bool {
  return role === Role.Server ? pairAt(row).isServerWhole : pairAt(row).isClientWhole;
}

/** After `judgePair`, once for a window: true when some side is not whole, so that its remainder is booked instead of its folds. */
export function takeRemainder(row: u32): bool {
  const pair = pairAt(row);
  const isDue = pair.isRemainderDue;
  pair.isRemainderDue = false;
  return isDue;
}

/** The longest without folds, if that is long enough to forget it; else 0. Its members must have been dropped before it is given back. */
export function expiredPair(window: u32): u32 {
  return oldest !== 0 && pairAt(oldest).window + lingerWindows <= window ? oldest : 0;
}

export function givePair(row: u32): void {
  unlink(row);
  table.remove(pairAt(row).tag, row);
  pairs.give(row);
}

function unlink(row: u32): void {
  const pair = pairAt(row);
  if (pair.previous === 0) oldest = pair.next;
  else pairAt(pair.previous).next = pair.next;
  if (pair.next === 0) newest = pair.previous;
  else pairAt(pair.next).previous = pair.previous;
}

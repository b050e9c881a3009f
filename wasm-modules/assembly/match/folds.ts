// Closed sockets that an agent summed up because it had to forget them one by one. Their join keys are gone: they meet the other ends by
// their pair, in the ledger of fold-pairs.ts. A side of a pair of which the ledger books all that a window told is booked fold by fold, on
// the edge of each owner; else the ledger's remainder is booked once. Either way the order in which folds come makes no difference.

import { edgeOf } from '../aggregate/edges';
import { nodeOfAddress } from '../enrich/address-table';
import { nodeOfChannel } from '../enrich/node-channel';
import { releaseNode, retainNode } from '../enrich/nodes';
import { CloseReason, Role } from '../gen/kernel-events';
import { EdgeFlow, MATCH_FOLD_SIZE, MatchFold, ReducerCounter, RefusalReason } from '../gen/records';
import { add, countRefusal } from '../lib/counters';
import { RowPool } from '../lib/row-pool';
import { blankEdgeFlow, emitEdgeFlow } from './emit';
import { FLOW_LINGER_NS } from './flow-table';
import { dropMembers, initFoldMembers } from './fold-members';
import {
  addToPair,
  expiredPair,
  givePair,
  initFoldPairs,
  isPairWhole,
  pairAt,
  pairOfFold,
  Sum,
  takeRemainder,
} from './fold-pairs';
import { FoldSums, fillNews } from './fold-sums';
import { fillOwnOfFold } from './own-numbers';

/** Folds of one window, per worker; what exceeds it is refused and counted. */
export const FOLD_COUNT_MAX: u32 = 1 << 19;

@unmanaged
class FoldRow {
  next: u32;
  node: u32;
  /** 0 = booked as it is. */
  pair: u32;
  pad0: u32;
}

let folds: RowPool = changetype<RowPool>(0);
let head: u32 = 0;
const sums: FoldSums = changetype<FoldSums>(memory.data(offsetof<FoldSums>(), 8));

export function initFolds(windowNs: u64): void {
  folds = RowPool.create(offsetof<FoldRow>() + MATCH_FOLD_SIZE, FOLD_COUNT_MAX);
  initFoldPairs(<u32>((FLOW_LINGER_NS + windowNs - 1) / windowNs));
  initFoldMembers();
}

export function keepFold(from: u32, fold: MatchFold): void {
  const row = folds.take();
  if (row === 0) {
    countRefusal(RefusalReason.FlowLimit);
    return;
  }
  const kept = changetype<FoldRow>(folds.at(row));
  kept.next = head;
  kept.node = nodeOfChannel(from, fold.node);
  retainNode(kept.node);
  kept.pair = pairOfFold(fold);
  if (kept.pair !== 0) addToPair(kept.pair, fold, kept.node);
  memory.copy(foldOf(row), changetype<usize>(fold), MATCH_FOLD_SIZE);
  head = row;
}

function foldOf(row: u32): usize {
  return folds.at(row) + offsetof<FoldRow>();
}

/** Books one kept fold, after all pairs were judged; returns false when there is none, which ends the window. */
export function bookFold(window: u32): bool {
  const row = head;
  if (row === 0) {
    expirePairs(window);
    return false;
  }
  const kept = changetype<FoldRow>(folds.at(row));
  head = kept.next;
  const fold = changetype<MatchFold>(foldOf(row));
  add(ReducerCounter.Folds, 1);
  if (kept.pair !== 0 && takeRemainder(kept.pair)) {
    emitRemainder(kept.pair, Role.Client, fold, window);
    emitRemainder(kept.pair, Role.Server, fold, window);
  }
  emitFold(fold, kept.node, kept.pair === 0 || isPairWhole(kept.pair, fold.role), window);
  releaseNode(kept.node);
  folds.give(row);
  return true;
}

function expirePairs(window: u32): void {
  for (let pair = expiredPair(window); pair !== 0; pair = expiredPair(window)) {
    dropMembers(pair);
    givePair(pair);
  }
}

/** What a side of the pair adds; `fold` is any of the pair and gives its addresses. */
function emitRemainder(row: u32, role: u8, fold: MatchFold, window: u32): void {
  if (isPairWhole(row, role)) return;
  const isServer = role === Role.Server;
  const pair = pairAt(row);
  const edge = edgeOfFold(fold, fold.role === role, isServer ? pair.serverNode : pair.clientNode);
  const news = pair.sums(isServer ? Sum.ServerNews : Sum.ClientNews);
  emitSums(news, isServer, edge, isServer ? pair.serverFrom : pair.clientFrom, 0, window);
}

function emitFold(fold: MatchFold, node: u32, isWhole: bool, window: u32): void {
  const isServer = fold.role === Role.Server;
  const edge = edgeOfFold(fold, true, node);
  if (isWhole) fillNews(sums, fold);
  else sums.clear();
  emitSums(sums, isServer, edge, fold.fromWindow, fold.totalsRetransmits, window);
  emitReason(edge, window, CloseReason.ConnectRefused, fold.refused, 0);
  emitReason(edge, window, CloseReason.ConnectTimedOut, fold.timedOut, 0);
  emitReason(edge, window, CloseReason.ConnectAbandoned, fold.abandoned, 0);
  emitReason(edge, window, CloseReason.ConnectUnreachable, fold.unreachable, 0);
  emitReason(edge, window, CloseReason.ConnectOther, fold.other, 0);
}

/** `isOwn`: the owner `node` is at the fold's own end, else at the other; 0 = its address names it. */
function edgeOfFold(fold: MatchFold, isOwn: bool, node: u32): u32 {
  let local = isOwn ? node : 0;
  let remote = isOwn ? 0 : node;
  if (local === 0) local = nodeOfAddress(fold.localAddressHi, fold.localAddressLo, fold.addressSpace, 0);
  if (remote === 0) remote = nodeOfAddress(fold.remoteAddressHi, fold.remoteAddressLo, fold.addressSpace, 0);
  return fold.role === Role.Server
    ? edgeOf(remote, local, fold.serverPort, fold.protocol)
    : edgeOf(local, remote, fold.serverPort, fold.protocol);
}

function emitSums(from: FoldSums, isServer: bool, edge: u32, fromWindow: u32, retransmits: u64, window: u32): void {
  const isNews = !from.isZero();
  if (isNews || retransmits !== 0) {
    const out = blankEdgeFlow();
    out.fromWindow = min(fromWindow, window);
    out.forwardBytes = from.forwardBytes;
    out.reverseBytes = from.reverseBytes;
    out.forwardPackets = from.forwardPackets;
    out.reversePackets = from.reversePackets;
    fillOwnOfFold(out, isServer);
    if (isServer) out.reverseRetransmits = retransmits;
    else out.forwardRetransmits = retransmits;
    out.connections = <u32>from.connections;
    out.closed = <u32>from.closed;
    if (out.fromWindow < window) out.lateBytes = out.forwardBytes + out.reverseBytes;
    if (isNews) out.match = isServer ? 2 : 1;
    emitEdgeFlow(edge, out, false);
  }
  emitReason(edge, window, isServer ? CloseReason.ResetReceived : CloseReason.ResetSent, <u32>from.clientResets, 1);
  emitReason(edge, window, isServer ? CloseReason.ResetSent : CloseReason.ResetReceived, <u32>from.serverResets, 2);
}

export function emitReason(edge: u32, window: u32, reason: u8, count: u32, resetBy: u8): void {
  if (count === 0) return;
  const out: EdgeFlow = blankEdgeFlow();
  out.fromWindow = window;
  out.reason = reason;
  out.reasonCount = count;
  out.resetBy = resetBy;
  emitEdgeFlow(edge, out, false);
}

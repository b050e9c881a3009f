// Closed sockets that an agent summed up because it had to forget them one by one. Their join keys are gone, so they are booked as they are,
// on the edge of their addresses; what the other end told of the same connections cannot be taken off.

import { edgeOf } from '../aggregate/edges';
import { nodeOfAddress } from '../enrich/address-table';
import { nodeOfChannel } from '../enrich/node-channel';
import { releaseNode, retainNode } from '../enrich/nodes';
import { CloseReason, Role } from '../gen/kernel-events';
import { EdgeFlow, MATCH_FOLD_SIZE, MatchFold, ReducerCounter, RefusalReason } from '../gen/records';
import { add, countRefusal } from '../lib/counters';
import { RowPool } from '../lib/row-pool';
import { blankEdgeFlow, emitEdgeFlow } from './emit';

/** Folds of one window, per worker; what exceeds it is refused and counted. */
export const FOLD_COUNT_MAX: u32 = 1 << 17;

@unmanaged
class FoldRow {
  next: u32;
  node: u32;
}

let folds: RowPool = changetype<RowPool>(0);
let head: u32 = 0;

export function initFolds(): void {
  folds = RowPool.create(offsetof<FoldRow>() + MATCH_FOLD_SIZE, FOLD_COUNT_MAX);
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
  memory.copy(folds.at(row) + offsetof<FoldRow>(), changetype<usize>(fold), MATCH_FOLD_SIZE);
  head = row;
}

/** Books one kept fold; returns false when there is none. */
export function bookFold(window: u32): bool {
  const row = head;
  if (row === 0) return false;
  const kept = changetype<FoldRow>(folds.at(row));
  head = kept.next;
  const fold = changetype<MatchFold>(folds.at(row) + offsetof<FoldRow>());
  add(ReducerCounter.Folds, 1);
  emitFold(fold, kept.node, window);
  releaseNode(kept.node);
  folds.give(row);
  return true;
}

function emitFold(fold: MatchFold, node: u32, window: u32): void {
  const remote = nodeOfAddress(fold.remoteAddressHi, fold.remoteAddressLo, fold.addressSpace);
  const local = node !== 0 ? node : nodeOfAddress(fold.localAddressHi, fold.localAddressLo, fold.addressSpace);
  const isServer = fold.role === Role.Server;
  const edge = isServer
    ? edgeOf(remote, local, fold.serverPort, fold.protocol)
    : edgeOf(local, remote, fold.serverPort, fold.protocol);
  emitTotals(fold, isServer, edge, window);
  emitReason(edge, window, CloseReason.ConnectRefused, fold.refused, 0);
  emitReason(edge, window, CloseReason.ConnectTimedOut, fold.timedOut, 0);
  emitReason(edge, window, CloseReason.ConnectAbandoned, fold.abandoned, 0);
  emitReason(edge, window, CloseReason.ConnectUnreachable, fold.unreachable, 0);
  emitReason(edge, window, CloseReason.ConnectOther, fold.other, 0);
  emitReason(edge, window, CloseReason.ResetSent, fold.resetsSent, isServer ? 2 : 1);
  emitReason(edge, window, CloseReason.ResetReceived, fold.resetsReceived, isServer ? 1 : 2);
}

function emitTotals(fold: MatchFold, isServer: bool, edge: u32, window: u32): void {
  const out = blankEdgeFlow();
  out.fromWindow = min(fold.fromWindow, window);
  out.forwardBytes = isServer ? fold.totalsBytesReceived : fold.totalsBytesSent;
  out.reverseBytes = isServer ? fold.totalsBytesSent : fold.totalsBytesReceived;
  out.forwardPackets = isServer ? fold.totalsSegmentsReceived : fold.totalsSegmentsSent;
  out.reversePackets = isServer ? fold.totalsSegmentsSent : fold.totalsSegmentsReceived;
  if (isServer) out.reverseRetransmits = fold.totalsRetransmits;
  else out.forwardRetransmits = fold.totalsRetransmits;
  out.connections = fold.connections;
  out.closed = fold.sockets;
  if (out.fromWindow < window) out.lateBytes = out.forwardBytes + out.reverseBytes;
  out.match = isServer ? 2 : 1;
  emitEdgeFlow(edge, out);
}

function emitReason(edge: u32, window: u32, reason: u8, count: u32, resetBy: u8): void {
  if (count === 0) return;
  const out: EdgeFlow = blankEdgeFlow();
  out.fromWindow = window;
  out.reason = reason;
  out.reasonCount = count;
  out.resetBy = resetBy;
  emitEdgeFlow(edge, out);
}

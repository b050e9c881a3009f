// What ingest tells, record by record, in any interleaving of the channels: totals rise to the greatest told, open counts go up and down,
// and everything that depends on more than one record waits for the close.

import { bindHostAddress, unbindHostAddress } from '../enrich/address-table';
import { nodeOfChannel } from '../enrich/node-channel';
import { releaseNode, retainNode } from '../enrich/nodes';
import { CloseReason } from '../gen/kernel-events';
import {
  EndTotals,
  MATCH_UPDATE_NARROW_SIZE,
  MATCH_UPDATES_SIZE,
  MatchBaseline,
  MatchClose,
  MatchFold,
  MatchHostAddress,
  MatchOnce,
  MatchOpen,
  MatchSettled,
  MatchTally,
  MatchUpdate,
  MatchUpdateNarrow,
  MatchUpdates,
  RECORD_HEADER_SIZE,
  RecordHeader,
  RecordKind,
  ReducerCounter,
} from '../gen/records';
import { BaselineKind } from '../gen/wire';
import { add, count } from '../lib/counters';
import { addBaseline } from './baselines';
import { carriedOf } from './carried';
import { endOfChannel, setEndOfChannel } from './channel-ends';
import { noteClaim } from './claimed-addresses';
import { claimEnd, claimSettled, refreshEnd } from './claims';
import {
  coldEndAt,
  coldFlowAt,
  END_CARRIES,
  END_CLOSED,
  END_REPORTED,
  End,
  endAt,
  endOrNone,
  FLOW_RENAMED,
} from './flow';
import { keyOfOpen, keyOfSettled } from './flow-key';
import { forgetEnd, touchFlow } from './flow-table';
import { keepFold } from './folds';
import { expectedEnd, expectRowsOfEnds, GROUP_SIZE } from './look-ahead';
import { noteNameChange } from './naming';
import { widenTotals } from './narrow-update';
import { receiveWaiting } from './once-channel';
import { releaseOnce, WaitingOnce, widenOnce } from './onces';
import { deferOnce } from './shard-onces';
import { keepClose, keepOnce, receiveTally } from './tallies';
import { releaseViewpoint, viewpointOf } from './viewpoints';

/** `MatchHostAddress.ended`: no longer an address of the host; otherwise another session of its agent has it. */
const ADDRESS_ENDED: u32 = 1;

/** Rows of a group of updates. */
const ends: usize = memory.data(<i32>GROUP_SIZE * 4, 4);

/** What a run of updates of worker `from` says; `updates` are followed by them. */
export function matchUpdates(from: u32, updates: MatchUpdates): void {
  add(ReducerCounter.RecordsMatched, updates.count);
  let at = changetype<usize>(updates) + MATCH_UPDATES_SIZE;
  for (let left = updates.count; left !== 0; ) {
    const size = min(left, GROUP_SIZE);
    for (let index: u32 = 0; index < size; index++) {
      const update = changetype<MatchUpdateNarrow>(at + <usize>index * MATCH_UPDATE_NARROW_SIZE);
      store<u32>(ends + ((<usize>index) << 2), endOfChannel(from, update.end));
    }
    expectRowsOfEnds(ends, size);
    for (let index: u32 = 0; index < size; index++) {
      const update = changetype<MatchUpdateNarrow>(at);
      const end = load<u32>(ends + ((<usize>index) << 2));
      reportEnd(end, expectedEnd(index), widenTotals(update), update.fromWindow);
      at += MATCH_UPDATE_NARROW_SIZE;
    }
    left -= size;
  }
}

/** One record of worker `from`, of a kind that ingest sends to match. */
export function matchRecord(from: u32, header: RecordHeader): void {
  const record = changetype<usize>(header) + RECORD_HEADER_SIZE;
  count(ReducerCounter.RecordsMatched);
  switch (header.kind) {
    case RecordKind.MatchUpdate: {
      const update = changetype<MatchUpdate>(record);
      const end = endOfChannel(from, update.end);
      reportEnd(end, endOrNone(end), update.totals, update.fromWindow);
      break;
    }
    case RecordKind.MatchOpen: {
      receiveOpen(from, changetype<MatchOpen>(record));
      break;
    }
    case RecordKind.MatchBaseline: {
      receiveBaseline(from, changetype<MatchBaseline>(record));
      break;
    }
    case RecordKind.MatchClose: {
      receiveClose(from, changetype<MatchClose>(record));
      break;
    }
    case RecordKind.MatchOnce: {
      receiveOnce(from, changetype<MatchOnce>(record));
      break;
    }
    case RecordKind.WaitingOnce: {
      const once = receiveWaiting(from, header);
      matchWaiting(once, once.fromWindow);
      break;
    }
    case RecordKind.MatchTally: {
      receiveTally(from, changetype<MatchTally>(record));
      break;
    }
    case RecordKind.MatchSettled: {
      receiveSettled(changetype<MatchSettled>(record));
      break;
    }
    case RecordKind.MatchFold: {
      keepFold(from, changetype<MatchFold>(record));
      break;
    }
    case RecordKind.HostAddress: {
      receiveHostAddress(from, changetype<MatchHostAddress>(record));
      break;
    }
    default:
      unreachable();
  }
}

function receiveOpen(from: u32, open: MatchOpen): void {
  const node = nodeOfChannel(from, open.node);
  const known = endOfChannel(from, open.end);
  if (known !== 0) {
    refreshEnd(known, open, node);
    return;
  }
  keyOfOpen(open, CloseReason.None);
  open.viewpoint = viewpointOf(open);
  const end = claimEnd(open, node);
  releaseViewpoint(open.viewpoint);
  setEndOfChannel(from, open.end, end);
  if (end === 0) return;
  endAt(end).openCount++;
  nameRemote(end, open.session, nodeOfChannel(from, open.remoteNode));
  coldFlowAt(endAt(end).flow).noteBegin(open.startTime);
}

function receiveBaseline(from: u32, baseline: MatchBaseline): void {
  const end = endOfChannel(from, baseline.end);
  if (end === 0) return;
  const hot = endAt(end);
  if (hot.flow === 0) return;
  addBaseline(end, baseline.kind, baseline.totals);
  raiseTotals(end, hot, baseline.totals);
  touchFlow(hot.flow);
}

function receiveClose(from: u32, close: MatchClose): void {
  const end = endOfChannel(from, close.end);
  setEndOfChannel(from, close.end, 0);
  if (end === 0) return;
  const hot = endAt(end);
  hot.openCount--;
  if (hot.flow === 0) {
    if (hot.openCount === 0) forgetEnd(end);
    return;
  }
  const isSocketClose = close.reason < CloseReason.AgentRestart;
  if (isSocketClose) {
    keepClose(end, close);
    closeEnd(end, close.reason);
    reportEnd(end, hot, close.totals, close.fromWindow);
    return;
  }
  raiseTotals(end, hot, close.totals);
  touchFlow(hot.flow);
}

/** A Once in the form in which it waits, which hands over what it holds. Its `tag` is its shard. */
export function matchWaiting(once: WaitingOnce, fromWindow: u32): void {
  if (deferOnce(once, fromWindow)) return;
  once.fromWindow = fromWindow;
  claimWaiting(once, once.tag);
}

/** Claims its side, and what it held goes. */
export function claimWaiting(waiting: WaitingOnce, shard: u32): void {
  claimOnce(widenOnce(waiting, shard), waiting.node, waiting.remoteNode);
  releaseOnce(waiting);
}

function receiveOnce(from: u32, once: MatchOnce): void {
  once.openViewpoint = viewpointOf(once.open);
  claimOnce(once, nodeOfChannel(from, once.openNode), nodeOfChannel(from, once.openRemoteNode));
  releaseViewpoint(once.openViewpoint);
}

/** `node`, `remoteNode`: those of `once` here. Its viewpoint is in the record. */
function claimOnce(once: MatchOnce, node: u32, remoteNode: u32): void {
  keyOfOpen(once.open, once.reason);
  const end = claimEnd(once.open, node);
  if (end === 0) return;
  nameRemote(end, once.openSession, remoteNode);
  coldFlowAt(endAt(end).flow).noteBegin(once.openStartTime);
  keepOnce(end, once);
  closeEnd(end, once.reason);
  reportEnd(end, endAt(end), once.totals, once.fromWindow);
}

/** The latest session's word, which is the one that the end keeps; another of the same socket changes nothing. */
function nameRemote(end: u32, session: u64, node: u32): void {
  const cold = coldEndAt(end);
  if (cold.from.session !== session || cold.remoteNode === node) return;
  retainNode(node);
  releaseNode(cold.remoteNode);
  cold.remoteNode = node;
  coldFlowAt(endAt(end).flow).flags |= FLOW_RENAMED;
}

function receiveSettled(settled: MatchSettled): void {
  keyOfSettled(settled.joinKey, settled.role);
  const end = claimSettled(settled.boot, settled.session, settled.role, settled.counted !== 0);
  if (end === 0) return;
  coldEndAt(end).settledPair = settled.pair;
  addBaseline(end, BaselineKind.Committed, settled.totals);
  raiseTotals(end, endAt(end), settled.totals);
}

function receiveHostAddress(from: u32, address: MatchHostAddress): void {
  const host = nodeOfChannel(from, address.node);
  const isEnded = address.ended !== 0;
  if (!isEnded) bindHostAddress(address.addressHi, address.addressLo, address.addressSpace, host);
  else {
    const isReplaced = address.ended !== ADDRESS_ENDED;
    unbindHostAddress(address.addressHi, address.addressLo, address.addressSpace, host, isReplaced);
  }
  noteClaim(address.addressHi, address.addressLo, address.addressSpace, address.boot, isEnded);
  noteNameChange();
}

function closeEnd(end: u32, reason: u8): void {
  endAt(end).flags |= END_CLOSED;
  const cold = coldEndAt(end);
  if (reason > cold.closeReason) cold.closeReason = reason;
}

/** What a report of `end` says. `hot`: its row, or flow.endOrNone when there is none. */
export function reportEnd(end: u32, hot: End, totals: EndTotals, fromWindow: u32): void {
  if (hot.flow === 0) return;
  raiseTotals(end, hot, totals);
  hot.flags |= END_REPORTED;
  if (totals.srttUs > hot.srttUs) hot.srttUs = totals.srttUs;
  if (fromWindow < hot.fromWindow) hot.fromWindow = fromWindow;
  touchFlow(hot.flow);
}

/** `hot`: the row of `end`. */
function raiseTotals(end: u32, hot: End, totals: EndTotals): void {
  if ((hot.flags & END_CARRIES) !== 0) {
    raiseCarried(end, hot, totals);
    return;
  }
  if (totals.bytesSent > hot.bytesSent) hot.bytesSent = totals.bytesSent;
  if (totals.bytesReceived > hot.bytesReceived) hot.bytesReceived = totals.bytesReceived;
  if (totals.segmentsSent > hot.segmentsSent) hot.segmentsSent = totals.segmentsSent;
  if (totals.segmentsReceived > hot.segmentsReceived) hot.segmentsReceived = totals.segmentsReceived;
  if (totals.retransmits > hot.retransmits) hot.retransmits = totals.retransmits;
}

/** Datagrams are not sent again by the kernel. */
function raiseCarried(end: u32, hot: End, totals: EndTotals): void {
  const carried = carriedOf(end);
  hot.bytesSent = max(hot.bytesSent, carried.bytesSent + totals.bytesSent);
  hot.bytesReceived = max(hot.bytesReceived, carried.bytesReceived + totals.bytesReceived);
  hot.segmentsSent = max(hot.segmentsSent, carried.segmentsSent + totals.segmentsSent);
  hot.segmentsReceived = max(hot.segmentsReceived, carried.segmentsReceived + totals.segmentsReceived);
}

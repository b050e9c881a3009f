// Sockets that are told when they are over: Once, Settled, Fold. They have no row, only staged records. A batch is checked, then applied.

import { retainNode } from '../enrich/nodes';
import { CloseReason, ConnectionPhase, Role } from '../gen/kernel-events';
import {
  END_TOTALS_SIZE,
  EndTotals,
  MATCH_FOLD_SIZE,
  MATCH_ONCE_SIZE,
  MATCH_OPEN_SIZE,
  MATCH_SETTLED_SIZE,
  MatchFold,
  MatchOnce,
  MatchSettled,
  RECORD_HEADER_SIZE,
  RecordKind,
  ReducerCounter,
  RefusalReason,
} from '../gen/records';
import { FOLD_SIZE, Fold, ONCE_SIZE, Once, OpenFlags, SETTLED_SIZE, Settled, Totals } from '../gen/wire';
import { count } from '../lib/counters';
import { pairInSpace, shortTime } from '../lib/flow-place';
import { isForeignAddress } from '../match/claimed-addresses';
import { flowKey, keyOfSettled, shardOfOpen, shardOfSocket } from '../match/flow-key';
import { mayWait, WAITING_ONCE_BYTES, WaitingOnce } from '../match/onces';
import { retainPoint } from '../match/viewpoints';
import { allowanceSince, areTotalsWithin, isProtocol, TALLY_SAMPLE_NS_MAX } from './limits';
import { nodeNamed } from './named-addresses';
import { checkNames, describe, described, isForeign, refuseSocket } from './opens';
import { Session } from './session';
import { workerOfShard } from './shards';
import { canStage, stageBlank, stageRecord } from './staging';
import { isKnownProcess, nodeOfHandle, spaceOf } from './twin-tables';
import { isAheadOf } from './windows';

/** The handle of an agent's configured address space. */
const CONFIGURED_SPACE: u32 = 1;

export function checkOnces(session: Session, items: usize, itemCount: u32): u8 {
  if (!canStage(session, <u64>itemCount * (RECORD_HEADER_SIZE + MATCH_ONCE_SIZE))) return RefusalReason.Memory;
  const allowance = allowanceSince(session, session.toldWindow);
  for (let index: u32 = 0; index < itemCount; index++) {
    const once = changetype<Once>(items + <usize>index * ONCE_SIZE);
    if (once.openHandle !== 0) return RefusalReason.UnknownHandle;
    const reason = checkNames(session, once.open);
    if (reason !== RefusalReason.None) return reason;
    if (once.reason === CloseReason.None || once.reason > CloseReason.ConnectOther) return RefusalReason.EnumValue;
    if (once.phase > ConnectionPhase.Close) return RefusalReason.EnumValue;
    if (!areTotalsWithin(changetype<EndTotals>(once.totals), allowance)) return RefusalReason.TotalsRate;
  }
  return RefusalReason.None;
}

export function applyOnces(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const once = changetype<Once>(items + <usize>index * ONCE_SIZE);
    if (isForeign(session, once.open)) {
      refuseSocket(RefusalReason.ForeignAddress);
      continue;
    }
    if (mayWait(once.openJoinKey, once.reason, changetype<EndTotals>(once.totals))) stageWaiting(session, once);
    else stageOnce(session, once);
    count(ReducerCounter.SocketsOpened);
    count(ReducerCounter.SocketsClosed);
  }
}

/** In the form in which it waits for the close. */
function stageWaiting(session: Session, once: Once): void {
  const shard = shardOfSocket(session.boot, once.openCookie, once.openJoinKey, once.reason);
  const record = stageRecord(session, RecordKind.WaitingOnce, WAITING_ONCE_BYTES, <u16>workerOfShard(shard));
  // Its viewpoint and a remote address that is not IPv4, at most: so as many may wait as of the others.
  session.staged.charge(MATCH_ONCE_SIZE - WAITING_ONCE_BYTES);
  const waiting = changetype<WaitingOnce>(record);
  const open = once.open;
  const space = spaceOf(session, open.addressSpace);
  waiting.begin(open.remoteAddressHi, open.remoteAddressLo);
  waiting.tag = shard;
  waiting.joinKey = open.joinKey;
  waiting.cookie = open.cookie;
  waiting.durationNs = durationOf(once);
  waiting.viewpoint = retainPoint(
    session.boot,
    session.session,
    session.identity,
    space,
    open.localAddressHi,
    open.localAddressLo,
  );
  waiting.node = nodeOfHandle(session, open.process);
  retainNode(waiting.node);
  waiting.remoteNode = nodeNamed(session, open.remoteAddressHi, open.remoteAddressLo, space);
  retainNode(waiting.remoteNode);
  waiting.startTime = shortTime(open.startTimeNs);
  waiting.handshakeUs = once.handshakeUs;
  waiting.setTotals(changetype<EndTotals>(once.totals));
  waiting.localPort = open.localPort;
  waiting.remotePort = open.remotePort;
  waiting.error = once.error;
  waiting.flags = <u8>open.flags;
  waiting.role = open.role;
  waiting.roleSource = open.roleSource;
  waiting.protocol = open.protocol;
  waiting.reason = once.reason;
  waiting.phase = once.phase;
}

function stageOnce(session: Session, once: Once): void {
  describe(session, once.open);
  described.shard = shardOfOpen(described, once.reason);
  const worker = <u16>workerOfShard(described.shard);
  const record = changetype<MatchOnce>(stageRecord(session, RecordKind.MatchOnce, MATCH_ONCE_SIZE, worker));
  memory.copy(changetype<usize>(record), changetype<usize>(described), MATCH_OPEN_SIZE);
  record.reason = once.reason;
  record.phase = once.phase;
  record.error = once.error;
  memory.copy(changetype<usize>(record.totals), changetype<usize>(once.totals), END_TOTALS_SIZE);
  record.durationNs = durationOf(once);
  record.handshakeNs = <u64>once.handshakeUs * 1000;
}

/** 0 for a connect that failed, and where the opening was not seen. */
function durationOf(once: Once): u64 {
  if (once.reason >= CloseReason.ConnectRefused || (once.openFlags & OpenFlags.Existing) !== 0) return 0;
  const start = once.openStartTimeNs;
  if (start === 0 || once.endTimeNs < start) return 0;
  return min(max(once.endTimeNs - start, 1), TALLY_SAMPLE_NS_MAX);
}

export function checkSettled(session: Session, items: usize, itemCount: u32): u8 {
  if (!canStage(session, <u64>itemCount * (RECORD_HEADER_SIZE + MATCH_SETTLED_SIZE))) return RefusalReason.Memory;
  for (let index: u32 = 0; index < itemCount; index++) {
    const settled = changetype<Settled>(items + <usize>index * SETTLED_SIZE);
    if (settled.role > Role.Server || settled.counted > 1) return RefusalReason.EnumValue;
    if (settled.joinKey === 0) return RefusalReason.UnknownHandle;
  }
  return RefusalReason.None;
}

export function applySettled(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const settled = changetype<Settled>(items + <usize>index * SETTLED_SIZE);
    keyOfSettled(settled.joinKey, settled.role);
    const worker = <u16>workerOfShard(flowKey.shard);
    const record = changetype<MatchSettled>(stageBlank(session, RecordKind.MatchSettled, MATCH_SETTLED_SIZE, worker));
    record.joinKey = settled.joinKey;
    const space = spaceOf(session, CONFIGURED_SPACE);
    record.pair = settled.pair === 0 || space === 0 ? 0 : pairInSpace(settled.pair, space);
    record.boot = session.boot;
    record.session = session.session;
    record.role = settled.role;
    record.counted = settled.counted;
    memory.copy(changetype<usize>(record.totals), changetype<usize>(settled.totals), END_TOTALS_SIZE);
  }
}

export function checkFolds(session: Session, items: usize, itemCount: u32): u8 {
  if (!canStage(session, <u64>itemCount * (RECORD_HEADER_SIZE + MATCH_FOLD_SIZE))) return RefusalReason.Memory;
  const allowance = allowanceSince(session, session.toldWindow);
  for (let index: u32 = 0; index < itemCount; index++) {
    const fold = changetype<Fold>(items + <usize>index * FOLD_SIZE);
    if (!isKnownProcess(session, fold.process)) return RefusalReason.UnknownProcess;
    if (spaceOf(session, fold.addressSpace) === 0) return RefusalReason.UnknownAddressSpace;
    if (fold.role > Role.Server || fold.settled > 1 || !isProtocol(fold.protocol, 4)) return RefusalReason.EnumValue;
    if (!areCountsPossible(fold)) return RefusalReason.Counts;
    if (!areTotalsBelow(fold.totals, fold.last)) return RefusalReason.TotalsFell;
    if (fold.settled !== 0 && !areTotalsWithin(changetype<EndTotals>(fold.totals), 0)) return RefusalReason.TotalsRate;
    if (!areTotalsWithin(changetype<EndTotals>(fold.totals), multiply(allowance, fold.sockets)))
      return RefusalReason.TotalsRate;
  }
  return RefusalReason.None;
}

function areCountsPossible(fold: Fold): bool {
  const failures = <u64>fold.refused + fold.timedOut + fold.abandoned + fold.unreachable + fold.other;
  if (fold.settled !== 0 && fold.connections + failures !== 0) return false;
  const sockets: u64 = fold.sockets;
  return (
    fold.connections + failures <= sockets &&
    fold.closed + failures <= sockets &&
    fold.openings <= fold.closed &&
    <u64>fold.resetsSent + fold.resetsReceived <= fold.closed
  );
}

function areTotalsBelow(totals: Totals, last: Totals): bool {
  return (
    totals.bytesSent <= last.bytesSent &&
    totals.bytesReceived <= last.bytesReceived &&
    totals.segmentsSent <= last.segmentsSent &&
    totals.segmentsReceived <= last.segmentsReceived &&
    totals.retransmits <= last.retransmits
  );
}

function multiply(allowance: u64, factor: u64): u64 {
  return factor !== 0 && allowance > u64.MAX_VALUE / factor ? u64.MAX_VALUE : allowance * factor;
}

export function applyFolds(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const fold = changetype<Fold>(items + <usize>index * FOLD_SIZE);
    if (isForeignFold(session, fold)) {
      refuseSocket(RefusalReason.ForeignAddress);
      continue;
    }
    fillFold(session, fold);
    const worker = <u16>workerOfShard(fold.shard);
    const record = stageRecord(session, RecordKind.MatchFold, MATCH_FOLD_SIZE, worker);
    memory.copy(record, changetype<usize>(filled), MATCH_FOLD_SIZE);
    retainNode(filled.node);
  }
}

function isForeignFold(session: Session, fold: Fold): bool {
  return isForeignAddress(
    fold.localAddressHi,
    fold.localAddressLo,
    spaceOf(session, fold.addressSpace),
    session.boot,
    isAheadOf(session.state.reachedWindow),
  );
}

const filled: MatchFold = changetype<MatchFold>(memory.data(MATCH_FOLD_SIZE, 8));

function fillFold(session: Session, fold: Fold): void {
  const record = filled;
  memory.fill(changetype<usize>(record), 0, MATCH_FOLD_SIZE);
  record.node = nodeOfHandle(session, fold.process);
  record.addressSpace = spaceOf(session, fold.addressSpace);
  record.boot = session.boot;
  record.localAddressHi = fold.localAddressHi;
  record.localAddressLo = fold.localAddressLo;
  record.remoteAddressHi = fold.remoteAddressHi;
  record.remoteAddressLo = fold.remoteAddressLo;
  record.serverPort = fold.serverPort;
  record.role = fold.role;
  record.protocol = fold.protocol;
  record.sockets = fold.sockets;
  record.connections = fold.connections;
  record.refused = fold.refused;
  record.timedOut = fold.timedOut;
  record.abandoned = fold.abandoned;
  record.unreachable = fold.unreachable;
  record.other = fold.other;
  record.resetsSent = fold.resetsSent;
  record.resetsReceived = fold.resetsReceived;
  record.closed = fold.closed;
  record.openings = fold.openings;
  record.shard = fold.shard;
  record.settled = fold.settled;
  record.endTime = shortTime(fold.endTimeNs);
  memory.copy(changetype<usize>(record.totals), changetype<usize>(fold.totals), END_TOTALS_SIZE);
  memory.copy(changetype<usize>(record.last), changetype<usize>(fold.last), END_TOTALS_SIZE);
}

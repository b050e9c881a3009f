// Open, Once, Fold and Settled: what names a socket, checked as a batch and then applied as a batch.

import { retainNode } from '../enrich/nodes';
import { CloseReason, Role } from '../gen/kernel-events';
import {
  END_TOTALS_SIZE,
  EndTotals,
  MATCH_FOLD_SIZE,
  MATCH_ONCE_SIZE,
  MATCH_OPEN_SIZE,
  MATCH_SETTLED_SIZE,
  MatchFold,
  MatchOnce,
  MatchOpen,
  MatchSettled,
  RECORD_HEADER_SIZE,
  RecordKind,
  ReducerCounter,
  RefusalReason,
} from '../gen/records';
import { FOLD_SIZE, Fold, ONCE_SIZE, Once, OPEN_SIZE, Open, OpenFlags, SETTLED_SIZE, Settled } from '../gen/wire';
import { count, countRefusal } from '../lib/counters';
import { isForeignAddress } from '../match/claimed-addresses';
import { flowKey, keyOfOpen, keyOfSettled, shardOfFold } from '../match/flow-key';
import { takeEndNumber } from './ends';
import { allowanceSince, areTotalsWithin, isProtocol, isRole } from './limits';
import { Session } from './session';
import { workerOfShard } from './shards';
import {
  ensureSocket,
  resetSocket,
  SOCKET_COUNT_MAX,
  SOCKET_EXISTING,
  SOCKET_IN_BATCH,
  SOCKET_NEW,
  Socket,
  SocketState,
  socketAt,
} from './sockets';
import { canStage, stageRecord } from './staging';
import { isKnownProcess, nodeOfHandle, spaceOf } from './twin-tables';

export function checkOpens(session: Session, items: usize, itemCount: u32): u8 {
  if (!canStage(session, <u64>itemCount * (RECORD_HEADER_SIZE + MATCH_OPEN_SIZE))) return RefusalReason.Memory;
  for (let index: u32 = 0; index < itemCount; index++) {
    const open = openAt(items, index);
    const reason = checkOpen(session, open);
    if (reason !== RefusalReason.None) {
      unmarkOpens(session, items, index);
      return reason;
    }
    if (open.handle < SOCKET_COUNT_MAX) socketAt(session, open.handle).flags |= SOCKET_IN_BATCH;
  }
  unmarkOpens(session, items, itemCount);
  return RefusalReason.None;
}

function openAt(items: usize, index: u32): Open {
  return changetype<Open>(items + <usize>index * OPEN_SIZE);
}

function unmarkOpens(session: Session, items: usize, end: u32): void {
  for (let index: u32 = 0; index < end; index++) {
    const handle = openAt(items, index).handle;
    if (handle < SOCKET_COUNT_MAX) socketAt(session, handle).flags &= ~SOCKET_IN_BATCH;
  }
}

function checkOpen(session: Session, open: Open): u8 {
  if (open.handle === 0) return RefusalReason.UnknownHandle;
  const reason = checkNames(session, open);
  if (reason !== RefusalReason.None || open.handle >= SOCKET_COUNT_MAX) return reason;
  if (!ensureSocket(session, open.handle)) return RefusalReason.Memory;
  const socket = socketAt(session, open.handle);
  if ((socket.flags & SOCKET_IN_BATCH) !== 0) return RefusalReason.HandleTaken;
  const isTaken = socket.state === SocketState.Open && socket.cookieLow !== <u32>open.cookie;
  return isTaken ? RefusalReason.HandleTaken : RefusalReason.None;
}

function checkNames(session: Session, open: Open): u8 {
  if (!isKnownProcess(session, open.process)) return RefusalReason.UnknownProcess;
  if (spaceOf(session, open.addressSpace) === 0) return RefusalReason.UnknownAddressSpace;
  if (!isRole(open.role, open.roleSource) || !isProtocol(open.protocol, open.ipVersion)) return RefusalReason.EnumValue;
  return (open.flags & ~(OpenFlags.Existing | OpenFlags.Counted)) === 0 ? RefusalReason.None : RefusalReason.EnumValue;
}

export function applyOpens(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) applyOpen(session, openAt(items, index));
}

function applyOpen(session: Session, open: Open): void {
  if (open.handle >= SOCKET_COUNT_MAX) {
    refuseSocket(RefusalReason.SocketQuota);
    return;
  }
  const socket = socketAt(session, open.handle);
  if (socket.state !== SocketState.Open) {
    resetSocket(session, open.handle, socket);
    socket.cookieLow = <u32>open.cookie;
    socket.toldWindow = session.toldWindow;
    if (isForeign(session, open)) {
      socket.state = SocketState.Refused;
      refuseSocket(RefusalReason.ForeignAddress);
      return;
    }
    socket.state = SocketState.Open;
    socket.flags |= (open.flags & OpenFlags.Existing) !== 0 ? SOCKET_NEW | SOCKET_EXISTING : SOCKET_NEW;
    session.state.socketsLive++;
    count(ReducerCounter.SocketsLive);
    count(ReducerCounter.SocketsOpened);
  }
  stageOpen(session, socket, open);
}

function stageOpen(session: Session, socket: Socket, open: Open): void {
  describe(session, open);
  keyOfOpen(described, CloseReason.None);
  if (socket.end === 0) {
    socket.worker = <u8>workerOfShard(flowKey.shard);
    socket.end = takeEndNumber(socket.worker);
  }
  described.end = socket.end;
  const record = stageRecord(session, RecordKind.MatchOpen, MATCH_OPEN_SIZE, socket.worker);
  memory.copy(record, changetype<usize>(described), MATCH_OPEN_SIZE);
}

function refuseSocket(reason: u8): void {
  count(ReducerCounter.SocketsRefused);
  countRefusal(reason);
}

function isForeign(session: Session, open: Open): bool {
  return isForeignAddress(open.localAddressHi, open.localAddressLo, spaceOf(session, open.addressSpace), session.boot);
}

/** The open at hand as match will see it, its node retained for the way there. */
const described: MatchOpen = changetype<MatchOpen>(memory.data(offsetof<MatchOpen>(), 8));

function describe(session: Session, open: Open): void {
  described.end = 0;
  described.node = nodeOfHandle(session, open.process);
  retainNode(described.node);
  described.joinKey = open.joinKey;
  described.cookie = open.cookie;
  described.boot = session.boot;
  described.session = session.session;
  described.identity = session.identity;
  described.addressSpace = spaceOf(session, open.addressSpace);
  described.localAddressHi = open.localAddressHi;
  described.localAddressLo = open.localAddressLo;
  described.remoteAddressHi = open.remoteAddressHi;
  described.remoteAddressLo = open.remoteAddressLo;
  described.localPort = open.localPort;
  described.remotePort = open.remotePort;
  described.role = open.role;
  described.roleSource = open.roleSource;
  described.protocol = open.protocol;
  described.ipVersion = open.ipVersion;
  described.flags = open.flags;
}

export function checkOnces(session: Session, items: usize, itemCount: u32): u8 {
  if (!canStage(session, <u64>itemCount * (RECORD_HEADER_SIZE + MATCH_ONCE_SIZE))) return RefusalReason.Memory;
  const allowance = allowanceSince(session, session.toldWindow);
  for (let index: u32 = 0; index < itemCount; index++) {
    const once = changetype<Once>(items + <usize>index * ONCE_SIZE);
    if (once.openHandle !== 0) return RefusalReason.UnknownHandle;
    const reason = checkNames(session, once.open);
    if (reason !== RefusalReason.None) return reason;
    if (once.reason === CloseReason.None || once.reason > CloseReason.ConnectOther) return RefusalReason.EnumValue;
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
    describe(session, once.open);
    keyOfOpen(described, once.reason);
    const worker = <u16>workerOfShard(flowKey.shard);
    const record = changetype<MatchOnce>(stageRecord(session, RecordKind.MatchOnce, MATCH_ONCE_SIZE, worker));
    memory.copy(changetype<usize>(record), changetype<usize>(described), MATCH_OPEN_SIZE);
    record.reason = once.reason;
    record.error = once.error;
    memory.copy(changetype<usize>(record.totals), changetype<usize>(once.totals), END_TOTALS_SIZE);
    count(ReducerCounter.SocketsOpened);
    count(ReducerCounter.SocketsClosed);
  }
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
    const record = changetype<MatchSettled>(stageRecord(session, RecordKind.MatchSettled, MATCH_SETTLED_SIZE, worker));
    record.joinKey = settled.joinKey;
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
    if (fold.role > Role.Server || !isProtocol(fold.protocol, 4)) return RefusalReason.EnumValue;
    if (!areCountsPossible(fold)) return RefusalReason.Counts;
    if (!areTotalsWithin(changetype<EndTotals>(fold.totals), multiply(allowance, fold.sockets)))
      return RefusalReason.TotalsRate;
  }
  return RefusalReason.None;
}

function areCountsPossible(fold: Fold): bool {
  const failures = <u64>fold.refused + fold.timedOut + fold.abandoned + fold.unreachable + fold.other;
  const sockets: u64 = fold.sockets;
  return fold.connections + failures <= sockets && <u64>fold.resetsSent + fold.resetsReceived <= sockets;
}

function multiply(allowance: u64, factor: u64): u64 {
  return factor !== 0 && allowance > u64.MAX_VALUE / factor ? u64.MAX_VALUE : allowance * factor;
}

export function applyFolds(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const fold = changetype<Fold>(items + <usize>index * FOLD_SIZE);
    const space = spaceOf(session, fold.addressSpace);
    const worker = <u16>workerOfShard(shardOfFold(space, fold.remoteAddressHi, fold.remoteAddressLo));
    const record = changetype<MatchFold>(stageRecord(session, RecordKind.MatchFold, MATCH_FOLD_SIZE, worker));
    record.node = nodeOfHandle(session, fold.process);
    retainNode(record.node);
    record.addressSpace = space;
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
    memory.copy(changetype<usize>(record.totals), changetype<usize>(fold.totals), END_TOTALS_SIZE);
  }
}

// Open: a socket gets its row and its number on a channel to match. A batch is checked, then applied.

import { retainNode } from '../enrich/nodes';
import { CloseReason } from '../gen/kernel-events';
import {
  MATCH_OPEN_SIZE,
  MatchOpen,
  RECORD_HEADER_SIZE,
  RecordKind,
  ReducerCounter,
  RefusalReason,
} from '../gen/records';
import { OPEN_SIZE, Open, OpenFlags } from '../gen/wire';
import { count, countRefusal } from '../lib/counters';
import { shortTime } from '../lib/flow-place';
import { isForeignAddress } from '../match/claimed-addresses';
import { shardOfOpen } from '../match/flow-key';
import { takeEndNumber } from './ends';
import { isProtocol, isRole } from './limits';
import { nodeNamed } from './named-addresses';
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
import { isAheadOf } from './windows';

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

export function checkNames(session: Session, open: Open): u8 {
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
  described.shard = shardOfOpen(described, CloseReason.None);
  if (socket.end === 0) {
    socket.worker = <u8>workerOfShard(described.shard);
    socket.end = takeEndNumber(socket.worker);
  }
  described.end = socket.end;
  const record = stageRecord(session, RecordKind.MatchOpen, MATCH_OPEN_SIZE, socket.worker);
  memory.copy(record, changetype<usize>(described), MATCH_OPEN_SIZE);
}

export function refuseSocket(reason: u8): void {
  count(ReducerCounter.SocketsRefused);
  countRefusal(reason);
}

export function isForeign(session: Session, open: Open): bool {
  return isForeignAddress(
    open.localAddressHi,
    open.localAddressLo,
    spaceOf(session, open.addressSpace),
    session.boot,
    isAheadOf(session.state.reachedWindow),
  );
}

/** The open at hand as match will see it, its nodes retained for the way there. */
export const described: MatchOpen = changetype<MatchOpen>(memory.data(offsetof<MatchOpen>(), 8));

export function describe(session: Session, open: Open): void {
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
  described.flags = <u16>open.flags;
  described.startTime = shortTime(open.startTimeNs);
  described.remoteNode = nodeNamed(session, open.remoteAddressHi, open.remoteAddressLo, described.addressSpace);
  retainNode(described.remoteNode);
}

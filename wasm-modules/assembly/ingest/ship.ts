// A session's window on its way to match: at its WindowEnd the staged records, then the rows that moved; at its end the closes of all rows.
// Stops when an outbox is full or after a slice, and goes on where it stopped.

import { claimLabelAnnounce, LABEL_RECORD_BYTES_MAX, writeLabel } from '../enrich/label-channel';
import { claimAnnounce, NODE_RECORD_BYTES_MAX, writeNode } from '../enrich/node-channel';
import { releaseNode } from '../enrich/nodes';
import { releaseLabel } from '../enrich/tally-labels';
import { CloseReason } from '../gen/kernel-events';
import {
  MATCH_CLOSE_SIZE,
  MATCH_UPDATE_SIZE,
  MatchClose,
  MatchFold,
  MatchHostAddress,
  MatchOnce,
  MatchOpen,
  MatchTally,
  MatchUpdate,
  RECORD_HEADER_SIZE,
  RecordHeader,
  RecordKind,
  ReducerCounter,
  SessionFlag,
} from '../gen/records';
import { add, count } from '../lib/counters';
import { keepLoads } from '../lib/keep-loads';
import { beginRecord, commitOutbox, isOutboxFull, reserveOutbox } from '../lib/outbox';
import { expectEnds, expectedEnd, expectRecords, GROUP_SIZE } from '../match/look-ahead';
import { areNarrow } from '../match/narrow-update';
import { sendWaiting } from '../match/once-channel';
import { WaitingOnce } from '../match/onces';
import { matchRecord, matchWaiting, reportEnd } from '../match/receive';
import { giveEndNumber } from './ends';
import { giveLabels } from './labels';
import { giveNamedAddresses } from './named-addresses';
import { Phase, Session, setFlag } from './session';
import { workerCount } from './shards';
import {
  giveSockets,
  SOCKET_DIRTY,
  SOCKET_EXISTING,
  SOCKET_MOVED,
  SOCKET_NEW,
  Socket,
  SocketState,
  socketAt,
  socketRow,
} from './sockets';
import { nextStaged } from './staging';
import { addressAt, giveAddresses, giveTables, stageAddress } from './twin-tables';
import { addToRun, endRun, endRuns } from './update-runs';
import { openWindow } from './windows';

/** Records and rows that are shipped in one call, so that the frames of other sessions are not kept waiting. */
const SHIPPED_PER_CALL: u32 = 8_192;

let ownWorker: u32 = 0;
/** Addresses of a group of staged records, or of rows that this worker matches, and their ends: numbers, then rows of match. */
const group: usize = memory.data(<i32>GROUP_SIZE * 4, 4);
const groupEnds: usize = memory.data(<i32>GROUP_SIZE * 4, 4);
/** Addresses of the rows of the group that other workers match. */
const groupAway: usize = memory.data(<i32>GROUP_SIZE * 4, 4);
let ownCount: u32 = 0;
let awayCount: u32 = 0;
let budget: u32 = 0;
/** One record for the own worker, header first. */
const local: RecordHeader = changetype<RecordHeader>(memory.data(128, 8));

export function initShip(worker: u32): void {
  ownWorker = worker;
}

/** Everything up to `window` was told: ships it. */
export function beginWindow(session: Session, window: u32, fromWindow: u32): void {
  session.endWindow = window;
  session.fromWindow = fromWindow;
  session.state.takenWindow = max(session.state.takenWindow, window);
  session.phase = Phase.ShipStaged;
}

/** Ships what is there, then closes every row with `reason`. */
export function beginDeparture(session: Session, reason: u8): void {
  session.departure = reason;
  session.cursor = 1;
  if (session.phase !== Phase.Read) return;
  session.endWindow = max(openWindow(), session.state.reachedWindow);
  session.fromWindow = session.endWindow;
  session.phase = Phase.ShipStaged;
}

/** Goes on shipping; returns false when there is more to ship, after the outboxes were drained. */
export function continueShipping(session: Session): bool {
  budget = SHIPPED_PER_CALL;
  if (session.phase === Phase.ShipStaged && !shipStaged(session)) return false;
  if (session.phase === Phase.ShipRows && !shipRows(session)) return false;
  return session.phase !== Phase.CloseRows || closeRows(session);
}

function maySend(): bool {
  return !isOutboxFull() && budget-- > 0;
}

function shipStaged(session: Session): bool {
  let ahead: u32 = 0;
  while (maySend()) {
    if (ahead === 0) {
      shipOnces(session);
      ahead = lookAtStaged(session);
    }
    ahead--;
    const header = nextStaged(session);
    if (header === 0) {
      session.phase = Phase.ShipRows;
      return true;
    }
    shipRecord(session, changetype<RecordHeader>(header));
  }
  return false;
}

/** Those at the front that will wait for the close: no row of match is needed for them, and where they will lie was passed just before. */
function shipOnces(session: Session): void {
  const staged = session.staged;
  let told: u32 = 0;
  let own: u32 = 0;
  for (let header = staged.front(); header !== 0 && budget > 0; header = staged.front()) {
    if (changetype<RecordHeader>(header).kind !== RecordKind.WaitingOnce) break;
    const worker: u32 = changetype<RecordHeader>(header).pad0;
    if (worker !== ownWorker && isOutboxFull()) break;
    staged.pass(changetype<RecordHeader>(header).size);
    shipWaiting(changetype<WaitingOnce>(header + RECORD_HEADER_SIZE), worker, session.fromWindow);
    budget--;
    told++;
    own += u32(worker === ownWorker);
  }
  add(ReducerCounter.RecordsToMatch, told);
  add(ReducerCounter.RecordsMatched, own);
}

function shipWaiting(once: WaitingOnce, worker: u32, fromWindow: u32): void {
  if (worker === ownWorker) {
    matchWaiting(once, fromWindow);
    return;
  }
  announceNode(once.node, worker);
  announceNode(once.remoteNode, worker);
  sendWaiting(once, worker, fromWindow);
}

/**
 * Has match look at the next records up to a Once that will wait, as far as they are for this worker. Returns how many they are, at least one. It
 * needs nothing yet, and where the record behind it begins is only known when it is there.
 */
function lookAtStaged(session: Session): u32 {
  const staged = session.staged;
  let size: u32 = 0;
  let localSize: u32 = 0;
  for (
    let address = staged.rewind();
    address !== 0 && size < GROUP_SIZE && changetype<RecordHeader>(address).kind !== RecordKind.WaitingOnce;
    address = staged.next(changetype<RecordHeader>(address).size)
  ) {
    size++;
    if (changetype<RecordHeader>(address).pad0 !== ownWorker) continue;
    store<u32>(group + ((<usize>localSize) << 2), <u32>address);
    localSize++;
  }
  if (localSize !== 0) expectRecords(ownWorker, group, localSize);
  return max(size, 1);
}

function shipRecord(session: Session, header: RecordHeader): void {
  const record = changetype<usize>(header) + RECORD_HEADER_SIZE;
  const worker = header.pad0;
  header.pad0 = 0;
  switch (header.kind) {
    case RecordKind.MatchOpen: {
      const open = changetype<MatchOpen>(record);
      shipOpen(header, worker, open.node, open.remoteNode);
      break;
    }
    case RecordKind.MatchOnce: {
      const once = changetype<MatchOnce>(record);
      once.fromWindow = session.fromWindow;
      shipOpen(header, worker, once.openNode, once.openRemoteNode);
      break;
    }
    case RecordKind.WaitingOnce: {
      count(ReducerCounter.RecordsToMatch);
      if (worker === ownWorker) count(ReducerCounter.RecordsMatched);
      shipWaiting(changetype<WaitingOnce>(record), worker, session.fromWindow);
      break;
    }
    case RecordKind.MatchFold: {
      changetype<MatchFold>(record).fromWindow = session.fromWindow;
      shipNamed(header, worker, changetype<MatchFold>(record).node);
      break;
    }
    case RecordKind.MatchTally: {
      const tally = changetype<MatchTally>(record);
      announceNode(tally.node, worker);
      announceLabel(tally.label, worker);
      send(header, worker);
      releaseLabel(tally.label);
      break;
    }
    case RecordKind.MatchUpdate: {
      changetype<MatchUpdate>(record).fromWindow = session.fromWindow;
      send(header, worker);
      break;
    }
    case RecordKind.MatchClose: {
      changetype<MatchClose>(record).fromWindow = session.fromWindow;
      send(header, worker);
      giveEndNumber(worker, changetype<MatchClose>(record).end);
      break;
    }
    case RecordKind.HostAddress: {
      const node = changetype<MatchHostAddress>(record).node;
      for (let to: u32 = 0; to < workerCount(); to++) {
        announceNode(node, to);
        send(header, to);
      }
      break;
    }
    case RecordKind.None:
      break;
    default:
      send(header, worker);
  }
}

/** A record that names a node, which was retained when the record was staged. */
function shipNamed(header: RecordHeader, worker: u32, node: u32): void {
  announceNode(node, worker);
  send(header, worker);
  releaseNode(node);
}

function shipOpen(header: RecordHeader, worker: u32, node: u32, remoteNode: u32): void {
  announceNode(remoteNode, worker);
  shipNamed(header, worker, node);
  releaseNode(remoteNode);
}

function announceNode(node: u32, worker: u32): void {
  if (node === 0 || !claimAnnounce(node, worker)) return;
  commitOutbox(worker, writeNode(node, reserveOutbox(worker, NODE_RECORD_BYTES_MAX)));
}

function announceLabel(label: u32, worker: u32): void {
  if (!claimLabelAnnounce(label, worker)) return;
  commitOutbox(worker, writeLabel(label, reserveOutbox(worker, LABEL_RECORD_BYTES_MAX)));
}

function send(header: RecordHeader, worker: u32): void {
  count(ReducerCounter.RecordsToMatch);
  if (worker === ownWorker) {
    matchRecord(worker, header);
    return;
  }
  memory.copy(reserveOutbox(worker, header.size), changetype<usize>(header), header.size);
  commitOutbox(worker, header.size);
}

function shipRows(session: Session): bool {
  const areAllShipped = shipGroups(session);
  endRuns();
  return areAllShipped;
}

function shipGroups(session: Session): bool {
  while (maySend()) {
    takeGroup(session);
    for (let index: u32 = 0; index < awayCount; index++) {
      sendUpdate(session, socketIn(groupAway, index));
    }
    for (let index: u32 = 0; index < ownCount; index++) {
      const end = load<u32>(groupEnds + ((<usize>index) << 2));
      reportEnd(end, expectedEnd(index), socketIn(group, index).totals, session.fromWindow);
    }
    add(ReducerCounter.RecordsToMatch, ownCount);
    add(ReducerCounter.RecordsMatched, ownCount);
    if (session.dirtyHead === 0) {
      finishWindow(session);
      return true;
    }
    budget -= min(budget, GROUP_SIZE - 1);
  }
  return false;
}

/**
 * Takes GROUP_SIZE rows off the list, or what is left of it, and has match look at those that it will be told of. They are marked as told up to the
 * window at hand; rows that have closed since they moved are told already. Which worker matches a row is random, and a branch on it would be guessed
 * wrong half of the time: so each is written where it would belong, and counted where it does.
 *
 * Only a row says which one follows on the list. Agents tell of their sockets in the order of handles, so that is nearly always the one before: what lies a
 * group before it is looked at meanwhile, whatever that is.
 */
function takeGroup(session: Session): void {
  let own: u32 = 0;
  let away: u32 = 0;
  let sum: u32 = 0;
  let handle = session.dirtyHead;
  for (let taken: u32 = 0; taken < GROUP_SIZE && handle !== 0; taken++) {
    const socket = socketAt(session, handle);
    handle = socket.nextDirty;
    const flags = socket.flags;
    if (socket.state !== SocketState.Open) {
      socket.flags = flags & ~SOCKET_DIRTY;
      continue;
    }
    socket.flags = flags & ~(SOCKET_DIRTY | SOCKET_MOVED | SOCKET_NEW | SOCKET_EXISTING);
    socket.reports = 0;
    if ((flags & SOCKET_MOVED) === 0) continue;
    socket.toldWindow = session.endWindow;
    sum |= load<u32>(changetype<usize>(socket) - GROUP_SIZE * offsetof<Socket>());
    const isOwn = u32(socket.worker === ownWorker);
    store<usize>(group + ((<usize>own) << 2), changetype<usize>(socket));
    store<u32>(groupEnds + ((<usize>own) << 2), socket.end);
    store<usize>(groupAway + ((<usize>away) << 2), changetype<usize>(socket));
    own += isOwn;
    away += 1 - isOwn;
  }
  session.dirtyHead = handle;
  keepLoads(sum);
  ownCount = own;
  awayCount = away;
  expectEnds(ownWorker, groupEnds, own);
}

function socketIn(rows: usize, index: u32): Socket {
  return changetype<Socket>(load<usize>(rows + ((<usize>index) << 2)));
}

function finishWindow(session: Session): void {
  session.state.reachedWindow = max(session.state.reachedWindow, session.endWindow);
  session.toldWindow = session.state.reachedWindow;
  session.tallyCount = 0;
  session.phase = session.departure === CloseReason.None ? Phase.Read : Phase.CloseRows;
}

function sendUpdate(session: Session, socket: Socket): void {
  count(ReducerCounter.RecordsToMatch);
  if (areNarrow(socket.totals)) {
    addToRun(socket.worker, socket.end, socket.totals, session.fromWindow);
    return;
  }
  endRun(socket.worker);
  const update = changetype<MatchUpdate>(beginRecord(socket.worker, RecordKind.MatchUpdate, MATCH_UPDATE_SIZE));
  update.end = socket.end;
  update.fromWindow = session.fromWindow;
  update.totalsBytesSent = socket.bytesSent;
  update.totalsBytesReceived = socket.bytesReceived;
  update.totalsSegmentsSent = socket.segmentsSent;
  update.totalsSegmentsReceived = socket.segmentsReceived;
  update.totalsRetransmits = socket.retransmits;
  update.totalsSrttUs = socket.srttUs;
  update.totalsMinRttUs = 0;
}

function beginLocal(kind: u16, bytes: u32): usize {
  local.size = RECORD_HEADER_SIZE + bytes;
  local.kind = kind;
  return changetype<usize>(local) + RECORD_HEADER_SIZE;
}

function closeRows(session: Session): bool {
  while (maySend()) {
    if (session.cursor >= session.socketEnd) {
      finishDeparture(session);
      return true;
    }
    const row = socketRow(session, session.cursor++);
    if (row !== 0 && changetype<Socket>(row).state === SocketState.Open) closeRow(session, changetype<Socket>(row));
  }
  return false;
}

function closeRow(session: Session, socket: Socket): void {
  const isLocal = socket.worker === ownWorker;
  const record = isLocal
    ? beginLocal(RecordKind.MatchClose, MATCH_CLOSE_SIZE)
    : beginRecord(socket.worker, RecordKind.MatchClose, MATCH_CLOSE_SIZE);
  memory.fill(record, 0, MATCH_CLOSE_SIZE);
  const close = changetype<MatchClose>(record);
  close.end = socket.end;
  close.fromWindow = session.fromWindow;
  close.reason = session.departure;
  count(ReducerCounter.RecordsToMatch);
  if (isLocal) matchRecord(ownWorker, local);
  giveEndNumber(socket.worker, socket.end);
  socket.state = SocketState.Free;
  add(ReducerCounter.SocketsLive, <u64>-1);
  count(ReducerCounter.SocketsClosed);
}

/** When nobody looks at the host any more its addresses name nobody; an agent that restarted has claimed them anew. */
function finishDeparture(session: Session): void {
  const ended: u32 = session.departure === CloseReason.AgentRestart ? 2 : 1;
  for (let index: u32 = 0; index < session.addressCount; index++) {
    stageAddress(session, addressAt(session, index), ended);
  }
  for (let header = nextStaged(session); header !== 0; header = nextStaged(session)) {
    shipRecord(session, changetype<RecordHeader>(header));
  }
  giveSockets(session);
  giveTables(session);
  giveLabels(session);
  giveNamedAddresses(session);
  giveAddresses(session);
  releaseNode(session.host);
  session.state.socketsLive = 0;
  session.phase = Phase.Read;
  session.isUsed = 0;
  setFlag(session, SessionFlag.Detached, true);
  add(ReducerCounter.SessionsLive, <u64>-1);
}

// Updates, baselines and closes of sockets that have a handle: checked as a batch, then applied as a batch.
import { CloseReason, ConnectionPhase } from '../gen/kernel-events';
import {
  END_TOTALS_SIZE,
  EndTotals,
  MATCH_BASELINE_SIZE,
  MATCH_CLOSE_SIZE,
  MATCH_UPDATE_SIZE,
  MatchBaseline,
  MatchClose,
  MatchUpdate,
  RECORD_HEADER_SIZE,
  RecordKind,
  ReducerCounter,
  RefusalReason,
} from '../gen/records';
import {
  BASELINE_SIZE,
  Baseline,
  BaselineKind,
  CLOSE_SIZE,
  Close,
  UPDATE_NARROW_SIZE,
  UPDATE_WIDE_SIZE,
  UpdateNarrow,
  UpdateWide,
} from '../gen/wire';
import { add, count } from '../lib/counters';
import { allowanceSince, checkTotals, REPORT_COUNT_MAX } from './limits';
import { Session } from './session';
import {
  markDirty,
  SOCKET_COUNT_MAX,
  SOCKET_EXISTING,
  SOCKET_IN_BATCH,
  SOCKET_MOVED,
  SOCKET_NEW,
  Socket,
  SocketState,
  socketAt,
  socketRow,
} from './sockets';
import { canStage, stageRecord } from './staging';

/** Of the window of the last allowance: sockets of one batch mostly share it. */
let allowanceWindow: u32 = 0;
let allowance: u64 = 0;

/** RefusalReason of an item that names `handle`; marks its row as named. Every item begins with its handle. */
function claimRow(session: Session, handle: u32): u8 {
  if (handle >= SOCKET_COUNT_MAX) return handle === 0 ? RefusalReason.UnknownHandle : RefusalReason.None;
  const row = socketRow(session, handle);
  if (row === 0) return RefusalReason.UnknownHandle;
  const socket = changetype<Socket>(row);
  if (socket.state === SocketState.Free) return RefusalReason.UnknownHandle;
  if ((socket.flags & SOCKET_IN_BATCH) !== 0) return RefusalReason.UpdateRepeated;
  socket.flags |= SOCKET_IN_BATCH;
  return RefusalReason.None;
}

/** Takes the marks of the items before `end` off again. */
function unclaimRows(session: Session, items: usize, size: u32, end: u32): void {
  for (let index: u32 = 0; index < end; index++) {
    const handle = load<u32>(items + <usize>index * size);
    if (handle < SOCKET_COUNT_MAX) socketAt(session, handle).flags &= ~SOCKET_IN_BATCH;
  }
}

/** The open row of `handle`, or 0 when the socket was refused: then its reports are ignored. */
function openRow(session: Session, handle: u32): usize {
  if (handle < SOCKET_COUNT_MAX) {
    const socket = socketAt(session, handle);
    if (socket.state === SocketState.Open) return changetype<usize>(socket);
  }
  return 0;
}

function allowanceOf(session: Session, socket: Socket): u64 {
  if (socket.toldWindow !== allowanceWindow) {
    allowanceWindow = socket.toldWindow;
    allowance = allowanceSince(session, allowanceWindow);
  }
  return allowance;
}

/** RefusalReason of a batch of `kind` whose items have `size` bytes, by one check per item. */
function checkItems(
  session: Session,
  items: usize,
  size: u32,
  itemCount: u32,
  check: (session: Session, socket: Socket, item: usize) => u8,
): u8 {
  allowanceWindow = u32.MAX_VALUE;
  for (let index: u32 = 0; index < itemCount; index++) {
    const item = items + <usize>index * size;
    const handle = load<u32>(item);
    let reason = claimRow(session, handle);
    let claimed = index;
    if (reason === RefusalReason.None) {
      claimed++;
      const row = openRow(session, handle);
      if (row !== 0) reason = check(session, changetype<Socket>(row), item);
    }
    if (reason !== RefusalReason.None) {
      unclaimRows(session, items, size, claimed);
      return reason;
    }
  }
  unclaimRows(session, items, size, itemCount);
  return RefusalReason.None;
}

export function checkNarrows(session: Session, items: usize, itemCount: u32): u8 {
  return checkItems(session, items, UPDATE_NARROW_SIZE, itemCount, checkNarrow);
}

function checkNarrow(session: Session, socket: Socket, item: usize): u8 {
  const update = changetype<UpdateNarrow>(item);
  if (socket.reports >= REPORT_COUNT_MAX) return RefusalReason.UpdateRepeated;
  const most = max(<u64>max(update.bytesSent, update.bytesReceived), u16.MAX_VALUE);
  if (most > allowanceOf(session, socket)) return RefusalReason.TotalsRate;
  const room = u64.MAX_VALUE - most;
  const isWrapping = socket.bytesSent > room || socket.bytesReceived > room || socket.segmentsSent > room;
  return isWrapping || socket.segmentsReceived > room || socket.retransmits > room
    ? RefusalReason.TotalsFell
    : RefusalReason.None;
}

export function applyNarrows(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const update = changetype<UpdateNarrow>(items + <usize>index * UPDATE_NARROW_SIZE);
    const row = openRow(session, update.handle);
    if (row === 0) {
      count(ReducerCounter.SocketReportsIgnored);
      continue;
    }
    const socket = changetype<Socket>(row);
    socket.bytesSent += update.bytesSent;
    socket.bytesReceived += update.bytesReceived;
    socket.segmentsSent += update.segmentsSent;
    socket.segmentsReceived += update.segmentsReceived;
    socket.retransmits += update.retransmits;
    socket.srttUs = update.srttUs;
    noteMove(session, update.handle, socket);
  }
}

export function checkWides(session: Session, items: usize, itemCount: u32): u8 {
  return checkItems(session, items, UPDATE_WIDE_SIZE, itemCount, checkWide);
}

function checkWide(session: Session, socket: Socket, item: usize): u8 {
  if (socket.reports >= REPORT_COUNT_MAX) return RefusalReason.UpdateRepeated;
  const totals = changetype<EndTotals>(changetype<UpdateWide>(item).totals);
  return checkTotals(socket, totals, allowanceOf(session, socket));
}

export function applyWides(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const update = changetype<UpdateWide>(items + <usize>index * UPDATE_WIDE_SIZE);
    const row = openRow(session, update.handle);
    if (row === 0) {
      count(ReducerCounter.SocketReportsIgnored);
      continue;
    }
    const socket = changetype<Socket>(row);
    copyTotals(socket, changetype<EndTotals>(update.totals));
    noteMove(session, update.handle, socket);
  }
}

function noteMove(session: Session, handle: u32, socket: Socket): void {
  socket.reports++;
  socket.flags |= SOCKET_MOVED;
  markDirty(session, handle, socket);
}

function copyTotals(socket: Socket, totals: EndTotals): void {
  socket.bytesSent = totals.bytesSent;
  socket.bytesReceived = totals.bytesReceived;
  socket.segmentsSent = totals.segmentsSent;
  socket.segmentsReceived = totals.segmentsReceived;
  socket.retransmits = totals.retransmits;
  socket.srttUs = totals.srttUs;
}

export function checkBaselines(session: Session, items: usize, itemCount: u32): u8 {
  if (!canStage(session, <u64>itemCount * (RECORD_HEADER_SIZE + MATCH_BASELINE_SIZE))) return RefusalReason.Memory;
  return checkItems(session, items, BASELINE_SIZE, itemCount, checkBaseline);
}

/** History, of any size: but only of a socket that was just told as existing and has told nothing else. */
function checkBaseline(_session: Session, socket: Socket, item: usize): u8 {
  const kind = changetype<Baseline>(item).kind;
  if (kind !== BaselineKind.Adopted && kind !== BaselineKind.Committed) return RefusalReason.EnumValue;
  const isFirst =
    (socket.flags & (SOCKET_NEW | SOCKET_EXISTING)) === (SOCKET_NEW | SOCKET_EXISTING) && socket.reports === 0;
  return isFirst ? RefusalReason.None : RefusalReason.UpdateRepeated;
}

export function applyBaselines(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const baseline = changetype<Baseline>(items + <usize>index * BASELINE_SIZE);
    const row = openRow(session, baseline.handle);
    if (row === 0) {
      count(ReducerCounter.SocketReportsIgnored);
      continue;
    }
    const socket = changetype<Socket>(row);
    copyTotals(socket, changetype<EndTotals>(baseline.totals));
    socket.reports = 1;
    const record = changetype<MatchBaseline>(
      stageRecord(session, RecordKind.MatchBaseline, MATCH_BASELINE_SIZE, socket.worker),
    );
    record.end = socket.end;
    record.kind = baseline.kind;
    memory.copy(changetype<usize>(record.totals), changetype<usize>(baseline.totals), END_TOTALS_SIZE);
  }
}

export function checkCloses(session: Session, items: usize, itemCount: u32): u8 {
  if (!canStage(session, <u64>itemCount * (RECORD_HEADER_SIZE + MATCH_CLOSE_SIZE))) return RefusalReason.Memory;
  return checkItems(session, items, CLOSE_SIZE, itemCount, checkClose);
}

function checkClose(session: Session, socket: Socket, item: usize): u8 {
  const close = changetype<Close>(item);
  if (close.reason === CloseReason.None || close.reason > CloseReason.ConnectOther) return RefusalReason.EnumValue;
  if (close.phase > ConnectionPhase.Close) return RefusalReason.EnumValue;
  return checkTotals(socket, changetype<EndTotals>(close.totals), allowanceOf(session, socket));
}

export function applyCloses(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const close = changetype<Close>(items + <usize>index * CLOSE_SIZE);
    const row = openRow(session, close.handle);
    if (row === 0) {
      count(ReducerCounter.SocketReportsIgnored);
      if (close.handle < SOCKET_COUNT_MAX) socketAt(session, close.handle).state = SocketState.Free;
      continue;
    }
    const socket = changetype<Socket>(row);
    copyTotals(socket, changetype<EndTotals>(close.totals));
    const record = stageClose(session, socket, close.reason);
    record.phase = close.phase;
    record.error = close.error;
    record.totalsMinRttUs = close.totalsMinRttUs;
  }
}

/** For a row that goes before its window is shipped: what it told is still a report. */
export function stageUpdate(session: Session, socket: Socket): void {
  const record = changetype<MatchUpdate>(
    stageRecord(session, RecordKind.MatchUpdate, MATCH_UPDATE_SIZE, socket.worker),
  );
  record.end = socket.end;
  record.totalsBytesSent = socket.bytesSent;
  record.totalsBytesReceived = socket.bytesReceived;
  record.totalsSegmentsSent = socket.segmentsSent;
  record.totalsSegmentsReceived = socket.segmentsReceived;
  record.totalsRetransmits = socket.retransmits;
  record.totalsSrttUs = socket.srttUs;
}

/** Frees the row; its last totals leave with the close, so the row need not be shipped any more. */
export function stageClose(session: Session, socket: Socket, reason: u8): MatchClose {
  const record = changetype<MatchClose>(stageRecord(session, RecordKind.MatchClose, MATCH_CLOSE_SIZE, socket.worker));
  record.end = socket.end;
  record.reason = reason;
  record.phase = ConnectionPhase.None;
  record.error = 0;
  record.totalsBytesSent = socket.bytesSent;
  record.totalsBytesReceived = socket.bytesReceived;
  record.totalsSegmentsSent = socket.segmentsSent;
  record.totalsSegmentsReceived = socket.segmentsReceived;
  record.totalsRetransmits = socket.retransmits;
  record.totalsSrttUs = socket.srttUs;
  record.totalsMinRttUs = 0;
  socket.state = SocketState.Free;
  session.state.socketsLive--;
  add(ReducerCounter.SocketsLive, <u64>-1);
  count(ReducerCounter.SocketsClosed);
  return record;
}

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
import { canStage, stageBlank, stageRecord } from './staging';

/** Of the window of the last allowance: sockets of one batch mostly share it. */
let allowanceWindow: u32 = 0;
let allowance: u64 = 0;

/** What a batch tells of a socket; every item begins with its handle. */
interface Item {
  /** RefusalReason of what it says of an open `socket`. */
  refusalOf(session: Session, socket: Socket): u8;
}

/**
 * RefusalReason of a batch whose items have `size` bytes. A batch names a socket once: rows are marked as named, and who applies the batch
 * takes the marks off. T: an Item.
 */
function checkItems<T extends Item>(session: Session, items: usize, size: u32, itemCount: u32): u8 {
  allowanceWindow = u32.MAX_VALUE;
  for (let index: u32 = 0; index < itemCount; index++) {
    const item = items + <usize>index * size;
    const handle = load<u32>(item);
    if (handle >= SOCKET_COUNT_MAX) continue;
    const row = socketRow(session, handle);
    if (row === 0) return refuseItems(session, items, size, index, RefusalReason.UnknownHandle);
    const socket = changetype<Socket>(row);
    const state = socket.state;
    const flags = socket.flags;
    if (state === SocketState.Free) return refuseItems(session, items, size, index, RefusalReason.UnknownHandle);
    if ((flags & SOCKET_IN_BATCH) !== 0) return refuseItems(session, items, size, index, RefusalReason.UpdateRepeated);
    socket.flags = flags | SOCKET_IN_BATCH;
    if (state !== SocketState.Open) continue;
    const reason = changetype<T>(item).refusalOf(session, socket);
    if (reason !== RefusalReason.None) return refuseItems(session, items, size, index + 1, reason);
  }
  return RefusalReason.None;
}

/** Takes the marks of the items before `end` off again. */
function refuseItems(session: Session, items: usize, size: u32, end: u32, reason: u8): u8 {
  for (let index: u32 = 0; index < end; index++) {
    const handle = load<u32>(items + <usize>index * size);
    if (handle < SOCKET_COUNT_MAX) socketAt(session, handle).flags &= ~SOCKET_IN_BATCH;
  }
  return reason;
}

/** The open row of `handle`, its mark taken off; 0, and counted, when the socket was refused: then its reports are ignored. */
function openRow(session: Session, handle: u32): usize {
  if (handle < SOCKET_COUNT_MAX) {
    const socket = socketAt(session, handle);
    socket.flags &= ~SOCKET_IN_BATCH;
    if (socket.state === SocketState.Open) return changetype<usize>(socket);
  }
  count(ReducerCounter.SocketReportsIgnored);
  return 0;
}

function allowanceOf(session: Session, socket: Socket): u64 {
  if (socket.toldWindow !== allowanceWindow) {
    allowanceWindow = socket.toldWindow;
    allowance = allowanceSince(session, allowanceWindow);
  }
  return allowance;
}

@unmanaged
class NarrowItem extends UpdateNarrow {
  refusalOf(session: Session, socket: Socket): u8 {
    if (socket.reports >= REPORT_COUNT_MAX) return RefusalReason.UpdateRepeated;
    const most = max(<u64>max(this.bytesSent, this.bytesReceived), u16.MAX_VALUE);
    if (most > allowanceOf(session, socket)) return RefusalReason.TotalsRate;
    return isRoomAbove(socket, most) ? RefusalReason.None : RefusalReason.TotalsFell;
  }
}

/** True when each total may rise by `rise`. All bits of all totals together are at least the greatest of them, and mostly small enough. */
function isRoomAbove(socket: Socket, rise: u64): bool {
  const room = u64.MAX_VALUE - rise;
  const bits =
    socket.bytesSent | socket.bytesReceived | socket.segmentsSent | socket.segmentsReceived | socket.retransmits;
  if (bits <= room) return true;
  const most = max(max(socket.bytesSent, socket.bytesReceived), max(socket.segmentsSent, socket.segmentsReceived));
  return max(most, socket.retransmits) <= room;
}

export function checkNarrows(session: Session, items: usize, itemCount: u32): u8 {
  return checkItems<NarrowItem>(session, items, UPDATE_NARROW_SIZE, itemCount);
}

export function applyNarrows(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const update = changetype<UpdateNarrow>(items + <usize>index * UPDATE_NARROW_SIZE);
    const row = openRow(session, update.handle);
    if (row === 0) continue;
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

@unmanaged
class WideItem extends UpdateWide {
  refusalOf(session: Session, socket: Socket): u8 {
    if (socket.reports >= REPORT_COUNT_MAX) return RefusalReason.UpdateRepeated;
    return checkTotals(socket, changetype<EndTotals>(this.totals), allowanceOf(session, socket));
  }
}

export function checkWides(session: Session, items: usize, itemCount: u32): u8 {
  return checkItems<WideItem>(session, items, UPDATE_WIDE_SIZE, itemCount);
}

export function applyWides(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const update = changetype<UpdateWide>(items + <usize>index * UPDATE_WIDE_SIZE);
    const row = openRow(session, update.handle);
    if (row === 0) continue;
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
  return checkItems<BaselineItem>(session, items, BASELINE_SIZE, itemCount);
}

/** History, of any size: but only of a socket that was just told as existing and has told nothing else. */
@unmanaged
class BaselineItem extends Baseline {
  refusalOf(_session: Session, socket: Socket): u8 {
    if (this.kind !== BaselineKind.Adopted && this.kind !== BaselineKind.Committed) return RefusalReason.EnumValue;
    const isFirst =
      (socket.flags & (SOCKET_NEW | SOCKET_EXISTING)) === (SOCKET_NEW | SOCKET_EXISTING) && socket.reports === 0;
    return isFirst ? RefusalReason.None : RefusalReason.UpdateRepeated;
  }
}

export function applyBaselines(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const baseline = changetype<Baseline>(items + <usize>index * BASELINE_SIZE);
    const row = openRow(session, baseline.handle);
    if (row === 0) continue;
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
  return checkItems<CloseItem>(session, items, CLOSE_SIZE, itemCount);
}

@unmanaged
class CloseItem extends Close {
  refusalOf(session: Session, socket: Socket): u8 {
    if (this.reason === CloseReason.None || this.reason > CloseReason.ConnectOther) return RefusalReason.EnumValue;
    if (this.phase > ConnectionPhase.Close) return RefusalReason.EnumValue;
    return checkTotals(socket, changetype<EndTotals>(this.totals), allowanceOf(session, socket));
  }
}

export function applyCloses(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const close = changetype<Close>(items + <usize>index * CLOSE_SIZE);
    const row = openRow(session, close.handle);
    if (row === 0) {
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
  const record = changetype<MatchUpdate>(stageBlank(session, RecordKind.MatchUpdate, MATCH_UPDATE_SIZE, socket.worker));
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
  const record = changetype<MatchClose>(stageBlank(session, RecordKind.MatchClose, MATCH_CLOSE_SIZE, socket.worker));
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

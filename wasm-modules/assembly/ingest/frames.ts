// Frames of one session, in order. Each is accepted or refused as a whole: a kind's check reads everything that its apply will use, and
// only then anything changes. accepted + refused = given.
import { CloseReason } from '../gen/kernel-events';
import { ReducerCounter, RefusalReason, SessionFlag } from '../gen/records';
import {
  BASELINE_SIZE,
  CLOSE_SIZE,
  FOLD_SIZE,
  FRAME_HEADER_SIZE,
  FrameHeader,
  FrameKind,
  LOSS_SIZE,
  ONCE_SIZE,
  OPEN_SIZE,
  SETTLED_SIZE,
  SNAPSHOT_MARK_SIZE,
  TALLY_SIZE,
  UPDATE_NARROW_SIZE,
  UPDATE_WIDE_SIZE,
  WINDOW_END_SIZE,
  WindowEnd,
} from '../gen/wire';
import { addRise, count, countRefusal } from '../lib/counters';
import { batchCount, batchItems } from '../lib/struct-batch';
import { takeAnnounce } from './announce';
import { applyFolds, applyOnces, applySettled, checkFolds, checkOnces, checkSettled } from './closed-sockets';
import { WINDOW_AHEAD_MAX } from './limits';
import { applyLosses, checkLosses } from './losses';
import { applyOpens, checkOpens } from './opens';
import { hasFlag, isOver, Phase, Session, setFlag } from './session';
import { beginDeparture, beginWindow, continueShipping } from './ship';
import { beginSnapshot } from './snapshot';
import { applyTallies, checkTallies } from './tallies';
import {
  applyBaselines,
  applyCloses,
  applyNarrows,
  applyWides,
  checkBaselines,
  checkCloses,
  checkNarrows,
  checkWides,
} from './totals';
import { isAheadOf, isWindowSealed, openWindow } from './windows';

/** A session with more refused frames is not listened to any more. */
export const REFUSED_FRAMES_MAX: u64 = 1000;

/**
 * Reads whole frames from `address`; returns the bytes consumed: less when the session waits, ships, or is quarantined. What a session tells
 * of the next window is read while the open one waits or closes; the end of a window and the marks of a snapshot are not.
 */
export function readFrames(session: Session, address: usize, bytes: u32): u32 {
  setFlag(session, SessionFlag.Held | SessionFlag.More, false);
  if (!ship(session)) return wantMore(session, 0);
  let at: u32 = 0;
  while (at < bytes && !isOver(session)) {
    if (isAheadOf(session.state.reachedWindow) && movesWindow(address + at, bytes - at)) return hold(session, at);
    at += readFrame(session, address + at, bytes - at);
    if (!ship(session)) return wantMore(session, at);
  }
  return at;
}

/** False while there is more to ship, which a sealed window does not take. */
function ship(session: Session): bool {
  return isWindowSealed() ? !isShipping(session) : continueShipping(session);
}

function movesWindow(address: usize, bytesLeft: u32): bool {
  if (bytesLeft < FRAME_HEADER_SIZE) return false;
  const kind = changetype<FrameHeader>(address).kind;
  return kind === FrameKind.WindowEnd || kind === FrameKind.SnapshotBegin || kind === FrameKind.SnapshotEnd;
}

function hold(session: Session, at: u32): u32 {
  setFlag(session, SessionFlag.Held, true);
  count(ReducerCounter.FramesHeld);
  return at;
}

function wantMore(session: Session, at: u32): u32 {
  setFlag(session, SessionFlag.More, true);
  return at;
}

/** Bytes of the frame at `address`; all that is left when its header lies about its length. */
function readFrame(session: Session, address: usize, bytesLeft: u32): u32 {
  const header = changetype<FrameHeader>(address);
  count(ReducerCounter.FramesGiven);
  if (bytesLeft < FRAME_HEADER_SIZE || header.length > bytesLeft - FRAME_HEADER_SIZE) {
    settle(session, RefusalReason.FrameBounds);
    return bytesLeft;
  }
  settle(session, takeFrame(session, header.kind, address + FRAME_HEADER_SIZE, header.length));
  session.state.lastSeq = header.seq;
  return FRAME_HEADER_SIZE + header.length;
}

/** Counts the frame, and quarantines a session that lies too much. */
function settle(session: Session, reason: u8): void {
  if (reason === RefusalReason.None) {
    session.state.framesAccepted++;
    count(ReducerCounter.FramesAccepted);
    return;
  }
  session.state.framesRefused++;
  session.state.lastRefusal = reason;
  count(ReducerCounter.FramesRefused);
  countRefusal(reason);
  if (session.state.framesRefused <= REFUSED_FRAMES_MAX || hasFlag(session, SessionFlag.Quarantined)) return;
  setFlag(session, SessionFlag.Quarantined, true);
  count(ReducerCounter.SessionsQuarantined);
}

function takeFrame(session: Session, kind: u16, payload: usize, bytes: u32): u8 {
  switch (kind) {
    case FrameKind.UpdateNarrow:
      return takeBatch(session, payload, bytes, UPDATE_NARROW_SIZE, checkNarrows, applyNarrows);
    case FrameKind.UpdateWide:
      return takeBatch(session, payload, bytes, UPDATE_WIDE_SIZE, checkWides, applyWides);
    case FrameKind.Open:
      return takeBatch(session, payload, bytes, OPEN_SIZE, checkOpens, applyOpens);
    case FrameKind.Once:
      return takeBatch(session, payload, bytes, ONCE_SIZE, checkOnces, applyOnces);
    case FrameKind.Close:
      return takeBatch(session, payload, bytes, CLOSE_SIZE, checkCloses, applyCloses);
    case FrameKind.Baseline:
      return takeBatch(session, payload, bytes, BASELINE_SIZE, checkBaselines, applyBaselines);
    case FrameKind.Settled:
      return takeBatch(session, payload, bytes, SETTLED_SIZE, checkSettled, applySettled);
    case FrameKind.Fold:
      return takeBatch(session, payload, bytes, FOLD_SIZE, checkFolds, applyFolds);
    case FrameKind.Tally:
      return takeBatch(session, payload, bytes, TALLY_SIZE, checkTallies, applyTallies);
    case FrameKind.Loss:
      return takeBatch(session, payload, bytes, LOSS_SIZE, checkLosses, applyLosses);
    case FrameKind.WindowEnd:
      return takeBatch(session, payload, bytes, WINDOW_END_SIZE, checkWindowEnd, applyWindowEnd);
    case FrameKind.SnapshotBegin:
      return takeBatch(session, payload, bytes, SNAPSHOT_MARK_SIZE, checkOne, applySnapshotBegin);
    case FrameKind.SnapshotEnd:
      return takeBatch(session, payload, bytes, SNAPSHOT_MARK_SIZE, checkOne, applySnapshotEnd);
    case FrameKind.Announce:
      return takeAnnounce(session, payload, bytes);
    // The host reads them.
    case FrameKind.Listener:
    case FrameKind.Goodbye:
      return RefusalReason.None;
    case FrameKind.None:
    case FrameKind.Hello:
    case FrameKind.Welcome:
    case FrameKind.Received:
    case FrameKind.Committed:
    case FrameKind.Sealed:
      return RefusalReason.KindDirection;
    default: {
      session.state.framesSkipped++;
      count(ReducerCounter.FramesSkipped);
      return RefusalReason.None;
    }
  }
}

function takeBatch(
  session: Session,
  payload: usize,
  bytes: u32,
  itemSize: u32,
  check: (session: Session, items: usize, itemCount: u32) => u8,
  apply: (session: Session, items: usize, itemCount: u32) => void,
): u8 {
  const items = batchItems(payload, bytes, itemSize);
  if (items === 0) return RefusalReason.Structure;
  const itemCount = batchCount(items);
  const reason = check(session, items, itemCount);
  if (reason === RefusalReason.None) apply(session, items, itemCount);
  return reason;
}

function checkOne(_session: Session, _items: usize, itemCount: u32): u8 {
  return itemCount === 1 ? RefusalReason.None : RefusalReason.Structure;
}

function checkWindowEnd(session: Session, items: usize, itemCount: u32): u8 {
  if (itemCount !== 1) return RefusalReason.Structure;
  const told = changetype<WindowEnd>(items);
  const window = told.window;
  const reached = session.state.reachedWindow;
  const isBack = session.isRepeatAllowed !== 0 ? window < reached : window <= reached;
  if (isBack || told.fromWindow > window || window === u32.MAX_VALUE) return RefusalReason.WindowOrder;
  return window > openWindow() && window - openWindow() > WINDOW_AHEAD_MAX
    ? RefusalReason.WindowAhead
    : RefusalReason.None;
}

function applyWindowEnd(session: Session, items: usize, _itemCount: u32): void {
  const told = changetype<WindowEnd>(items);
  const state = session.state;
  addRise(ReducerCounter.AgentEventsLost, state.eventsLost, told.eventsLost);
  addRise(ReducerCounter.AgentSocketsFolded, state.socketsFolded, told.socketsFolded);
  addRise(ReducerCounter.AgentSocketsRefused, state.socketsRefused, told.socketsRefused);
  addRise(ReducerCounter.AgentWindowsCoalesced, state.windowsCoalesced, told.windowsCoalesced);
  addRise(ReducerCounter.AgentJournalSkipped, state.journalSkipped, told.journalSkipped);
  addRise(ReducerCounter.AgentProcessesUnnamed, state.processesUnnamed, told.processesUnnamed);
  addRise(ReducerCounter.AgentBlindMs, state.blindMs, told.blindMs);
  state.agentTimeNs = told.agentTimeNs;
  state.eventsLost = told.eventsLost;
  state.socketsFolded = told.socketsFolded;
  state.socketsRefused = told.socketsRefused;
  state.windowsCoalesced = told.windowsCoalesced;
  state.journalSkipped = told.journalSkipped;
  state.processesUnnamed = told.processesUnnamed;
  state.blindMs = told.blindMs;
  session.isRepeatAllowed = 0;
  beginWindow(session, told.window, told.fromWindow);
}

function applySnapshotBegin(session: Session, _items: usize, _itemCount: u32): void {
  beginSnapshot(session);
}

function applySnapshotEnd(session: Session, _items: usize, _itemCount: u32): void {
  setFlag(session, SessionFlag.SnapshotDone, true);
}

/** Closes the session's books: its rows are closed with `reason`, as far as the outboxes allow now. */
export function departSession(session: Session, reason: u8): void {
  if (session.departure !== CloseReason.None) return;
  setFlag(session, SessionFlag.Detached, true);
  beginDeparture(session, reason);
  if (isWindowSealed() || !continueShipping(session)) setFlag(session, SessionFlag.More, true);
}

/** True while it has something to ship that the window must not close without. */
export function isShipping(session: Session): bool {
  return session.phase !== Phase.Read;
}

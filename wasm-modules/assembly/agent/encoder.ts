// Turns what is dirty into payloads, one at a time, so that memory for output is two frames however much there is to tell. The order is
// that of docs/protocol.md: Open, Baseline, Tally, Once, updates, Close, Fold; a snapshot puts Settled before them and leaves the updates to the next
// window. Every step goes on where it stopped when its payload was full.
import { EncodedPayload } from '../gen/agent';
import {
  BASELINE_SIZE,
  Baseline,
  BaselineKind,
  CLOSE_SIZE,
  Close,
  FOLD_SIZE,
  Fold,
  FRAME_HEADER_SIZE,
  FrameKind,
  ONCE_SIZE,
  Once,
  OPEN_SIZE,
  Open,
  OpenFlags,
  SETTLED_SIZE,
  TALLY_SIZE,
  Tally,
  UPDATE_NARROW_SIZE,
  UPDATE_WIDE_SIZE,
  UpdateNarrow,
  UpdateWide,
} from '../gen/wire';
import { allocate } from '../lib/arena';
import { stableHashPair } from '../lib/hash';
import { BATCH_PREFIX_BYTES, beginBatch, finishBatch } from '../lib/struct-batch';
import { nextUntoldFold, tellFoldInto } from './folds';
import { takeHandle } from './handles';
import { changeTold, journalSkippedSockets, journalTold } from './journal';
import { FRAME_BYTES } from './limits';
import { fileTallied, tellClose, tellOnce } from './retention';
import { nextSettled, rewindSettled } from './settled';
import { nextSettledFold } from './settled-folds';
import { copyTotals, SocketFlag, SocketRow } from './socket-row';
import { tallyHandshake } from './socket-tallies';
import { clearDirty, nextDirty, refuseSocket, socketAt } from './sockets';
import { beginTellingTallies, nextTallyToTell, tellTallyInto } from './tallies';
import { AS_NOW, committedOf, toldOf } from './versions';

namespace Step {
  export const Settled: u32 = 0;
  export const Opens: u32 = 1;
  export const Baselines: u32 = 2;
  export const Tallies: u32 = 3;
  export const Onces: u32 = 4;
  export const Updates: u32 = 5;
  export const Closes: u32 = 6;
  export const Folds: u32 = 7;
  export const Done: u32 = 8;
}

/** One payload under construction. */
@unmanaged
class Batch {
  address: usize;
  kind: u32;
  itemSize: u32;
  count: u32;
  countMax: u32;

  begin(kind: u32, itemSize: u32): void {
    this.kind = kind;
    this.itemSize = itemSize;
    this.count = 0;
    this.countMax = (FRAME_BYTES - FRAME_HEADER_SIZE - BATCH_PREFIX_BYTES) / itemSize;
  }

  get isFull(): bool {
    return this.count === this.countMax;
  }

  push(): usize {
    return beginBatch(this.address) + <usize>(this.count++ * this.itemSize);
  }

  /** The payload, or 0 when there is nothing in it. */
  finish(): usize {
    if (this.count === 0) return 0;
    payload.address = <u32>this.address;
    payload.bytes = finishBatch(this.address, this.count, this.itemSize);
    payload.kind = this.kind;
    payload.items = this.count;
    this.count = 0;
    return changetype<usize>(payload);
  }
}

const batch = changetype<Batch>(memory.data(20, 8));
/** Wide updates gather beside the narrow ones. */
const wides = changetype<Batch>(memory.data(20, 8));
const payload = changetype<EncodedPayload>(memory.data(16, 8));

let step: u32 = Step.Done;
let cursor: u32 = 0;
let window: u32 = 0;
let clockOffsetNs: i64 = 0;
let isSnapshot: bool = false;

export function initEncoder(): void {
  batch.address = allocate(FRAME_BYTES);
  wides.address = allocate(FRAME_BYTES);
}

/** `offsetNs` turns CLOCK_MONOTONIC into the reducer's Unix time. */
export function beginEncoding(windowToTell: u32, offsetNs: i64, asSnapshot: bool): void {
  window = windowToTell;
  clockOffsetNs = offsetNs;
  isSnapshot = asSnapshot;
  rewindSettled();
  fileTallied();
  enter(asSnapshot ? Step.Settled : Step.Opens);
}

/** The next payload (an EncodedPayload), or 0 when everything is told. */
export function encodeNext(): usize {
  while (step !== Step.Done) {
    if (!runStep()) return batch.isFull ? batch.finish() : wides.finish();
    const last = batch.finish();
    if (last !== 0) {
      if (wides.count === 0) enter(step + 1);
      return last;
    }
    const lastWide = step === Step.Updates ? wides.finish() : 0;
    enter(step + 1);
    if (lastWide !== 0) return lastWide;
  }
  return 0;
}

function enter(next: u32): void {
  step = next;
  cursor = 0;
  if (next === Step.Settled) batch.begin(FrameKind.Settled, SETTLED_SIZE);
  else if (next === Step.Opens) batch.begin(FrameKind.Open, OPEN_SIZE);
  else if (next === Step.Baselines) batch.begin(FrameKind.Baseline, BASELINE_SIZE);
  else if (next === Step.Tallies) {
    batch.begin(FrameKind.Tally, TALLY_SIZE);
    beginTellingTallies();
  } else if (next === Step.Onces) batch.begin(FrameKind.Once, ONCE_SIZE);
  else if (next === Step.Closes) batch.begin(FrameKind.Close, CLOSE_SIZE);
  else if (next === Step.Folds) batch.begin(FrameKind.Fold, FOLD_SIZE);
  else if (next === Step.Updates) {
    if (isSnapshot) return enter(Step.Closes);
    batch.begin(FrameKind.UpdateNarrow, UPDATE_NARROW_SIZE);
    wides.begin(FrameKind.UpdateWide, UPDATE_WIDE_SIZE);
  } else {
    journalSkippedSockets(window);
  }
}

/** False when a payload is full and has to be taken first. */
function runStep(): bool {
  if (step === Step.Settled) return encodeSettled();
  if (step === Step.Opens) return encodeOpens();
  if (step === Step.Baselines) return encodeBaselines();
  if (step === Step.Tallies) return encodeTallies();
  if (step === Step.Onces) return encodeOnces();
  if (step === Step.Updates) return encodeUpdates();
  if (step === Step.Closes) return encodeCloses();
  return encodeFolds();
}

function encodeSettled(): bool {
  while (!batch.isFull) {
    const entry = nextSettled();
    if (changetype<usize>(entry) === 0) return true;
    memory.copy(batch.push(), changetype<usize>(entry), SETTLED_SIZE);
  }
  return false;
}

function encodeOpens(): bool {
  while (!batch.isFull) {
    const row = nextDirty(cursor);
    if (row === 0) return true;
    cursor = row;
    const socket = socketAt(row);
    if (socket.has(SocketFlag.OpenTold)) {
      if (!socket.has(SocketFlag.AmendDue)) continue;
      socket.clear(SocketFlag.AmendDue);
      encodeOpen(changetype<Open>(batch.push()), socket, socket.handle);
      continue;
    }
    if (socket.handle === 0) socket.handle = takeHandle();
    if (socket.handle === 0) continue;
    encodeOpen(changetype<Open>(batch.push()), socket, socket.handle);
    socket.clear(SocketFlag.AmendDue);
    socket.set(SocketFlag.OpenTold);
    tallyHandshake(row, socket);
    if (socket.hasBaseline) socket.set(SocketFlag.BaselineDue);
    else if (socket.has(SocketFlag.Closed)) clearDirty(row);
    if (!socket.has(SocketFlag.Closed)) journalTold(row, socket, window);
  }
  return false;
}

function encodeOpen(open: Open, socket: SocketRow, handle: u32): void {
  open.handle = handle;
  open.process = socket.process;
  open.joinKey = socket.joinKey;
  open.cookie = socket.cookie;
  open.startTimeNs = toReducerTime(socket.startTimeNs);
  open.localAddressHi = socket.localAddressHi;
  open.localAddressLo = socket.localAddressLo;
  open.remoteAddressHi = socket.remoteAddressHi;
  open.remoteAddressLo = socket.remoteAddressLo;
  open.localPort = socket.localPort;
  open.remotePort = socket.remotePort;
  open.addressSpace = socket.space;
  open.flags = openFlags(socket);
  open.role = socket.role;
  open.roleSource = socket.roleSource;
  open.protocol = socket.protocol;
  open.ipVersion = socket.ipVersion;
}

/** A socket may try to connect again and again: each failure is one of its own, and the same one whenever it is told. */
function attemptId(socket: SocketRow): u64 {
  return socket.cookie ^ (stableHashPair(socket.startTimeNs, 0) << 32);
}

function openFlags(socket: SocketRow): u32 {
  if (socket.has(SocketFlag.Adopted | SocketFlag.MayBeOlder)) return OpenFlags.Existing;
  return socket.has(SocketFlag.OpenCommitted) ? OpenFlags.Existing | OpenFlags.Counted : 0;
}

function toReducerTime(timeNs: u64): u64 {
  return timeNs === 0 ? 0 : timeNs + <u64>clockOffsetNs;
}

function encodeBaselines(): bool {
  while (!batch.isFull) {
    const row = nextDirty(cursor);
    if (row === 0) return true;
    cursor = row;
    const socket = socketAt(row);
    if (!socket.has(SocketFlag.BaselineDue)) continue;
    socket.clear(SocketFlag.BaselineDue);
    const baseline = changetype<Baseline>(batch.push());
    baseline.handle = socket.handle;
    baseline.kind = socket.has(SocketFlag.OpenCommitted) ? BaselineKind.Committed : BaselineKind.Adopted;
    copyTotals(baseline.totals, committedOf(socket));
    if (socket.has(SocketFlag.Closed)) clearDirty(row);
  }
  return false;
}

function encodeTallies(): bool {
  while (!batch.isFull) {
    const row = nextTallyToTell();
    if (row === 0) return true;
    tellTallyInto(row, changetype<Tally>(batch.push()), window);
  }
  return false;
}

function encodeOnces(): bool {
  while (!batch.isFull) {
    const row = tellOnce(window);
    if (row === 0) return true;
    const socket = socketAt(row);
    const item = changetype<Once>(batch.push());
    encodeOpen(item.open, socket, 0);
    if (socket.has(SocketFlag.Failed)) item.open.cookie = attemptId(socket);
    copyTotals(item.totals, socket.now);
    item.endTimeNs = toReducerTime(socket.endTimeNs);
    item.reason = socket.reason;
    item.phase = socket.phase;
    item.error = socket.error;
    item.handshakeUs = socket.has(SocketFlag.HandshakeTallied) ? 0 : socket.handshakeUs;
  }
  return false;
}

function encodeUpdates(): bool {
  while (!batch.isFull && !wides.isFull) {
    const row = nextDirty(cursor);
    if (row === 0) return true;
    cursor = row;
    const socket = socketAt(row);
    if (!socket.has(SocketFlag.OpenTold)) continue;
    clearDirty(row);
    if (encodeUpdate(socket)) journalTold(row, socket, window);
  }
  return false;
}

/** False when nothing moved. */
function encodeUpdate(socket: SocketRow): bool {
  const now = socket.now;
  const told = toldOf(socket);
  const bytesSent = now.bytesSent - told.bytesSent;
  const bytesReceived = now.bytesReceived - told.bytesReceived;
  const segmentsSent = now.segmentsSent - told.segmentsSent;
  const segmentsReceived = now.segmentsReceived - told.segmentsReceived;
  const retransmits = now.retransmits - told.retransmits;
  const isMinSame = now.minRttUs === told.minRttUs;
  const segments = segmentsSent | segmentsReceived | retransmits;
  if (isMinSame && (bytesSent | bytesReceived | segments) === 0) return false;
  if (isMinSame && (bytesSent | bytesReceived) <= <u64>u32.MAX_VALUE && segments <= <u64>u16.MAX_VALUE) {
    const update = changetype<UpdateNarrow>(batch.push());
    update.handle = socket.handle;
    update.bytesSent = <u32>bytesSent;
    update.bytesReceived = <u32>bytesReceived;
    update.srttUs = now.srttUs;
    update.segmentsSent = <u16>segmentsSent;
    update.segmentsReceived = <u16>segmentsReceived;
    update.retransmits = <u16>retransmits;
    update.pad0 = 0;
  } else {
    const update = changetype<UpdateWide>(wides.push());
    update.handle = socket.handle;
    update.pad0 = 0;
    copyTotals(update.totals, now);
  }
  changeTold(socket, AS_NOW);
  return true;
}

function encodeCloses(): bool {
  while (!batch.isFull) {
    const row = tellClose(window);
    if (row === 0) return true;
    const socket = socketAt(row);
    // All handles were taken when its Open was due: the reducer never hears of it.
    if (!socket.has(SocketFlag.OpenTold)) {
      clearDirty(row);
      refuseSocket();
      continue;
    }
    const close = changetype<Close>(batch.push());
    close.handle = socket.handle;
    close.reason = socket.reason;
    close.phase = socket.phase;
    close.error = socket.error;
    close.endTimeNs = toReducerTime(socket.endTimeNs);
    close.pad1 = 0;
    copyTotals(close.totals, socket.now);
  }
  return false;
}

function encodeFolds(): bool {
  while (!batch.isFull) {
    const settled = nextSettledFold();
    const row = changetype<usize>(settled) === 0 ? nextUntoldFold(cursor) : 0;
    if (changetype<usize>(settled) === 0 && row === 0) return true;
    const fold = changetype<Fold>(batch.push());
    if (row === 0) {
      memory.copy(changetype<usize>(fold), changetype<usize>(settled), FOLD_SIZE);
    } else {
      cursor = row;
      tellFoldInto(row, fold, window);
    }
    fold.endTimeNs = toReducerTime(fold.endTimeNs);
  }
  return false;
}

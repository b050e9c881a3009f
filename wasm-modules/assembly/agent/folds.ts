// Closed sockets beyond the retention limit, summed by (process, addresses, server port, role, shard) and by the window in which they were
// told, so that a commit still removes exactly what it covers. Window 0: not told on this channel. The shard brings a fold to where the other
// ends of its sockets are matched. When the table is full, one fold for each role takes the rest, without process and addresses; what of it
// was told is kept until its last window is committed.
import { CloseReason, Role } from '../gen/kernel-events';
import { FOLD_SIZE, Fold, Totals } from '../gen/wire';
import { shardOfJoinKey, shardOfTuple } from '../lib/flow-place';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { DEFAULT_SPACE, releaseSpace, retainSpace } from './address-spaces';
import { pendingEntry, pendingEntryBefore } from './journal';
import { FOLD_COUNT_MAX } from './limits';
import { releaseProcess, retainProcess } from './processes';
import { clearTotals, SocketFlag, SocketRow } from './socket-row';

const FOLD_OFFSET: usize = 16;
/** One for each role, told and untold, and one of each on its way from untold to told. */
const MERGED_COUNT_MAX: u32 = 9;
/** The key window of every merged fold that was told. */
const ANY_WINDOW: u32 = 0xffffffff;
/** Ports from here on are given to clients (the default of net.ipv4.ip_local_port_range). */
const EPHEMERAL_PORT_MIN: u16 = 32768;

@unmanaged
class FoldRow {
  link: u32; // 0
  /** 0 = not told. */
  window: u32; // 4
  /** `window`, as far as it tells folds apart. */
  keyWindow: u32; // 8
  isLive: u8; // 12
  isMerged: u8; // 13
  pad0: u16; // 14
  private fold0: u64; // 16
  private fold1: u64;
  private fold2: u64;
  private fold3: u64;
  private fold4: u64;
  private fold5: u64;
  private fold6: u64;
  private fold7: u64;
  private fold8: u64;
  private fold9: u64;
  private fold10: u64;
  private fold11: u64;
  private fold12: u64;
  private fold13: u64;
  private fold14: u64;
  private fold15: u64;
  private fold16: u64;
  private fold17: u64;
  private fold18: u64;
  private fold19: u64;
  private fold20: u64;
  private fold21: u64;
  private fold22: u64;
  private fold23: u64;

  get fold(): Fold {
    return changetype<Fold>(changetype<usize>(this) + FOLD_OFFSET);
  }
}

if (offsetof<FoldRow>('fold0') !== FOLD_OFFSET) ERROR('FoldRow: the wire struct is at 16');
if (offsetof<FoldRow>() !== FOLD_OFFSET + FOLD_SIZE) ERROR('FoldRow holds one wire.Fold');

let byKey: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
const draft = changetype<Fold>(memory.data(FOLD_SIZE, 8));
let untold: u32 = 0;
let folded: u64 = 0;
let merged: u64 = 0;

export function initFolds(): void {
  byKey = OpenTable.create(FOLD_COUNT_MAX + MERGED_COUNT_MAX);
  rows = RowPool.create(offsetof<FoldRow>(), FOLD_COUNT_MAX + MERGED_COUNT_MAX);
}

function foldAt(row: u32): FoldRow {
  return changetype<FoldRow>(rows.at(row));
}

export function foldCount(): u32 {
  return rows.live;
}

export function socketsFolded(): u64 {
  return folded;
}

export function foldsMerged(): u64 {
  return merged;
}

/** Adds what is not committed of a closed socket, which then may be forgotten: each part to the fold of the window that told it. */
export function foldSocket(socket: SocketRow): void {
  folded++;
  describe(socket);
  const isMerged = !hasRoomFor(socket);
  if (isMerged) {
    merged++;
    generalise(draft);
  }
  countEnd(draft, socket);
  let entry = pendingEntry(socket);
  let end = socket.now;
  let window = socket.closeWindow;
  while (true) {
    const isFirst = changetype<usize>(entry) === 0;
    if (isFirst) draft.connections = socket.hasBaseline || socket.has(SocketFlag.Failed) ? 0 : 1;
    subtract(draft.totals, end, isFirst ? socket.committed : entry.totals);
    addDraft(window, isMerged);
    if (isFirst) return;
    clearEnd(draft);
    end = entry.totals;
    window = entry.window;
    entry = pendingEntryBefore(entry);
  }
}

/** True when the parts of the socket in `draft` find room, all of them: they stay together. */
function hasRoomFor(socket: SocketRow): bool {
  let room = rows.live < FOLD_COUNT_MAX ? FOLD_COUNT_MAX - rows.live : 0;
  let entry = pendingEntry(socket);
  let window = socket.closeWindow;
  while (true) {
    if (find(draft, window) === 0) {
      if (room === 0) return false;
      room--;
    }
    if (changetype<usize>(entry) === 0) return true;
    window = entry.window;
    entry = pendingEntryBefore(entry);
  }
}

function addDraft(window: u32, isMerged: bool): void {
  const keyWindow: u32 = isMerged && window !== 0 ? ANY_WINDOW : window;
  let row = find(draft, keyWindow);
  if (row === 0) row = add(draft, window, keyWindow, isMerged);
  const target = foldAt(row);
  absorb(target.fold, draft);
  target.window = max(target.window, window);
}

/** Fills `draft` with the key of a socket, and with one socket. */
function describe(socket: SocketRow): void {
  memory.fill(changetype<usize>(draft), 0, FOLD_SIZE);
  draft.process = socket.process;
  draft.addressSpace = socket.space;
  draft.localAddressHi = socket.localAddressHi;
  draft.localAddressLo = socket.localAddressLo;
  draft.remoteAddressHi = socket.remoteAddressHi;
  draft.remoteAddressLo = socket.remoteAddressLo;
  draft.serverPort = serverPortOf(socket);
  draft.role = socket.role;
  draft.protocol = socket.protocol;
  draft.shard = shardOf(socket);
  draft.sockets = 1;
}

/** A failed connect has no other end to meet. */
function shardOf(socket: SocketRow): u8 {
  if (socket.has(SocketFlag.Failed)) return 0;
  if (socket.joinKey !== 0) return shardOfJoinKey(socket.joinKey);
  return shardOfTuple(
    socket.localAddressHi,
    socket.localAddressLo,
    socket.localPort,
    socket.remoteAddressHi,
    socket.remoteAddressLo,
    socket.remotePort,
    socket.protocol,
  );
}

/** What belongs to the socket as a whole goes to the window that told its end. */
function countEnd(fold: Fold, socket: SocketRow): void {
  if (socket.has(SocketFlag.Failed)) {
    countFailure(fold, socket.reason);
    return;
  }
  fold.closed = 1;
  if (socket.reason === CloseReason.ResetSent) fold.resetsSent = 1;
  else if (socket.reason === CloseReason.ResetReceived) fold.resetsReceived = 1;
  const isAdopted = socket.has(SocketFlag.Adopted);
  if (!isAdopted) fold.openings = 1;
  // What is committed of an adopted socket is its history as long as no window is.
  if (isAdopted && !socket.has(SocketFlag.OpenCommitted)) subtract(fold.last, socket.now, socket.committed);
  else addTotals(fold.last, socket.now);
}

function clearEnd(fold: Fold): void {
  fold.refused = 0;
  fold.timedOut = 0;
  fold.abandoned = 0;
  fold.unreachable = 0;
  fold.other = 0;
  fold.closed = 0;
  fold.openings = 0;
  fold.resetsSent = 0;
  fold.resetsReceived = 0;
  clearTotals(fold.last);
}

function serverPortOf(socket: SocketRow): u16 {
  if (socket.role === Role.Client) return socket.remotePort;
  if (socket.role === Role.Server) return socket.localPort;
  const least = min(socket.localPort, socket.remotePort);
  return least < EPHEMERAL_PORT_MIN && max(socket.localPort, socket.remotePort) >= EPHEMERAL_PORT_MIN ? least : 0;
}

function countFailure(fold: Fold, reason: u8): void {
  if (reason === CloseReason.ConnectRefused) fold.refused = 1;
  else if (reason === CloseReason.ConnectTimedOut) fold.timedOut = 1;
  else if (reason === CloseReason.ConnectAbandoned) fold.abandoned = 1;
  else if (reason === CloseReason.ConnectUnreachable) fold.unreachable = 1;
  else fold.other = 1;
}

function subtract(to: Totals, now: Totals, committed: Totals): void {
  to.bytesSent = now.bytesSent - committed.bytesSent;
  to.bytesReceived = now.bytesReceived - committed.bytesReceived;
  to.segmentsSent = now.segmentsSent - committed.segmentsSent;
  to.segmentsReceived = now.segmentsReceived - committed.segmentsReceived;
  to.retransmits = now.retransmits - committed.retransmits;
}

function generalise(fold: Fold): void {
  fold.process = 0;
  fold.addressSpace = DEFAULT_SPACE;
  fold.localAddressHi = 0;
  fold.localAddressLo = 0;
  fold.remoteAddressHi = 0;
  fold.remoteAddressLo = 0;
  fold.serverPort = 0;
  fold.shard = 0;
}

function absorb(to: Fold, from: Fold): void {
  to.sockets += from.sockets;
  to.connections += from.connections;
  to.refused += from.refused;
  to.timedOut += from.timedOut;
  to.abandoned += from.abandoned;
  to.unreachable += from.unreachable;
  to.other += from.other;
  to.resetsSent += from.resetsSent;
  to.resetsReceived += from.resetsReceived;
  to.closed += from.closed;
  to.openings += from.openings;
  addTotals(to.totals, from.totals);
  addTotals(to.last, from.last);
}

function addTotals(to: Totals, from: Totals): void {
  to.bytesSent += from.bytesSent;
  to.bytesReceived += from.bytesReceived;
  to.segmentsSent += from.segmentsSent;
  to.segmentsReceived += from.segmentsReceived;
  to.retransmits += from.retransmits;
}

/** The row after `row` that is not told; 0 after the last. Start with 0. */
export function nextUntoldFold(row: u32): u32 {
  if (untold === 0) return 0;
  const end = rows.end;
  for (let next = row + 1; next < end; next++) {
    if (foldAt(next).isLive && foldAt(next).window === 0) return next;
  }
  return 0;
}

/** Copies the fold to the wire and files it as told in `window`. */
export function tellFoldInto(row: u32, to: Fold, window: u32): void {
  const fold = foldAt(row);
  memory.copy(changetype<usize>(to), changetype<usize>(fold.fold), FOLD_SIZE);
  refile(row, window, fold.isMerged ? ANY_WINDOW : window);
}

export function commitFolds(window: u32): void {
  if (rows.live === untold) return;
  const end = rows.end;
  for (let row: u32 = 1; row < end; row++) {
    const fold = foldAt(row);
    if (fold.isLive && fold.window !== 0 && fold.window <= window) remove(row);
  }
}

/** For a new channel, which knows nothing. */
export function retellFolds(): void {
  const end = rows.end;
  for (let row: u32 = 1; row < end; row++) {
    if (foldAt(row).isLive && foldAt(row).window !== 0) refile(row, 0, 0);
  }
}

/** Moves a fold to another window; one with the same key that is there already takes it in. */
function refile(row: u32, window: u32, keyWindow: u32): void {
  const fold = foldAt(row);
  const other = find(fold.fold, keyWindow);
  if (other !== 0) {
    absorb(foldAt(other).fold, fold.fold);
    foldAt(other).window = max(foldAt(other).window, window);
    remove(row);
    return;
  }
  byKey.remove(hashKey(fold.fold, fold.keyWindow), row);
  if (fold.window === 0) untold--;
  fold.window = window;
  fold.keyWindow = keyWindow;
  if (window === 0) untold++;
  byKey.insert(hashKey(fold.fold, keyWindow), row);
}

function add(key: Fold, window: u32, keyWindow: u32, isMerged: bool): u32 {
  const row = rows.take();
  const fold = foldAt(row);
  memory.fill(changetype<usize>(fold), 0, offsetof<FoldRow>());
  fold.isLive = 1;
  fold.isMerged = isMerged ? 1 : 0;
  fold.window = window;
  fold.keyWindow = keyWindow;
  copyKey(fold.fold, key);
  retainProcess(key.process);
  retainSpace(key.addressSpace);
  byKey.insert(hashKey(key, keyWindow), row);
  if (window === 0) untold++;
  return row;
}

function remove(row: u32): void {
  const fold = foldAt(row);
  byKey.remove(hashKey(fold.fold, fold.keyWindow), row);
  releaseProcess(fold.fold.process);
  releaseSpace(fold.fold.addressSpace);
  if (fold.window === 0) untold--;
  fold.isLive = 0;
  rows.give(row);
}

function find(key: Fold, keyWindow: u32): u32 {
  for (let row = byKey.first(hashKey(key, keyWindow)); row !== 0; row = byKey.next()) {
    if (foldAt(row).keyWindow === keyWindow && isSameKey(foldAt(row).fold, key)) return row;
  }
  return 0;
}

function hashKey(key: Fold, keyWindow: u32): u32 {
  const place = hashPair(key.localAddressHi ^ key.remoteAddressLo, key.localAddressLo);
  const rest = ((<u64>key.process) << 32) | ((<u64>key.serverPort) << 16) | ((<u64>key.shard) << 8) | key.role;
  return hashPair(rest, (((<u64>place) << 32) | keyWindow) + key.remoteAddressHi);
}

function isSameKey(a: Fold, b: Fold): bool {
  return (
    a.process === b.process &&
    a.addressSpace === b.addressSpace &&
    a.localAddressHi === b.localAddressHi &&
    a.localAddressLo === b.localAddressLo &&
    a.remoteAddressHi === b.remoteAddressHi &&
    a.remoteAddressLo === b.remoteAddressLo &&
    a.serverPort === b.serverPort &&
    a.role === b.role &&
    a.shard === b.shard &&
    a.protocol === b.protocol
  );
}

function copyKey(to: Fold, from: Fold): void {
  to.process = from.process;
  to.addressSpace = from.addressSpace;
  to.localAddressHi = from.localAddressHi;
  to.localAddressLo = from.localAddressLo;
  to.remoteAddressHi = from.remoteAddressHi;
  to.remoteAddressLo = from.remoteAddressLo;
  to.serverPort = from.serverPort;
  to.role = from.role;
  to.shard = from.shard;
  to.protocol = from.protocol;
}

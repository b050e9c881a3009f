// Closed sockets beyond the retention limit, summed by (process, addresses, server port, role, shard) and by the window in which they were
// told, so that a commit still removes exactly what it covers. Window 0: not told on this channel. The shard brings a fold to where the other
// ends of its sockets are matched. When the table is full, one fold for each role takes the rest, without process and addresses; what of it
// was told is kept until its last window is committed.
import { FOLD_SIZE, Fold } from '../gen/wire';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { releaseSpace, retainSpace } from './address-spaces';
import { absorbFold, copyFoldKey, hashFoldKey, isSameFoldKey } from './fold-key';
import { clearEnd, countEnd, describeSocket, generalise, subtractTotals } from './fold-parts';
import { pendingEntry, pendingEntryBefore, totalsOfEntry } from './journal';
import { FOLD_COUNT_MAX } from './limits';
import { releaseProcess, retainProcess } from './processes';
import { settleFold } from './settled-folds';
import { SocketFlag, SocketRow } from './socket-row';
import { committedOf } from './versions';

/** One for each role, told and untold, and one of each on its way from untold to told. */
const MERGED_COUNT_MAX: u32 = 9;
/** The key window of every merged fold that was told. */
const ANY_WINDOW: u32 = 0xffffffff;

/** The wire struct lies behind it. */
@unmanaged
class FoldRow {
  link: u32;
  /** 0 = not told. */
  window: u32;
  /** `window`, as far as it tells folds apart. */
  keyWindow: u32;
  isLive: u8;
  isMerged: u8;
  pad0: u16;

  get fold(): Fold {
    return changetype<Fold>(changetype<usize>(this) + offsetof<FoldRow>());
  }
}

const ROW_BYTES: usize = offsetof<FoldRow>() + FOLD_SIZE;

let byKey: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
const draft = changetype<Fold>(memory.data(FOLD_SIZE, 8));
let untold: u32 = 0;
let folded: u64 = 0;
let merged: u64 = 0;

export function initFolds(): void {
  byKey = OpenTable.create(FOLD_COUNT_MAX + MERGED_COUNT_MAX);
  rows = RowPool.create(ROW_BYTES, FOLD_COUNT_MAX + MERGED_COUNT_MAX);
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
  describeSocket(draft, socket);
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
    if (isFirst)
      draft.connections = socket.hasBaseline || socket.has(SocketFlag.Failed | SocketFlag.MayBeOlder) ? 0 : 1;
    subtractTotals(draft.totals, end, isFirst ? committedOf(socket) : totalsOfEntry(entry, socket));
    addDraft(window, isMerged);
    if (isFirst) return;
    clearEnd(draft);
    end = totalsOfEntry(entry, socket);
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
  absorbFold(target.fold, draft);
  target.window = max(target.window, window);
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

/** Copies the fold to the wire, times as they are kept here, and files it as told in `window`. */
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
    if (!fold.isLive || fold.window === 0 || fold.window > window) continue;
    if (!fold.isMerged) settleFold(fold.fold, fold.window);
    remove(row);
  }
}

/**
 * For a new channel, which knows nothing, to a reducer that holds what was told up to `takenWindow`, 0 = nothing. A merged fold spans windows: as
 * long as a part of it is held, it is not told again.
 */
export function retellFolds(takenWindow: u32): void {
  const end = rows.end;
  for (let row: u32 = 1; row < end; row++) {
    const fold = foldAt(row);
    if (fold.isLive && fold.window > takenWindow && (!fold.isMerged || takenWindow === 0)) refile(row, 0, 0);
  }
}

/** Moves a fold to another window; one with the same key that is there already takes it in. */
function refile(row: u32, window: u32, keyWindow: u32): void {
  const fold = foldAt(row);
  const other = find(fold.fold, keyWindow);
  if (other !== 0) {
    absorbFold(foldAt(other).fold, fold.fold);
    foldAt(other).window = max(foldAt(other).window, window);
    remove(row);
    return;
  }
  byKey.remove(hashFoldKey(fold.fold, fold.keyWindow), row);
  if (fold.window === 0) untold--;
  fold.window = window;
  fold.keyWindow = keyWindow;
  if (window === 0) untold++;
  byKey.insert(hashFoldKey(fold.fold, keyWindow), row);
}

function add(key: Fold, window: u32, keyWindow: u32, isMerged: bool): u32 {
  const row = rows.take();
  const fold = foldAt(row);
  memory.fill(changetype<usize>(fold), 0, ROW_BYTES);
  fold.isLive = 1;
  fold.isMerged = isMerged ? 1 : 0;
  fold.window = window;
  fold.keyWindow = keyWindow;
  copyFoldKey(fold.fold, key);
  retainProcess(key.process);
  retainSpace(key.addressSpace);
  byKey.insert(hashFoldKey(key, keyWindow), row);
  if (window === 0) untold++;
  return row;
}

function remove(row: u32): void {
  const fold = foldAt(row);
  byKey.remove(hashFoldKey(fold.fold, fold.keyWindow), row);
  releaseProcess(fold.fold.process);
  releaseSpace(fold.fold.addressSpace);
  if (fold.window === 0) untold--;
  fold.isLive = 0;
  rows.give(row);
}

function find(key: Fold, keyWindow: u32): u32 {
  for (let row = byKey.first(hashFoldKey(key, keyWindow)); row !== 0; row = byKey.next()) {
    if (foldAt(row).keyWindow === keyWindow && isSameFoldKey(foldAt(row).fold, key)) return row;
  }
  return 0;
}

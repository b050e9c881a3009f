// Folds that are committed, without their owners, as settled.ts keeps single sockets: a new reducer has to hear of them, so that what the other
// ends report late is not booked again. Listed by the last commit, oldest first.
import { Role } from '../gen/kernel-events';
import { FOLD_SIZE, Fold } from '../gen/wire';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { releaseSpace, retainSpace } from './address-spaces';
import { absorbFold, hashFoldKey, isSameFoldKey } from './fold-key';
import { clearFailures } from './fold-parts';
import { SETTLED_FOLD_COUNT_MAX } from './limits';
import { settledWindows } from './settled';
import { clearTotals } from './socket-row';

/** The wire struct lies behind it. */
@unmanaged
class SettledFoldRow {
  /** Free rows keep their list here. */
  previous: u32;
  next: u32;
  /** The last window that is in it. */
  window: u32;
  pad0: u32;

  get fold(): Fold {
    return changetype<Fold>(changetype<usize>(this) + offsetof<SettledFoldRow>());
  }
}

const ROW_BYTES: usize = offsetof<SettledFoldRow>() + FOLD_SIZE;

let byKey: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
let oldest: u32 = 0;
let newest: u32 = 0;
/** The next one to tell; 0 = none is. */
let due: u32 = 0;
let dropped: u64 = 0;
const draft = changetype<Fold>(memory.data(FOLD_SIZE, 8));

export function initSettledFolds(): void {
  byKey = OpenTable.create(SETTLED_FOLD_COUNT_MAX);
  rows = RowPool.create(ROW_BYTES, SETTLED_FOLD_COUNT_MAX);
}

function rowAt(row: u32): SettledFoldRow {
  return changetype<SettledFoldRow>(rows.at(row));
}

export function settledFoldCount(): u32 {
  return rows.live;
}

/** Beyond the limit, the oldest. */
export function settledFoldsDropped(): u64 {
  return dropped;
}

/** Keeps a fold whose last part was told in `window`, which is committed. One that no other end can find is let go. */
export function settleFold(fold: Fold, window: u32): void {
  if (fold.closed === 0 || fold.role === Role.Unknown || fold.serverPort === 0) return;
  memory.copy(changetype<usize>(draft), changetype<usize>(fold), FOLD_SIZE);
  draft.process = 0;
  draft.settled = 1;
  draft.sockets = fold.closed;
  draft.connections = 0;
  clearFailures(draft);
  clearTotals(draft.totals);
  let row = find(draft);
  if (row !== 0) {
    unlink(row);
    absorbFold(rowAt(row).fold, draft);
    rowAt(row).window = max(rowAt(row).window, window);
  } else {
    row = add();
    rowAt(row).window = window;
  }
  append(row);
}

function find(key: Fold): u32 {
  for (let row = byKey.first(hashFoldKey(key, 0)); row !== 0; row = byKey.next()) {
    if (isSameFoldKey(rowAt(row).fold, key)) return row;
  }
  return 0;
}

/** A row with what is in `draft`. */
function add(): u32 {
  if (rows.isFull()) {
    forget(oldest);
    dropped++;
  }
  const row = rows.take();
  memory.copy(changetype<usize>(rowAt(row).fold), changetype<usize>(draft), FOLD_SIZE);
  retainSpace(draft.addressSpace);
  byKey.insert(hashFoldKey(draft, 0), row);
  return row;
}

function append(row: u32): void {
  rowAt(row).previous = newest;
  rowAt(row).next = 0;
  if (newest === 0) oldest = row;
  else rowAt(newest).next = row;
  newest = row;
}

function unlink(row: u32): void {
  const previous = rowAt(row).previous;
  const next = rowAt(row).next;
  if (due === row) due = next;
  if (previous === 0) oldest = next;
  else rowAt(previous).next = next;
  if (next === 0) newest = previous;
  else rowAt(next).previous = previous;
}

function forget(row: u32): void {
  unlink(row);
  byKey.remove(hashFoldKey(rowAt(row).fold, 0), row);
  releaseSpace(rowAt(row).fold.addressSpace);
  rows.give(row);
}

export function expireSettledFolds(window: u32): void {
  while (oldest !== 0 && rowAt(oldest).window + settledWindows() < window) forget(oldest);
}

/** `ratio`: length of the windows so far to their length from now on. */
export function rescaleSettledFolds(ratio: f64): void {
  for (let row = oldest; row !== 0; row = rowAt(row).next) rowAt(row).window = <u32>(<f64>rowAt(row).window * ratio);
}

/** For a reducer that knows nothing: all are told with its snapshot. */
export function tellSettledFolds(): void {
  due = oldest;
}

/** The next one to tell, or null (address 0). */
export function nextSettledFold(): Fold {
  const row = due;
  if (row === 0) return changetype<Fold>(0);
  due = rowAt(row).next;
  return rowAt(row).fold;
}

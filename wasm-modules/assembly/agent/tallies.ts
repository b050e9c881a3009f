// What is counted of a socket beyond its totals, or of the host (docs/protocol.md, section 3). The kernel keeps no totals of these that last,
// so they are told as increments: exactly once on each channel, and again to a new reducer as far as they are not committed.
//
//   staged   window 0: counted and not told on this channel; one row for each (owner, kind, code, label, bucket)
//   told     in one window each, kept until that window is committed
//
// Samples are told apart by their bucket, so that those in one row fall into one bucket of any histogram.
import { SAMPLED_TALLY_KINDS } from '../gen/tally-kinds';
import { Tally } from '../gen/wire';
import { bucketOfNs, initBuckets } from '../lib/bucket';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { releaseLabel, retainLabel } from './labels';
import { TALLY_WINDOW_COUNT_MAX } from './limits';
import { SocketFlag } from './socket-row';
import { socketAt } from './sockets';
import { TallyList, TallyRow } from './tally-row';

let byKey: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
let countMax: u32 = 0;
const staged = changetype<TallyList>(memory.data(8, 8));
const told = changetype<TallyList>(memory.data(8, 8));
/** First of the host's rows; a socket's is SocketRow.tallies. */
let hostTallies: u32 = 0;
/** Where the telling of this window stands; nothing is counted meanwhile. */
let toTell: u32 = 0;

/** Increments that were told, also again. */
export let talliesTold: u64 = 0;
/** Increments that found the table full, or whose socket had closed and been told. */
export let talliesRefused: u64 = 0;
/** Told increments that went to a later window than their own, because there were too many windows. */
export let talliesMerged: u64 = 0;
/** Increments of sockets that were folded or refused before they were told. */
export let talliesLost: u64 = 0;
/** Increments of folded sockets that were told: a new reducer will not be told of them again. */
export let talliesForgotten: u64 = 0;

export function initTallies(rowsMax: u32): void {
  countMax = rowsMax;
  byKey = OpenTable.create(rowsMax);
  rows = RowPool.create(offsetof<TallyRow>(), rowsMax);
  initBuckets();
}

export function tallyCount(): u32 {
  return rows.live;
}

function at(row: u32): TallyRow {
  return changetype<TallyRow>(rows.at(row));
}

/**
 * Adds to what is counted of the socket `owner`, 0 = of the host. `kind`: wire.TallyKind, which says what `code` and `label` (labels.ts) are.
 * `count` samples of one bucket have the sum `sum`, in ns; of what only counts it is 0. A socket takes tallies until its close is told. False,
 * and counted, when it is closed for good or the table is full.
 */
export function tally(owner: u32, kind: u16, code: u32, label: u32, count: u64, sum: u64): bool {
  if (count === 0) return true;
  if (owner !== 0 && socketAt(owner).closeWindow !== 0) return refuse(count);
  const bucket: i16 = isSampled(kind) ? <i16>bucketOfNs(sum / count) : 0;
  const tag = tagOf(owner, kind, code, label, bucket);
  let row = findStaged(tag, owner, kind, code, label, bucket);
  if (row === 0) {
    row = rows.take();
    if (row === 0) return refuse(count);
    if (!byKey.insert(tag, row)) {
      rows.give(row);
      return refuse(count);
    }
    begin(row, owner, kind, code, label, bucket);
  }
  const entry = at(row);
  entry.count += count;
  entry.sum += sum;
  return true;
}

function refuse(count: u64): bool {
  talliesRefused += count;
  return false;
}

/** Samples are ns. */
function isSampled(kind: u16): bool {
  return ((SAMPLED_TALLY_KINDS >>> kind) & 1) !== 0;
}

function begin(row: u32, owner: u32, kind: u16, code: u32, label: u32, bucket: i16): void {
  const entry = at(row);
  entry.owner = owner;
  entry.window = 0;
  entry.kind = kind;
  entry.bucket = bucket;
  entry.code = code;
  entry.label = label;
  entry.count = 0;
  entry.sum = 0;
  retainLabel(label);
  staged.push(rows, row);
  entry.previousOfOwner = 0;
  entry.nextOfOwner = firstOf(owner);
  if (entry.nextOfOwner !== 0) at(entry.nextOfOwner).previousOfOwner = row;
  setFirst(owner, row);
}

function remove(row: u32): void {
  const entry = at(row);
  byKey.remove(tagOf(entry.owner, entry.kind, entry.code, entry.label, entry.bucket), row);
  (entry.window === 0 ? staged : told).remove(rows, row);
  if (entry.previousOfOwner === 0) setFirst(entry.owner, entry.nextOfOwner);
  else at(entry.previousOfOwner).nextOfOwner = entry.nextOfOwner;
  if (entry.nextOfOwner !== 0) at(entry.nextOfOwner).previousOfOwner = entry.previousOfOwner;
  releaseLabel(entry.label);
  rows.give(row);
}

function firstOf(owner: u32): u32 {
  return owner === 0 ? hostTallies : socketAt(owner).tallies;
}

function setFirst(owner: u32, row: u32): void {
  if (owner === 0) hostTallies = row;
  else socketAt(owner).tallies = row;
}

/** Before a window or a snapshot is told. */
export function beginTellingTallies(): void {
  toTell = staged.first;
}

/** The next staged tally whose owner this channel knows; 0 after the last. */
export function nextTallyToTell(): u32 {
  while (toTell !== 0) {
    const row = toTell;
    const entry = at(row);
    toTell = entry.next;
    if (entry.owner === 0 || socketAt(entry.owner).has(SocketFlag.OpenTold)) return row;
  }
  return 0;
}

/** Copies it to the wire, and files it as told in `window`. */
export function tellTallyInto(row: u32, item: Tally, window: u32): void {
  const entry = at(row);
  item.handle = entry.owner === 0 ? 0 : socketAt(entry.owner).handle;
  item.kind = entry.kind;
  item.pad0 = 0;
  item.code = entry.code;
  item.label = entry.label;
  item.count = entry.count;
  item.sum = entry.sum;
  talliesTold += entry.count;
  fileTold(row, window);
}

/** Windows rise, so the list of what was told is in their order. */
function fileTold(row: u32, window: u32): void {
  const entry = at(row);
  const newest = newestOfTooMany(entry);
  if (newest !== 0) {
    const other = at(newest);
    talliesMerged += other.count;
    entry.count += other.count;
    entry.sum += other.sum;
    remove(newest);
  }
  staged.remove(rows, row);
  entry.window = window;
  told.push(rows, row);
}

/** The newest row of the same key that was told, when no further one may be kept beside it; else 0. */
function newestOfTooMany(entry: TallyRow): u32 {
  const windowsMax: u32 = rows.live > countMax / 2 ? 1 : TALLY_WINDOW_COUNT_MAX;
  let newest: u32 = 0;
  let windows: u32 = 0;
  const tag = tagOf(entry.owner, entry.kind, entry.code, entry.label, entry.bucket);
  for (let row = byKey.first(tag); row !== 0; row = byKey.next()) {
    const other = at(row);
    if (other.window === 0 || !isSameKey(other, entry)) continue;
    windows++;
    if (newest === 0 || other.window > at(newest).window) newest = row;
  }
  return windows >= windowsMax ? newest : 0;
}

export function commitTallies(window: u32): void {
  while (told.first !== 0 && at(told.first).window <= window) remove(told.first);
}

/** For a new channel: what was told in windows after `takenWindow` is staged again, together with what is staged of the same key. */
export function retellTallies(takenWindow: u32): void {
  for (let row = told.first; row !== 0; ) {
    const entry = at(row);
    const next = entry.next;
    if (entry.window > takenWindow) stageAgain(row, entry);
    row = next;
  }
}

function stageAgain(row: u32, entry: TallyRow): void {
  const tag = tagOf(entry.owner, entry.kind, entry.code, entry.label, entry.bucket);
  const other = findStaged(tag, entry.owner, entry.kind, entry.code, entry.label, entry.bucket);
  if (other !== 0) {
    at(other).count += entry.count;
    at(other).sum += entry.sum;
    remove(row);
    return;
  }
  told.remove(rows, row);
  entry.window = 0;
  staged.push(rows, row);
}

/** Of a socket whose row is about to be free. */
export function dropTallies(owner: u32): void {
  for (let row = firstOf(owner); row !== 0; row = firstOf(owner)) {
    const entry = at(row);
    loseTallies(entry.count, entry.window !== 0);
    remove(row);
  }
}

/** Increments will not be told, or not again. */
export function loseTallies(count: u64, wasTold: bool): void {
  if (wasTold) talliesForgotten += count;
  else talliesLost += count;
}

function findStaged(tag: u32, owner: u32, kind: u16, code: u32, label: u32, bucket: i16): u32 {
  for (let row = byKey.first(tag); row !== 0; row = byKey.next()) {
    const entry = at(row);
    if (entry.window !== 0 || entry.owner !== owner || entry.kind !== kind) continue;
    if (entry.code === code && entry.label === label && entry.bucket === bucket) return row;
  }
  return 0;
}

function isSameKey(a: TallyRow, b: TallyRow): bool {
  return a.owner === b.owner && a.kind === b.kind && a.code === b.code && a.label === b.label && a.bucket === b.bucket;
}

/** Alike for all windows of a key. */
function tagOf(owner: u32, kind: u16, code: u32, label: u32, bucket: i16): u32 {
  return hashPair(((<u64>owner) << 32) | label, ((<u64>code) << 32) | ((<u64>kind) << 16) | (<u64>bucket & 0xffff));
}

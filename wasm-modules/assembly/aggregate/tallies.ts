// What ends count beyond the columns of an edge: a row for each distinct (edge, kind, side, code, label), under the same tree as the edges.
//
//   addTally      the leaf's tally: found in the leaf's own list, mostly among its first, else by hash
//   rollUp        tally -> the same tally of the two rows above, by stored handles, once a window
//
// As for RTT, samples of the upper levels are collected on az_az. A row lives for TALLY_IDLE_WINDOWS after it counted last, so that what goes on
// counting finds its rows made; a leaf that has tallies is not freed before they are.

import { labelOfChannel } from '../enrich/label-channel';
import { releaseNode, retainNode } from '../enrich/nodes';
import { releaseLabel, retainLabel } from '../enrich/tally-labels';
import { EDGE_TALLY_NARROW_SIZE, EdgeTally, EdgeTallyNarrow, Level, ReducerCounter } from '../gen/records';
import { SAMPLED_TALLY_KINDS } from '../gen/tally-kinds';
import { allocate } from '../lib/arena';
import { count, set } from '../lib/counters';
import { hashPair } from '../lib/hash';
import { addSamplesNs, giveHistogram, mergeHistogram, takeHistogram } from '../lib/histogram';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { hasHistogram } from './accumulation';
import { leafOfChannel } from './channel-edges';
import { foldHistogram, shownRows } from './fold';
import { TALLY_COUNT_MAX, TALLY_IDLE_WINDOWS } from './limits';
import { moveRow } from './row-sums';
import { takeRow } from './slice';
import { giveShare, initShares, mayLabel, mayTell, takeShare } from './tally-shares';
import { FOLDED, LEVEL_COUNT, listOf, listRow, otherRowOf, RowList, rowAt } from './tree';

/** In place of a level: the tally of a host, `row` being its node. */
export const HOST_LEVEL: u32 = LEVEL_COUNT;
/** Whose share of the table the tallies of (other) take that are folded. */
const OTHER_TELLER: u8 = 0;
/** Tallies of a leaf that are looked at before the table is asked. */
const NEAR_COUNT_MAX: u32 = 8;
/** Rows that a sweep at a window's end looks at, at least; a sixteenth of all when that is more. */
const SWEEP_ROWS_MIN: u32 = 4096;
const COLLECTED_LEVELS: u32 = (1 << Level.AzAz) | (1 << Level.RoleAz) | (1 << Level.AzRole) | (1 << Level.RoleRole);

@unmanaged
export class TallyRow {
  /** tallyIdentity of kind, side and code. A free row keeps its list here. */
  what: u64;
  /** Of the open window. */
  count: u64;
  sum: u64;
  /** Retained; 0 = none. */
  label: u32;
  /** Row of the tree, or node of a host, which is retained; 0 = the row is free. */
  row: u32;
  left: u32;
  right: u32;
  /** Of the open window, or 0. */
  histogram: u32;
  /** Of a leaf: the histogram of the tally of its az_az row in the open window, or 0. */
  collected: u32;
  /** The next tally of the leaf. */
  next: u32;
  /** Tallies that point to this one: to none of a leaf. */
  refs: u32;
  /** When it is not listed: the last window in which it counted. */
  idleSince: u32;
  level: u8;
  /** 1 = in its level's list: it counted in the open window. */
  listed: u8;
  /** Of a leaf or host: who told it first. */
  teller: u8;
  pad0: u8;

  /** The tally before it in the leaf's list. */
  get previous(): u32 {
    return this.refs;
  }

  set previous(tally: u32) {
    this.refs = tally;
  }
}

if (offsetof<TallyRow>() !== 64) ERROR('a tally is one cache line');

const pool: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
let table: OpenTable = changetype<OpenTable>(0);
/** RowList of each level and of hosts. */
let lists: usize = 0;
let histogramLevels: u32 = 0;
let countMax: u32 = 0;
/** Tallies of leaves and hosts, and those of them that have a label. */
let leaves: u32 = 0;
let labelled: u32 = 0;
let sweepCursor: u32 = 1;
let window: u32 = 0;
/** The tally of a leaf that was found last; 0 = none. */
let recent: u32 = 0;
/** Where rollUpTallies, foldTallies or settleTallies is: a tally of a level's list, of which foldTallies has kept so many. */
let level: u32 = 0;
let index: u32 = 0;
let kept: u32 = 0;

export function initTallies(openWindow: u32, levels: u32, tallyCountMax: u32 = TALLY_COUNT_MAX): void {
  pool.begin(offsetof<TallyRow>(), LEVEL_COUNT * tallyCountMax);
  table = OpenTable.create(LEVEL_COUNT * tallyCountMax);
  lists = allocate(<usize>(LEVEL_COUNT + 1) * offsetof<RowList>());
  histogramLevels = levels;
  countMax = tallyCountMax;
  initShares(tallyCountMax);
  leaves = 0;
  labelled = 0;
  sweepCursor = 1;
  window = openWindow;
  recent = 0;
  level = 0;
  index = 0;
  kept = 0;
}

export function tallyAt(tally: u32): TallyRow {
  return pool.row<TallyRow>(tally);
}

/** The tallies of a level, or of HOST_LEVEL, that counted in the open window. */
export function talliesOf(level: u32): RowList {
  return changetype<RowList>(lists + <usize>level * offsetof<RowList>());
}

/** In canonical order of kind, `side` (records.TallySide) and code. */
export function tallyIdentity(kind: u16, side: u8, code: u32): u64 {
  return ((<u64>kind) << 40) | ((<u64>side) << 32) | code;
}

/** The leaf of an edge handle of worker `from`, for `addTally`. */
export function openLeaf(from: u32, edge: u32): u32 {
  const leaf = leafOfChannel(from, edge, 0);
  const row = rowAt(leaf);
  listRow(leaf, row);
  moveRow(row);
  return leaf;
}

/** The EdgeTallyNarrows from `address` to `end`, of the leaf of the flow with which they came. */
export function addNarrowTallies(leaf: u32, address: usize, end: usize): void {
  for (let at = address; at < end; at += EDGE_TALLY_NARROW_SIZE) {
    const tally = changetype<EdgeTallyNarrow>(at);
    addTally(leaf, tallyIdentity(tally.kind, tally.side, tally.code), 0, tally.teller, 1, tally.sum);
  }
}

/** `record`: the EdgeTally behind its header, from another worker. */
export function aggregateTally(from: u32, record: usize): void {
  const tally = changetype<EdgeTally>(record);
  const label = labelOfChannel(from, tally.label);
  if (tally.label !== 0 && label === 0) count(ReducerCounter.TallyLabelsDropped);
  const what = tallyIdentity(tally.kind, tally.side, tally.code);
  addTally(openLeaf(from, tally.edge), what, label, tally.teller, tally.count, tally.sum);
}

/** `teller`: lib/teller.ts. */
export function addTally(leaf: u32, what: u64, label: u32, teller: u8, amount: u64, sum: u64): void {
  let tally = findOfLeaf(leaf, what, label);
  if (tally === 0) tally = makeTally(Level.IdId, leaf, what, label, teller);
  if (tally !== 0) add(tally, what, amount, sum);
}

/** `node`: the host. */
export function addHostTally(node: u32, what: u64, label: u32, teller: u8, amount: u64, sum: u64): void {
  let tally = findTally(HOST_LEVEL, node, what, label);
  if (tally === 0) tally = makeTally(HOST_LEVEL, node, what, label, teller);
  if (tally !== 0) add(tally, what, amount, sum);
}

function add(handle: u32, what: u64, amount: u64, sum: u64): void {
  const tally = tallyAt(handle);
  count(ReducerCounter.TalliesAdded);
  listTally(handle, tally);
  tally.count += amount;
  tally.sum += sum;
  if (((SAMPLED_TALLY_KINDS >>> (what >>> 40)) & 1) !== 0) sample(tally, amount === 1 ? sum : sum / amount, amount);
}

function sample(tally: TallyRow, sampleNs: u64, amount: u64): void {
  if (tally.level === HOST_LEVEL) {
    sampleInto(tally, sampleNs, amount);
    return;
  }
  if ((histogramLevels & (1 << Level.IdId)) !== 0) sampleInto(tally, sampleNs, amount);
  if ((histogramLevels & (1 << Level.IdAz)) !== 0) sampleInto(tallyAt(tally.left), sampleNs, amount);
  if ((histogramLevels & (1 << Level.AzId)) !== 0) sampleInto(tallyAt(tally.right), sampleNs, amount);
  if ((histogramLevels & COLLECTED_LEVELS) === 0) return;
  if (tally.collected === 0) tally.collected = histogramAbove(tally);
  if (tally.collected !== 0) addSamplesNs(tally.collected, sampleNs, amount);
}

/** That of the az_az row; 0 when there are too many. */
function histogramAbove(tally: TallyRow): u32 {
  const azAz = tallyAt(tallyAt(tally.left).left);
  if (azAz.histogram === 0) azAz.histogram = takeHistogram();
  return azAz.histogram;
}

function sampleInto(tally: TallyRow, sampleNs: u64, amount: u64): void {
  if (tally.histogram === 0) tally.histogram = takeHistogram();
  if (tally.histogram !== 0) addSamplesNs(tally.histogram, sampleNs, amount);
}

function listTally(handle: u32, tally: TallyRow): void {
  if (tally.listed !== 0) return;
  tally.listed = 1;
  const list = talliesOf(tally.level);
  if (list.count === list.capacity) list.grow();
  list.put(list.count++, handle);
}

/** Brings the closing window's tallies of all leaves to all levels, slice by slice; true when all are. */
export function rollUpTallies(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const list = talliesOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const tally = tallyAt(list.at(index));
      if (tally.left !== 0) addAbove(tally.left, tally);
      if (tally.right !== 0) addAbove(tally.right, tally);
    }
  }
  level = 0;
  return true;
}

function addAbove(handle: u32, tally: TallyRow): void {
  const above = tallyAt(handle);
  listTally(handle, above);
  above.count += tally.count;
  above.sum += tally.sum;
  if (tally.histogram === 0 || tally.level < Level.AzAz) return;
  const needed: u32 = above.level === Level.RoleAz ? (1 << Level.RoleAz) | (1 << Level.RoleRole) : 1 << above.level;
  if ((histogramLevels & needed) === 0) return;
  if (above.histogram === 0) above.histogram = takeHistogram();
  if (above.histogram !== 0) mergeHistogram(above.histogram, tally.histogram);
}

/** Adds the tallies of rows that are folded to those of (other) of their level, slice by slice; true when all are. */
export function foldTallies(closed: u32): bool {
  for (; level < LEVEL_COUNT; level++, index = 0, kept = 0) {
    const list = talliesOf(level);
    if (shownRows(level) === listOf(level).count) continue;
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const handle = list.at(index);
      const tally = tallyAt(handle);
      if (rowAt(tally.row).listed !== FOLDED) {
        list.put(kept++, handle);
        continue;
      }
      foldTally(tally);
      settle(tally, closed);
    }
    list.count = kept;
  }
  level = 0;
  return true;
}

/** What (other) has no room for is lost, and counted, like what a leaf has no room for. */
function foldTally(tally: TallyRow): void {
  const handle = tallyOfOther(tally);
  if (handle === 0) return;
  const other = tallyAt(handle);
  listTally(handle, other);
  other.count += tally.count;
  other.sum += tally.sum;
  if (tally.histogram === 0 || !hasHistogram(tally.level)) return;
  other.histogram = foldHistogram(tally.histogram, other.histogram);
  tally.histogram = 0;
}

/** The same tally of (other) of the level, made at the leaf (other) and above it when it is new; 0 when it finds no room. */
function tallyOfOther(tally: TallyRow): u32 {
  const service = rowAt(tally.row).service;
  const leaf = otherRowOf(Level.IdId, service);
  let known = findOfLeaf(leaf, tally.what, tally.label);
  if (known === 0) known = makeTally(Level.IdId, leaf, tally.what, tally.label, OTHER_TELLER);
  if (known === 0) return 0;
  return findTally(tally.level, otherRowOf(tally.level, service), tally.what, tallyAt(known).label);
}

/** The window `closed` is over: its counts become 0, and some of what has been idle for long is freed. True when all are through. */
export function settleTallies(closed: u32): bool {
  for (; level <= LEVEL_COUNT; level++, index = 0) {
    const list = talliesOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      settle(tallyAt(list.at(index)), closed);
    }
    list.count = 0;
  }
  level = 0;
  window = closed + 1;
  expireTallies(closed);
  set(ReducerCounter.TalliesLive, leaves);
  return true;
}

function settle(tally: TallyRow, closed: u32): void {
  tally.count = 0;
  tally.sum = 0;
  tally.listed = 0;
  tally.idleSince = closed;
  if (tally.histogram !== 0) giveHistogram(tally.histogram);
  tally.histogram = 0;
  tally.collected = 0;
}

function expireTallies(closed: u32): void {
  const end = pool.end;
  let rows = min(end, max(SWEEP_ROWS_MIN, end >>> 4));
  for (; rows !== 0; rows--) {
    if (sweepCursor >= end) sweepCursor = 1;
    const handle = sweepCursor++;
    if (handle >= end) return;
    const tally = tallyAt(handle);
    const isLeaf = tally.row !== 0 && (tally.level === Level.IdId || tally.level === HOST_LEVEL);
    if (isLeaf && tally.idleSince + TALLY_IDLE_WINDOWS <= closed) freeLeafTally(handle, tally);
  }
}

/** A tally of the leaf, or 0. What is told of one connection after the other comes in the same order, in which the leaf has its first tallies. */
function findOfLeaf(leaf: u32, what: u64, label: u32): u32 {
  if (recent !== 0 && tallyAt(recent).row === leaf && isOfLeaf(tallyAt(recent).next, what, label)) {
    recent = tallyAt(recent).next;
    return recent;
  }
  recent = searchLeaf(leaf, what, label);
  return recent;
}

function searchLeaf(leaf: u32, what: u64, label: u32): u32 {
  let handle = rowAt(leaf).tallies;
  for (let near: u32 = 0; handle !== 0; near++) {
    if (near === NEAR_COUNT_MAX) return findTally(Level.IdId, leaf, what, label);
    if (isOfLeaf(handle, what, label)) return handle;
    handle = tallyAt(handle).next;
  }
  return 0;
}

/** `handle`: of a tally of the leaf that is looked for, or 0. */
function isOfLeaf(handle: u32, what: u64, label: u32): bool {
  return handle !== 0 && tallyAt(handle).what === what && tallyAt(handle).label === label;
}

function findTally(level: u32, row: u32, what: u64, label: u32): u32 {
  for (let handle = table.first(hashTally(level, row, what, label)); handle !== 0; handle = table.next()) {
    const tally = tallyAt(handle);
    if (tally.what === what && tally.label === label && tally.row === row && tally.level === level) return handle;
  }
  return 0;
}

function hashTally(level: u32, row: u32, what: u64, label: u32): u32 {
  return hashPair(what ^ ((<u64>level) << 56), ((<u64>row) << 32) | label);
}

/**
 * A new tally of a leaf or host. Half of the rows are for those without a label: when the other half is taken, one with a label is counted
 * without it. The same holds within the share of its teller. 0, and counted, when there is no room at all.
 */
function makeTally(level: u32, row: u32, what: u64, label: u32, teller: u8): u32 {
  if (label !== 0 && (labelled >= countMax / 2 || !mayLabel(teller))) {
    count(ReducerCounter.TallyLabelsDropped);
    const bare = level === HOST_LEVEL ? findTally(level, row, what, 0) : findOfLeaf(row, what, 0);
    return bare !== 0 ? bare : makeTally(level, row, what, 0, teller);
  }
  if (leaves >= countMax || !mayTell(teller)) {
    count(leaves >= countMax ? ReducerCounter.TalliesRefused : ReducerCounter.TalliesOverShare);
    return 0;
  }
  const handle = createTally(level, row, what, label);
  leaves++;
  if (label !== 0) labelled++;
  tallyAt(handle).teller = teller;
  takeShare(teller, label !== 0);
  if (level === HOST_LEVEL) retainNode(row);
  else addToLeaf(handle, row);
  return handle;
}

/** Behind those that are looked at first. */
function addToLeaf(handle: u32, leaf: u32): void {
  const row = rowAt(leaf);
  if (row.tallies === 0) {
    row.tallies = handle;
    return;
  }
  let before = row.tallies;
  for (let near: u32 = 1; near < NEAR_COUNT_MAX && tallyAt(before).next !== 0; near++) before = tallyAt(before).next;
  const tally = tallyAt(handle);
  tally.previous = before;
  tally.next = tallyAt(before).next;
  if (tally.next !== 0) tallyAt(tally.next).previous = handle;
  tallyAt(before).next = handle;
}

function createTally(level: u32, row: u32, what: u64, label: u32): u32 {
  const handle = pool.take();
  const hash = hashTally(level, row, what, label);
  // No level has more rows than there are leaves, so only exhausted memory ends here.
  if (handle === 0 || !table.insert(hash, handle)) unreachable();
  const tally = tallyAt(handle);
  memory.fill(changetype<usize>(tally), 0, offsetof<TallyRow>());
  tally.what = what;
  tally.label = label;
  tally.row = row;
  tally.level = <u8>level;
  tally.idleSince = window;
  retainLabel(label);
  if (level === HOST_LEVEL) return handle;
  const edge = rowAt(row);
  if (edge.left !== 0) tally.left = tallyAbove(edge.left, what, label);
  if (edge.right !== 0) tally.right = tallyAbove(edge.right, what, label);
  return handle;
}

/** The same tally of the row `above`, which will be pointed to. */
function tallyAbove(above: u32, what: u64, label: u32): u32 {
  const level = rowAt(above).level;
  const known = findTally(level, above, what, label);
  const handle = known !== 0 ? known : createTally(level, above, what, label);
  tallyAt(handle).refs++;
  return handle;
}

function freeLeafTally(handle: u32, tally: TallyRow): void {
  leaves--;
  if (tally.label !== 0) labelled--;
  giveShare(tally.teller, tally.label !== 0);
  if (tally.level === HOST_LEVEL) releaseNode(tally.row);
  else {
    if (tally.next !== 0) tallyAt(tally.next).previous = tally.previous;
    if (tally.previous !== 0) tallyAt(tally.previous).next = tally.next;
    else rowAt(tally.row).tallies = tally.next;
  }
  freeTally(handle);
}

function freeTally(handle: u32): void {
  const tally = tallyAt(handle);
  table.remove(hashTally(tally.level, tally.row, tally.what, tally.label), handle);
  releaseLabel(tally.label);
  tally.row = 0;
  const left = tally.left;
  const right = tally.right;
  pool.give(handle);
  releaseTally(left);
  releaseTally(right);
}

function releaseTally(handle: u32): void {
  if (handle !== 0 && --tallyAt(handle).refs === 0) freeTally(handle);
}

// The tallies of a WindowOutput and the labels that they name, in canonical order: after the order of their rows that of kind, side, code
// and label, texts by their bytes; hosts come last, in the order of their nodes.

import { labelRecordBytes, writeLabelRecord } from '../enrich/label-channel';
import { nodeAt } from '../enrich/nodes';
import { LABEL_COUNT_MAX, labelAt, labelCount } from '../enrich/tally-labels';
import { Level, TALLY_POINT_SIZE, TallyPoint } from '../gen/records';
import { giveBlock, takeBlock } from '../lib/arena';
import { histogramRecordBytes, writeHistogram } from '../lib/histogram';
import { clearRow } from '../lib/words';
import { hasHistogram } from './accumulation';
import { ENTRY_BYTES, entryAt, entryHandle, pointKey, sortByKey, sortLabels, storeEntry } from './canonical-order';
import { takeRoom } from './output-piece';
import { takeRow, takeRows } from './slice';
import { HOST_LEVEL, TallyRow, talliesOf, tallyAt } from './tallies';
import { rowAt } from './tree';

/** A label's index plus 1 in the key of a tally, below its code. */
const LABEL_BITS: u64 = 18;
if (LABEL_COUNT_MAX >= 1 << 18) ERROR('the index of a label must fit LABEL_BITS');
/** Side and code in tallyIdentity, above them the kind. */
const CODE_MASK: u64 = 0xffff_ffff;
const CODE_BITS: u64 = 32;
/** TallyPoint.server_node of a host. */
const NO_NODE: u32 = 0xffffffff;

let serial: u32 = 0;
let outputLevels: u32 = 0;
/** Entries of the output at hand: one of each label, one of each tally. */
let labels: usize = 0;
let tallies: usize = 0;
let labelsSize: usize = 0;
let talliesSize: usize = 0;
let labelsNamed: u32 = 0;
let labelBytes: u32 = 0;
let tallyTotal: u32 = 0;
let histogramBytes: u32 = 0;
let histogramCount: u32 = 0;
/** The label, or the tally with its level, place in the order and entry, that is next to be written. */
let level: u32 = 0;
let index: u32 = 0;
let entry: usize = 0;
/** Offset of the next tally's histogram among all of the output. */
let histogram: u32 = 0;

/** How many there are; `levels` are put out, and hosts. To be called first, `endTallyOutput` last. */
export function beginTallyOutput(levels: u32): u32 {
  outputLevels = levels;
  serial++;
  tallyTotal = 0;
  for (let level: u32 = 0; level <= HOST_LEVEL; level++) if (isPutOut(level)) tallyTotal += talliesOf(level).count;
  talliesSize = <usize>tallyTotal * ENTRY_BYTES;
  labelsSize = <usize>min(tallyTotal, labelCount()) * ENTRY_BYTES;
  tallies = takeBlock(talliesSize);
  labels = takeBlock(labelsSize);
  if (tallies === 0 || labels === 0) unreachable();
  return tallyTotal;
}

export function endTallyOutput(): void {
  giveBlock(tallies, talliesSize);
  giveBlock(labels, labelsSize);
}

/** Before anything is written: gives each label its place and adds up what histograms take, of which the output has `histogramsBefore` bytes already. */
export function arrangeTallies(histogramsBefore: u32): void {
  labelsNamed = 0;
  histogramBytes = 0;
  histogramCount = 0;
  for (let level: u32 = 0; level <= HOST_LEVEL; level++) {
    if (!isPutOut(level)) continue;
    const list = talliesOf(level);
    for (let index: u32 = 0; index < list.count; index++) {
      const tally = tallyAt(list.at(index));
      collectLabel(tally.label);
      if (!isShown(tally)) continue;
      histogramBytes += histogramRecordBytes(tally.histogram);
      histogramCount++;
    }
  }
  histogram = histogramsBefore;
  labelBytes = indexLabels();
  beginPass();
}

/** Returns the bytes of their records. */
function indexLabels(): u32 {
  sortLabels(labels, labelsNamed);
  let bytes: u32 = 0;
  for (let index: u32 = 0; index < labelsNamed; index++) {
    const label = entryHandle(entryAt(labels, index));
    labelAt(label).outputIndex = index;
    bytes += labelRecordBytes(label);
  }
  return bytes;
}

export function outputLabels(): u32 {
  return labelsNamed;
}

/** Of their records. */
export function outputLabelBytes(): u32 {
  return labelBytes;
}

/** Of all tallies that are put out. */
export function tallyHistogramBytes(): u32 {
  return histogramBytes;
}

export function tallyHistograms(): u32 {
  return histogramCount;
}

function beginPass(): void {
  level = 0;
  index = 0;
  entry = tallies;
}

/** Writes the LabelRecords, slice by slice; true when all are written. */
export function writeLabels(): bool {
  for (; index < labelsNamed; index++) {
    if (!takeRow()) return false;
    const label = entryHandle(entryAt(labels, index));
    const to = takeRoom(labelRecordBytes(label));
    if (to === 0) return false;
    writeLabelRecord(label, index, to);
  }
  beginPass();
  return true;
}

/** Writes the TallyPoints, slice by slice; true when all are written. Nodes and labels have their indexes. */
export function writeTallies(): bool {
  for (; level <= HOST_LEVEL; level++, index = 0) {
    if (!isPutOut(level)) continue;
    const count = talliesOf(level).count;
    for (; index < count; index++, entry += ENTRY_BYTES) {
      if (!takeRow()) return false;
      const to = takeRoom(TALLY_POINT_SIZE);
      if (to === 0) return false;
      if (index === 0) sortTallies(entry, level);
      const tally = tallyAt(entryHandle(entry));
      writePoint(tally, changetype<TallyPoint>(to));
      if (!isShown(tally)) continue;
      changetype<TallyPoint>(to).histogram = histogram + 1;
      histogram += histogramRecordBytes(tally.histogram);
    }
  }
  beginPass();
  return true;
}

/** Of the same tallies in the same order. */
export function writeTallyHistograms(): bool {
  for (; index < tallyTotal; index++) {
    if (!takeRow()) return false;
    const tally = tallyAt(entryHandle(entryAt(tallies, index)));
    if (!isShown(tally)) continue;
    const to = takeRoom(histogramRecordBytes(tally.histogram));
    if (to === 0) return false;
    writeHistogram(tally.histogram, to);
  }
  return true;
}

function isPutOut(level: u32): bool {
  return level === HOST_LEVEL || ((outputLevels >> level) & 1) !== 0;
}

/** True when its histogram is for the output and not only on its way up. */
function isShown(tally: TallyRow): bool {
  return tally.histogram !== 0 && (tally.level === HOST_LEVEL || hasHistogram(tally.level));
}

function collectLabel(handle: u32): void {
  if (handle === 0 || labelAt(handle).outputSerial === serial) return;
  labelAt(handle).outputSerial = serial;
  storeEntry(entryAt(labels, labelsNamed++), 0, handle);
}

/** Both sorts are stable, so the second keeps the order of the first among tallies of one row. */
function sortTallies(entries: usize, level: u32): void {
  const list = talliesOf(level);
  for (let index: u32 = 0; index < list.count; index++) {
    const tally = tallyAt(list.at(index));
    const head = ((tally.what >>> 40) << 2) | ((tally.what >>> 32) & 3);
    const key = (((head << CODE_BITS) | (tally.what & CODE_MASK)) << LABEL_BITS) | labelIndex(tally);
    storeEntry(entryAt(entries, index), key, list.at(index));
  }
  sortByKey(entries, list.count);
  for (let index: u32 = 0; index < list.count; index++) {
    const entry = entryAt(entries, index);
    storeEntry(entry, rowKey(tallyAt(entryHandle(entry))), entryHandle(entry));
  }
  sortByKey(entries, list.count);
  takeRows(2 * list.count);
}

/** Place among the output's labels, plus 1; 0 = none. */
function labelIndex(tally: TallyRow): u32 {
  return tally.label === 0 ? 0 : labelAt(tally.label).outputIndex + 1;
}

function rowKey(tally: TallyRow): u64 {
  if (tally.level === HOST_LEVEL) return nodeAt(tally.row).outputIndex;
  const row = rowAt(tally.row);
  return pointKey(nodeAt(row.clientNode).outputIndex, nodeAt(row.serverNode).outputIndex, row.service);
}

function writePoint(tally: TallyRow, point: TallyPoint): void {
  clearRow<TallyPoint>(changetype<usize>(point));
  if (tally.level === HOST_LEVEL) {
    point.level = Level.IdId;
    point.clientNode = nodeAt(tally.row).outputIndex;
    point.serverNode = NO_NODE;
  } else {
    const row = rowAt(tally.row);
    point.level = tally.level;
    point.protocol = <u8>(row.service >>> 16);
    point.serverPort = <u16>row.service;
    point.clientNode = nodeAt(row.clientNode).outputIndex;
    point.serverNode = nodeAt(row.serverNode).outputIndex;
  }
  point.kind = <u16>(tally.what >>> 40);
  point.side = <u8>(tally.what >>> 32);
  point.code = <u32>tally.what;
  point.label = labelIndex(tally);
  point.count = tally.count;
  point.sum = tally.sum;
}

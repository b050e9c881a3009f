// Texts that tallies name, as dense handles of this worker. Handle 0 = none.
//
// Lifetime, as of nodes (nodes.ts): whoever keeps a label beyond the window retains it, and one that nobody retains and nobody looked up
// for NODE_IDLE_WINDOWS is freed at a window's end.

import { ReducerCounter } from '../gen/records';
import { count, set } from '../lib/counters';
import { compareTexts, internText, releaseText } from '../lib/intern';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { NODE_IDLE_WINDOWS } from './nodes';

/** Per worker; a tally with a further text is kept without it. */
export const LABEL_COUNT_MAX: u32 = 1 << 17;
/** A domain name has 253 characters at most. */
export const LABEL_BYTES_MAX: u32 = 256;

/** Labels that a sweep at a window's end looks at, at least; a sixteenth of all when that is more. */
const SWEEP_ROWS_MIN: u32 = 4096;

@unmanaged
export class Label {
  refs: u32;
  /** Of lib/intern.ts, one reference; 0 = the row is free. */
  text: u32;
  /** The workers that were told in `announcedEpoch`, as bits. */
  announced: u64;
  announcedEpoch: u32;
  /** Tells who had the handle before. */
  generation: u32;
  /** Last window in which it was looked up. */
  touched: u32;
  /** Place in the output with this serial. */
  outputSerial: u32;
  outputIndex: u32;
  pad0: u32;
}

let pool: RowPool = changetype<RowPool>(0);
let table: OpenTable = changetype<OpenTable>(0);
let window: u32 = 0;
let sweepCursor: u32 = 1;

export function initTallyLabels(openWindow: u32, labelCountMax: u32 = LABEL_COUNT_MAX): void {
  pool = RowPool.create(offsetof<Label>(), labelCountMax);
  table = OpenTable.create(labelCountMax);
  window = openWindow;
  sweepCursor = 1;
}

export function labelAt(label: u32): Label {
  return changetype<Label>(pool.at(label));
}

export function labelCount(): u32 {
  return pool.live;
}

/** The label with the text, borrowed; 0 for the empty text, and for a new one that does not fit. */
export function labelOfText(address: usize, bytes: u32): u32 {
  const text = internText(address, bytes, LABEL_BYTES_MAX);
  if (text === 0) return 0;
  const tag = tagOf(text);
  for (let label = table.first(tag); label !== 0; label = table.next()) {
    if (labelAt(label).text !== text) continue;
    releaseText(text);
    touchLabel(label);
    return label;
  }
  return createLabel(text, tag);
}

export function retainLabel(label: u32): void {
  if (label !== 0) labelAt(label).refs++;
}

export function releaseLabel(label: u32): void {
  if (label !== 0) labelAt(label).refs--;
}

/** Counts as a look-up. */
export function touchLabel(label: u32): void {
  labelAt(label).touched = window;
}

/** Order of the texts' bytes: < 0, 0 or > 0. */
export function compareLabels(left: u32, right: u32): i32 {
  return compareTexts(labelAt(left).text, labelAt(right).text);
}

/** The window `closed` is over: frees a slice of what nobody used for long. */
export function expireLabels(closed: u32): void {
  window = closed + 1;
  const end = pool.end;
  let rows = min(end, max(SWEEP_ROWS_MIN, end >>> 4));
  for (; rows !== 0; rows--) {
    if (sweepCursor >= end) sweepCursor = 1;
    const label = sweepCursor++;
    if (label >= end) return;
    const row = labelAt(label);
    if (row.text !== 0 && row.refs === 0 && row.touched + NODE_IDLE_WINDOWS < window) freeLabel(label, row);
  }
}

/** Equal texts are one block, so its address stands for the text; blocks are 32-aligned. */
function tagOf(text: u32): u32 {
  return (text >>> 5) * 0x9e3779b1;
}

function createLabel(text: u32, tag: u32): u32 {
  const label = pool.take();
  if (label === 0 || !table.insert(tag, label)) {
    if (label !== 0) pool.give(label);
    releaseText(text);
    count(ReducerCounter.LabelsRefused);
    return 0;
  }
  const row = labelAt(label);
  const generation = row.generation;
  memory.fill(changetype<usize>(row), 0, offsetof<Label>());
  row.generation = generation;
  row.text = text;
  row.touched = window;
  set(ReducerCounter.LabelsLive, pool.live);
  return label;
}

function freeLabel(label: u32, row: Label): void {
  table.remove(tagOf(row.text), label);
  releaseText(row.text);
  row.text = 0;
  row.generation++;
  pool.give(label);
  set(ReducerCounter.LabelsLive, pool.live);
}

// Folding: what a row of a level did in the closing window is added to (other) of the level and the row's protocol, in the output alone. The
// row stays, keeps what is open on it, and is put out again in a later window that has a place for it. Levels above have its sums already.

import { isOther } from '../enrich/nodes';
import { ReducerCounter } from '../gen/records';
import { count } from '../lib/counters';
import { giveHistogram, mergeHistogram } from '../lib/histogram';
import { hasHistogram } from './accumulation';
import { addSums, moveRow } from './row-sums';
import { FOLDED, LEVEL_COUNT, listOf, listRow, otherRowOf, Row, rowAt } from './tree';

/** Rows of each level that the output at hand leaves out. */
const folded = memory.data(7 * 4, 4);
if (LEVEL_COUNT !== 7) ERROR('each level has a number of folded rows');

/** The row that the last one was added to, and for which level and protocol it is; 0 = none of the window at hand. */
let target: u32 = 0;
let targetLevel: u32 = 0;
let targetProtocol: u32 = 0;

/** To be called before the rows of a window are folded. */
export function beginFolding(): void {
  memory.fill(folded, 0, <usize>LEVEL_COUNT * 4);
  target = 0;
}

function targetOf(row: Row): u32 {
  const protocol = row.service & 0xff0000;
  if (target !== 0 && targetLevel === row.level && targetProtocol === protocol) return target;
  target = otherRowOf(row.level, row.service);
  targetLevel = row.level;
  targetProtocol = protocol;
  return target;
}

/** Rows of the level that the output at hand tells. */
export function shownRows(level: u32): u32 {
  return listOf(level).count - load<u32>(folded + <usize>level * 4);
}

/** Those levels, as bits. */
export function foldedLevels(): u32 {
  let levels: u32 = 0;
  for (let level: u32 = 0; level < LEVEL_COUNT; level++)
    if (load<u32>(folded + <usize>level * 4) !== 0) levels |= 1 << level;
  return levels;
}

/** True for a row that others are folded into. */
export function isFoldTarget(row: Row): bool {
  return row.isOther !== 0 && isOther(row.clientNode) && isOther(row.serverNode) && <u16>row.service === 0;
}

export function foldRow(row: Row): void {
  const handle = targetOf(row);
  const other = rowAt(handle);
  listRow(handle, other);
  moveRow(other);
  other.activeDelta += row.active;
  if (row.hasMoved()) addSums(other, row);
  if (row.histogram !== 0 && hasHistogram(row.level)) {
    other.histogram = foldHistogram(row.histogram, other.histogram);
    row.histogram = 0;
  }
  row.listed = FOLDED;
  store<u32>(folded + <usize>row.level * 4, load<u32>(folded + <usize>row.level * 4) + 1);
  count(ReducerCounter.RowsToOther);
}

/** That of (other), with the samples of `histogram`, which is used up: the first one is taken over, so that none is ever refused. */
export function foldHistogram(histogram: u32, other: u32): u32 {
  if (other === 0) return histogram;
  mergeHistogram(other, histogram);
  giveHistogram(histogram);
  return other;
}

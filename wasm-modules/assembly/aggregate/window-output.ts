// Writes the WindowOutput of a closed window: the nodes and labels that its points name, the points of every level that is put out, the tallies
// of their rows and of hosts, and the histograms of both, in canonical order (canonical-order.ts). A point for each row that moved or has open flows and is not folded; a row that lost its last
// open flow moved, so the 0 is told once.

import { nodeRecordBytes, writeNodeRecord } from '../enrich/node-channel';
import { nodeAt, nodeCount } from '../enrich/nodes';
import { EDGE_POINT_SIZE, EdgePoint, Level, TALLY_POINT_SIZE, WINDOW_OUTPUT_SIZE, WindowOutput } from '../gen/records';
import { blockBytes, giveBlock, takeBlock, takeBlockAsIs } from '../lib/arena';
import { histogramRecordBytes, writeHistogram } from '../lib/histogram';
import { hasHistogram, overflowOfWindow } from './accumulation';
import {
  clientIndexOf,
  ENTRY_BYTES,
  entryAt,
  entryHandle,
  pointKey,
  serverIndexOf,
  sortByKey,
  sortNodes,
  storeEntry,
} from './canonical-order';
import { foldedLevels, shownRows } from './fold';
import { processesBytes, writeProcesses } from './process-pairs';
import { pointOfRowInto } from './row-point';
import { takeRow, takeRows } from './slice';
import { HOST_LEVEL, talliesOf, tallyAt } from './tallies';
import {
  beginTallies,
  beginTallyOutput,
  endTallyOutput,
  indexLabels,
  outputLabels,
  talliesHistograms,
  tallyHistogramBytes,
  writeLabels,
  writeTallies,
} from './tally-output';
import { FOLDED, LEVEL_COUNT, listOf, Row, rowAt } from './tree';

/** In an entry of a row: its server port and protocol. */
const SERVICE_OFFSET: usize = 12;
/** What sorting a node costs, in rows. */
const NODE_ROWS: u32 = 4;

let outputLevels: u32 = 0;
/** Marks the nodes of this output in `Node.outputSerial`. */
let serial: u32 = 0;
let block: usize = 0;
let blockSize: usize = 0;
let bytes: u32 = 0;
let histogramBytes: u32 = 0;

/** What the next slice does. */
enum Stage {
  Begin,
  Collect,
  Arrange,
  Names,
  Points,
  Tallies,
  End,
}

let stage: Stage = Stage.Begin;
/** The row that is next to be collected or written: its level and place in the level's list. */
let level: u32 = 0;
let index: u32 = 0;
/** Entries of the output at hand: one of each node, one of each row, level by level, of which `entry` is next. */
let nodes: usize = 0;
let nodesSize: usize = 0;
let named: u32 = 0;
let rows: usize = 0;
let rowsSize: usize = 0;
let entry: usize = 0;
let rowCount: u32 = 0;
let tallyCount: u32 = 0;
let nodeBytes: u32 = 0;
let processBytes: u32 = 0;
/** Where the next point and histogram belong, the first tally and the first histogram. */
let point: usize = 0;
let histogram: usize = 0;
let tallies: usize = 0;
let histograms: usize = 0;

export function initWindowOutput(levels: u32): void {
  outputLevels = levels;
  stage = Stage.Begin;
}

/** Bytes of the last output. */
export function windowOutputBytes(): u32 {
  return bytes;
}

/** Address of the last output; valid until the next one is begun. */
export function windowOutput(): usize {
  return block;
}

/** Writes the output of `window`, slice by slice; true when all of it is written. Traps when memory is used up. */
export function writeWindowOutput(window: u32): bool {
  if (stage === Stage.Begin) {
    beginOutput();
    stage = Stage.Collect;
  }
  if (stage === Stage.Collect) {
    if (!collectRows(window)) return false;
    stage = Stage.Arrange;
  }
  if (stage === Stage.Arrange) {
    if (!takeRow()) return false;
    arrangeNodes();
    stage = Stage.Names;
  }
  if (stage === Stage.Names) {
    if (!takeRow()) return false;
    writeNames(window);
    stage = Stage.Points;
  }
  if (stage === Stage.Points) {
    if (!writePoints(window)) return false;
    beginTallies(tallies, histograms, histogram);
    stage = Stage.Tallies;
  }
  if (stage === Stage.Tallies) {
    if (!writeTallies()) return false;
    stage = Stage.End;
  }
  if (!takeRow()) return false;
  endOutput(window);
  stage = Stage.Begin;
  return true;
}

function beginOutput(): void {
  rowCount = countRows();
  tallyCount = beginTallyOutput(outputLevels);
  nodesSize = <usize>min(rowCount * 2 + talliesOf(HOST_LEVEL).count, nodeCount()) * ENTRY_BYTES;
  rowsSize = <usize>rowCount * ENTRY_BYTES;
  nodes = takeScratch(nodesSize);
  rows = takeScratch(rowsSize);
  entry = rows;
  serial++;
  named = 0;
  histogramBytes = 0;
  processBytes = 0;
  level = 0;
  index = 0;
}

/** Gives each node its place. */
function arrangeNodes(): void {
  const hosts = talliesOf(HOST_LEVEL);
  for (let host: u32 = 0; host < hosts.count; host++) collectNode(tallyAt(hosts.at(host)).row);
  nodeBytes = indexNodes();
  takeRows(named * NODE_ROWS);
}

/** All that comes before the points. */
function writeNames(window: u32): void {
  const labelBytes = indexLabels();
  const pointBytes = rowCount * EDGE_POINT_SIZE;
  histogramBytes += tallyHistogramBytes();
  bytes = WINDOW_OUTPUT_SIZE + nodeBytes + labelBytes + pointBytes + tallyCount * TALLY_POINT_SIZE + histogramBytes;
  bytes += processBytes;
  reserveBlock(bytes);

  const output = changetype<WindowOutput>(block);
  output.window = window;
  output.nodeCount = named;
  output.nodeBytes = nodeBytes;
  output.pointCount = rowCount;
  output.histogramCount = 0;
  output.histogramBytes = histogramBytes;
  output.overflowPoints = overflowOfWindow();
  output.tallyCount = tallyCount;
  output.labelCount = outputLabels();
  output.labelBytes = labelBytes;
  output.processBytes = processBytes;
  output.foldedLevels = foldedLevels();
  writeNodes(block + WINDOW_OUTPUT_SIZE);
  writeLabels(block + WINDOW_OUTPUT_SIZE + nodeBytes);
  point = block + WINDOW_OUTPUT_SIZE + nodeBytes + labelBytes;
  tallies = point + pointBytes;
  histograms = tallies + tallyCount * TALLY_POINT_SIZE;
  histogram = histograms;
  entry = rows;
  takeRows(named + tallyCount);
}

function endOutput(window: u32): void {
  changetype<WindowOutput>(block).histogramCount += talliesHistograms();
  endTallyOutput();
  if (processBytes !== 0) writeLeafProcesses(window, block + bytes - processBytes);
  giveBlock(nodes, nodesSize);
  giveBlock(rows, rowsSize);
}

function isPutOut(level: u32): bool {
  return ((outputLevels >> level) & 1) !== 0;
}

function countRows(): u32 {
  let count: u32 = 0;
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    if (isPutOut(each)) count += shownRows(each);
  }
  return count;
}

/** Fills `rows` level by level, and `nodes` with each node once; adds up what their histograms and executables need. */
function collectRows(window: u32): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    if (!isPutOut(level)) continue;
    const list = listOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const handle = list.at(index);
      const row = rowAt(handle);
      if (row.listed === FOLDED) continue;
      storeRowEntry(entry, handle, row);
      collectNode(row.clientNode);
      collectNode(row.serverNode);
      if (row.histogram !== 0 && hasHistogram(level)) histogramBytes += histogramRecordBytes(row.histogram);
      if (row.processes !== 0) processBytes += processesBytes(row.processes, window);
      entry += ENTRY_BYTES;
    }
  }
  level = 0;
  return true;
}

/** The nodes stand in the key until they have an index; the service goes along behind the handle. */
function storeRowEntry(to: usize, handle: u32, row: Row): void {
  storeEntry(to, ((<u64>row.clientNode) << 32) | row.serverNode, handle);
  store<u32>(to, row.service, SERVICE_OFFSET);
}

function collectNode(handle: u32): void {
  const node = nodeAt(handle);
  if (node.outputSerial === serial) return;
  node.outputSerial = serial;
  storeEntry(entryAt(nodes, named++), 0, handle);
}

/** Sorts the nodes and gives each its index; returns the bytes of their records. */
function indexNodes(): u32 {
  sortNodes(nodes, named);
  let size: u32 = 0;
  for (let place: u32 = 0; place < named; place++) {
    const handle = entryHandle(entryAt(nodes, place));
    nodeAt(handle).outputIndex = place;
    size += nodeRecordBytes(handle);
  }
  return size;
}

function writeNodes(to: usize): void {
  let at = to;
  for (let place: u32 = 0; place < named; place++) at += writeNodeRecord(entryHandle(entryAt(nodes, place)), place, at);
}

/** The points of each level, sorted when its turn comes, and their histograms. */
function writePoints(window: u32): bool {
  const output = changetype<WindowOutput>(block);
  for (; level < LEVEL_COUNT; level++, index = 0) {
    if (!isPutOut(level)) continue;
    const count = shownRows(level);
    for (; index < count; index++, entry += ENTRY_BYTES, point += EDGE_POINT_SIZE) {
      if (!takeRow()) return false;
      if (index === 0) sortRows(entry, count);
      const row = rowAt(entryHandle(entry));
      writePoint(row, load<u64>(entry), point, window);
      if (row.histogram === 0 || !hasHistogram(level)) continue;
      changetype<EdgePoint>(point).histogram = <u32>(histogram - histograms) + 1;
      histogram += writeHistogram(row.histogram, histogram);
      output.histogramCount++;
    }
  }
  level = 0;
  return true;
}

function sortRows(first: usize, count: u32): void {
  for (let place: u32 = 0; place < count; place++) {
    const row = entryAt(first, place);
    const ends = load<u64>(row);
    const client = nodeAt(<u32>(ends >>> 32)).outputIndex;
    const server = nodeAt(<u32>ends).outputIndex;
    store<u64>(row, pointKey(client, server, load<u32>(row, SERVICE_OFFSET)));
  }
  sortByKey(first, count);
  takeRows(count);
}

function writePoint(row: Row, key: u64, to: usize, window: u32): void {
  const written = changetype<EdgePoint>(to);
  pointOfRowInto(written, row, window);
  written.clientNode = clientIndexOf(key);
  written.serverNode = serverIndexOf(key);
}

/** The leaves are the first of the sorted `rows`. */
function writeLeafProcesses(window: u32, to: usize): void {
  if (!isPutOut(Level.IdId)) return;
  let at = to;
  const count = shownRows(Level.IdId);
  for (let leaf: u32 = 0; leaf < count; leaf++) {
    const first = rowAt(entryHandle(entryAt(rows, leaf))).processes;
    if (first !== 0) at += writeProcesses(first, leaf, window, at);
  }
}

function takeScratch(size: usize): usize {
  const scratch = takeBlock(size);
  if (scratch === 0) unreachable();
  return scratch;
}

/** An output up to this size gets room for twice as much, so that one that grows leaves no memory behind; what is not written takes none. */
const DOUBLED_BYTES_MAX: usize = 32 << 20;

function reserveBlock(size: usize): void {
  if (block !== 0 && size <= blockSize) return;
  if (block !== 0) giveBlock(block, blockSize);
  blockSize = blockBytes(size <= DOUBLED_BYTES_MAX ? size * 2 : size);
  block = takeBlockAsIs(blockSize);
  if (block === 0) unreachable();
}

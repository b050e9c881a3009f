// Writes the WindowOutput of a closed window: the nodes and labels that its points name, the points of every level that is put out, the tallies
// of their rows and of hosts, and the histograms of both, in canonical order (canonical-order.ts). A point for each row that moved or has open flows and is not folded; a row that lost its last
// open flow moved, so the 0 is told once.

import { nodeRecordBytes, writeNodeRecord } from '../enrich/node-channel';
import { nodeAt, nodeCount } from '../enrich/nodes';
import { EDGE_POINT_SIZE, EdgePoint, Level, TALLY_POINT_SIZE, WINDOW_OUTPUT_SIZE, WindowOutput } from '../gen/records';
import { giveBlock, takeBlock } from '../lib/arena';
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
import { initOutputPiece, takeRoom } from './output-piece';
import { processesBytes, writeProcesses } from './process-pairs';
import { pointOfRowInto } from './row-point';
import { takeRow, takeRows } from './slice';
import { HOST_LEVEL, talliesOf, tallyAt } from './tallies';
import {
  arrangeTallies,
  beginTallyOutput,
  endTallyOutput,
  outputLabelBytes,
  outputLabels,
  tallyHistogramBytes,
  tallyHistograms,
  writeLabels,
  writeTallies,
  writeTallyHistograms,
} from './tally-output';
import { FOLDED, LEVEL_COUNT, listOf, Row, rowAt } from './tree';

/** In an entry of a row: its server port and protocol. */
const SERVICE_OFFSET: usize = 12;
/** What sorting a node costs, in rows. */
const NODE_ROWS: u32 = 4;

let outputLevels: u32 = 0;
/** Marks the nodes of this output in `Node.outputSerial`. */
let serial: u32 = 0;
let bytes: u32 = 0;

/** What the next slice does, in this order. */
enum Stage {
  Begin,
  Collect,
  Arrange,
  Head,
  Nodes,
  Labels,
  Points,
  Tallies,
  Histograms,
  TallyHistograms,
  Processes,
  End,
}

let stage: Stage = Stage.Begin;
/** The row that is next to be collected or written: its level and place in the level's list. Of nodes and leaves the place alone. */
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
let histogramCount: u32 = 0;
let histogramBytes: u32 = 0;
let processBytes: u32 = 0;
/** Offset of the next row's histogram among all. */
let histogram: u32 = 0;

export function initWindowOutput(levels: u32): void {
  outputLevels = levels;
  stage = Stage.Begin;
  level = 0;
  index = 0;
  bytes = 0;
  initOutputPiece();
}

/** Bytes of the whole output, from its first piece on. */
export function windowOutputBytes(): u32 {
  return bytes;
}

/** Writes the output of `window`, slice by slice and piece by piece; true when all of it is written. Traps when memory is used up. */
export function writeWindowOutput(window: u32): bool {
  for (; stage < Stage.End; stage++) {
    if (!writeStage(window)) return false;
    level = 0;
    index = 0;
    entry = rows;
  }
  stage = Stage.Begin;
  giveBlock(nodes, nodesSize);
  giveBlock(rows, rowsSize);
  endTallyOutput();
  return true;
}

function writeStage(window: u32): bool {
  switch (stage) {
    case Stage.Begin:
      return beginOutput();
    case Stage.Collect:
      return collectRows(window);
    case Stage.Arrange:
      return arrangeNodes();
    case Stage.Head:
      return writeHead(window);
    case Stage.Nodes:
      return writeNodes();
    case Stage.Labels:
      return writeLabels();
    case Stage.Points:
      return writePoints(window);
    case Stage.Tallies:
      return writeTallies();
    case Stage.Histograms:
      return writeHistograms();
    case Stage.TallyHistograms:
      return writeTallyHistograms();
    default:
      return writeLeafProcesses(window);
  }
}

function beginOutput(): bool {
  rowCount = countRows();
  tallyCount = beginTallyOutput(outputLevels);
  nodesSize = <usize>min(rowCount * 2 + talliesOf(HOST_LEVEL).count, nodeCount()) * ENTRY_BYTES;
  rowsSize = <usize>rowCount * ENTRY_BYTES;
  nodes = takeScratch(nodesSize);
  rows = takeScratch(rowsSize);
  serial++;
  named = 0;
  histogramCount = 0;
  histogramBytes = 0;
  processBytes = 0;
  return true;
}

/** Gives each node its place. */
function arrangeNodes(): bool {
  if (!takeRow()) return false;
  const hosts = talliesOf(HOST_LEVEL);
  for (let host: u32 = 0; host < hosts.count; host++) collectNode(tallyAt(hosts.at(host)).row);
  nodeBytes = indexNodes();
  takeRows(named * NODE_ROWS);
  return true;
}

function writeHead(window: u32): bool {
  if (!takeRow()) return false;
  const to = takeRoom(WINDOW_OUTPUT_SIZE);
  if (to === 0) return false;
  histogram = 0;
  arrangeTallies(histogramBytes);
  const head = changetype<WindowOutput>(to);
  head.window = window;
  head.nodeCount = named;
  head.nodeBytes = nodeBytes;
  head.pointCount = rowCount;
  head.histogramCount = histogramCount + tallyHistograms();
  head.histogramBytes = histogramBytes + tallyHistogramBytes();
  head.overflowPoints = overflowOfWindow();
  head.tallyCount = tallyCount;
  head.labelCount = outputLabels();
  head.labelBytes = outputLabelBytes();
  head.processBytes = processBytes;
  head.foldedLevels = foldedLevels();
  bytes = WINDOW_OUTPUT_SIZE + nodeBytes + head.labelBytes + rowCount * EDGE_POINT_SIZE;
  bytes += tallyCount * TALLY_POINT_SIZE + head.histogramBytes + processBytes;
  takeRows(tallyCount);
  return true;
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
      if (row.histogram !== 0 && hasHistogram(level)) {
        histogramBytes += histogramRecordBytes(row.histogram);
        histogramCount++;
      }
      if (row.processes !== 0) processBytes += processesBytes(row.processes, window);
      entry += ENTRY_BYTES;
    }
  }
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

function writeNodes(): bool {
  for (; index < named; index++) {
    if (!takeRow()) return false;
    const node = entryHandle(entryAt(nodes, index));
    const to = takeRoom(nodeRecordBytes(node));
    if (to === 0) return false;
    writeNodeRecord(node, index, to);
  }
  return true;
}

/** The points of each level, sorted when its turn comes. */
function writePoints(window: u32): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    if (!isPutOut(level)) continue;
    const count = shownRows(level);
    for (; index < count; index++, entry += ENTRY_BYTES) {
      if (!takeRow()) return false;
      const to = takeRoom(EDGE_POINT_SIZE);
      if (to === 0) return false;
      if (index === 0) sortRows(entry, count);
      const row = rowAt(entryHandle(entry));
      writePoint(row, load<u64>(entry), to, window);
      if (row.histogram === 0 || !hasHistogram(level)) continue;
      changetype<EdgePoint>(to).histogram = histogram + 1;
      histogram += histogramRecordBytes(row.histogram);
    }
  }
  return true;
}

/** Of the same rows in the same order. */
function writeHistograms(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    if (!isPutOut(level)) continue;
    const count = shownRows(level);
    if (!hasHistogram(level)) {
      entry += <usize>count * ENTRY_BYTES;
      continue;
    }
    for (; index < count; index++, entry += ENTRY_BYTES) {
      if (!takeRow()) return false;
      const row = rowAt(entryHandle(entry));
      if (row.histogram === 0) continue;
      const to = takeRoom(histogramRecordBytes(row.histogram));
      if (to === 0) return false;
      writeHistogram(row.histogram, to);
    }
  }
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
function writeLeafProcesses(window: u32): bool {
  if (processBytes === 0) return true;
  const count = shownRows(Level.IdId);
  for (; index < count; index++) {
    if (!takeRow()) return false;
    const first = rowAt(entryHandle(entryAt(rows, index))).processes;
    if (first === 0) continue;
    const to = takeRoom(processesBytes(first, window));
    if (to === 0) return false;
    writeProcesses(first, index, window, to);
  }
  return true;
}

function takeScratch(size: usize): usize {
  const scratch = takeBlock(size);
  if (scratch === 0) unreachable();
  return scratch;
}

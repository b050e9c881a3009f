// Writes the WindowOutput of a closed window: the nodes and labels that its points name, the points of every level that is put out, the tallies
// of their rows and of hosts, and the histograms of both, in canonical order (canonical-order.ts). A point for each row that moved or has open flows; a row that lost its last
// open flow moved, so the 0 is told once.

import { nodeRecordBytes, writeNodeRecord } from '../enrich/node-channel';
import { nodeAt, nodeCount } from '../enrich/nodes';
import { EDGE_POINT_SIZE, EdgePoint, Level, TALLY_POINT_SIZE, WINDOW_OUTPUT_SIZE, WindowOutput } from '../gen/records';
import { blockBytes, giveBlock, takeBlock } from '../lib/arena';
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
import { processesBytes, writeProcesses } from './process-pairs';
import { HOST_LEVEL, talliesOf, tallyAt } from './tallies';
import {
  beginTallyOutput,
  endTallyOutput,
  indexLabels,
  outputLabels,
  tallyHistogramBytes,
  writeLabels,
  writeTallies,
} from './tally-output';
import { LEVEL_COUNT, listOf, NOT_LATE, Row, rowAt } from './tree';

/** In an entry of a row: its server port and protocol. */
const SERVICE_OFFSET: usize = 12;

let outputLevels: u32 = 0;
/** Marks the nodes of this output in `Node.outputSerial`. */
let serial: u32 = 0;
let block: usize = 0;
let blockSize: usize = 0;
let bytes: u32 = 0;
let histogramBytes: u32 = 0;

export function initWindowOutput(levels: u32): void {
  outputLevels = levels;
}

/** Bytes of the last output. */
export function windowOutputBytes(): u32 {
  return bytes;
}

/** Address of the WindowOutput; valid until the next one is written. Traps when memory is used up. */
export function writeWindowOutput(window: u32): usize {
  const rowCount = countRows();
  const tallyCount = beginTallyOutput(outputLevels);
  const hosts = talliesOf(HOST_LEVEL);
  const nodesSize = <usize>min(rowCount * 2 + hosts.count, nodeCount()) * ENTRY_BYTES;
  const rowsSize = <usize>rowCount * ENTRY_BYTES;
  const nodes = takeScratch(nodesSize);
  const rows = takeScratch(rowsSize);
  let named = collectRows(rows, nodes);
  for (let index: u32 = 0; index < hosts.count; index++)
    named = collectNode(nodes, named, tallyAt(hosts.at(index)).row);
  const nodeBytes = indexNodes(nodes, named);
  const labelBytes = indexLabels();
  const pointBytes = rowCount * EDGE_POINT_SIZE;
  histogramBytes += tallyHistogramBytes();
  bytes = WINDOW_OUTPUT_SIZE + nodeBytes + labelBytes + pointBytes + tallyCount * TALLY_POINT_SIZE + histogramBytes;
  const processBytes = leafProcessesBytes(window);
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
  output.pad0 = 0;
  const points = block + WINDOW_OUTPUT_SIZE + nodeBytes + labelBytes;
  const tallies = points + pointBytes;
  const histograms = tallies + tallyCount * TALLY_POINT_SIZE;
  writeNodes(nodes, named, block + WINDOW_OUTPUT_SIZE);
  writeLabels(block + WINDOW_OUTPUT_SIZE + nodeBytes);
  const histogramsEnd = writePoints(output, rows, points, histograms);
  output.histogramCount += writeTallies(tallies, histograms, histogramsEnd);
  endTallyOutput();
  writeLeafProcesses(rows, window, block + bytes - processBytes);
  giveBlock(nodes, nodesSize);
  giveBlock(rows, rowsSize);
  return block;
}

function isPutOut(level: u32): bool {
  return ((outputLevels >> level) & 1) !== 0;
}

function countRows(): u32 {
  let count: u32 = 0;
  for (let level: u32 = 0; level < LEVEL_COUNT; level++) {
    if (isPutOut(level)) count += listOf(level).count;
  }
  return count;
}

/** Fills `rows` level by level, and `nodes` with each node once; returns how many. Sets `histogramBytes`. */
function collectRows(rows: usize, nodes: usize): u32 {
  serial++;
  histogramBytes = 0;
  let named: u32 = 0;
  let rowCount: u32 = 0;
  for (let level: u32 = 0; level < LEVEL_COUNT; level++) {
    if (!isPutOut(level)) continue;
    const list = listOf(level);
    for (let index: u32 = 0; index < list.count; index++) {
      const row = rowAt(list.at(index));
      storeRowEntry(entryAt(rows, rowCount++), list.at(index), row);
      named = collectNode(nodes, named, row.clientNode);
      named = collectNode(nodes, named, row.serverNode);
      if (row.histogram !== 0 && hasHistogram(level)) histogramBytes += histogramRecordBytes(row.histogram);
    }
  }
  return named;
}

/** The nodes stand in the key until they have an index; the service goes along behind the handle. */
function storeRowEntry(entry: usize, handle: u32, row: Row): void {
  storeEntry(entry, ((<u64>row.clientNode) << 32) | row.serverNode, handle);
  store<u32>(entry, row.service, SERVICE_OFFSET);
}

function collectNode(nodes: usize, count: u32, handle: u32): u32 {
  const node = nodeAt(handle);
  if (node.outputSerial === serial) return count;
  node.outputSerial = serial;
  storeEntry(entryAt(nodes, count), 0, handle);
  return count + 1;
}

/** Sorts the nodes and gives each its index; returns the bytes of their records. */
function indexNodes(nodes: usize, count: u32): u32 {
  sortNodes(nodes, count);
  let size: u32 = 0;
  for (let index: u32 = 0; index < count; index++) {
    const handle = entryHandle(entryAt(nodes, index));
    nodeAt(handle).outputIndex = index;
    size += nodeRecordBytes(handle);
  }
  return size;
}

function writeNodes(nodes: usize, count: u32, to: usize): void {
  let at = to;
  for (let index: u32 = 0; index < count; index++) at += writeNodeRecord(entryHandle(entryAt(nodes, index)), index, at);
}

/** Returns where its last histogram ends. */
function writePoints(output: WindowOutput, rows: usize, points: usize, histograms: usize): usize {
  let entry = rows;
  let point = points;
  let histogram = histograms;
  for (let level: u32 = 0; level < LEVEL_COUNT; level++) {
    if (!isPutOut(level)) continue;
    const count = listOf(level).count;
    sortRows(entry, count);
    for (let index: u32 = 0; index < count; index++, entry += ENTRY_BYTES, point += EDGE_POINT_SIZE) {
      const row = rowAt(entryHandle(entry));
      writePoint(row, load<u64>(entry), point, output.window);
      if (row.histogram === 0 || !hasHistogram(level)) continue;
      changetype<EdgePoint>(point).histogram = <u32>(histogram - histograms) + 1;
      histogram += writeHistogram(row.histogram, histogram);
      output.histogramCount++;
    }
  }
  return histogram;
}

function sortRows(rows: usize, count: u32): void {
  for (let index: u32 = 0; index < count; index++) {
    const entry = entryAt(rows, index);
    const ends = load<u64>(entry);
    const client = nodeAt(<u32>(ends >>> 32)).outputIndex;
    const server = nodeAt(<u32>ends).outputIndex;
    store<u64>(entry, pointKey(client, server, load<u32>(entry, SERVICE_OFFSET)));
  }
  sortByKey(rows, count);
}

function writePoint(row: Row, key: u64, to: usize, window: u32): void {
  memory.copy(to, changetype<usize>(row.point), EDGE_POINT_SIZE);
  const point = changetype<EdgePoint>(to);
  point.clientNode = clientIndexOf(key);
  point.serverNode = serverIndexOf(key);
  if (point.fromWindow === NOT_LATE) point.fromWindow = window;
}

function leafProcessesBytes(window: u32): u32 {
  if (!isPutOut(Level.IdId)) return 0;
  const leaves = listOf(Level.IdId);
  let size: u32 = 0;
  for (let index: u32 = 0; index < leaves.count; index++) {
    const first = rowAt(leaves.at(index)).processes;
    if (first !== 0) size += processesBytes(first, window);
  }
  return size;
}

/** The leaves are the first of the sorted `rows`. */
function writeLeafProcesses(rows: usize, window: u32, to: usize): void {
  if (!isPutOut(Level.IdId)) return;
  let at = to;
  const count = listOf(Level.IdId).count;
  for (let index: u32 = 0; index < count; index++) {
    const first = rowAt(entryHandle(entryAt(rows, index))).processes;
    if (first !== 0) at += writeProcesses(first, index, window, at);
  }
}

function takeScratch(size: usize): usize {
  const scratch = takeBlock(size);
  if (scratch === 0) unreachable();
  return scratch;
}

function reserveBlock(size: usize): void {
  if (block !== 0 && size <= blockSize) return;
  if (block !== 0) giveBlock(block, blockSize);
  block = takeScratch(size);
  blockSize = blockBytes(size);
}

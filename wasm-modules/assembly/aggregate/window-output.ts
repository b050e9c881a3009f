// Writes the WindowOutput of a closed window: the nodes that its points name, the points of every level that is put out, and their
// histograms, in canonical order (canonical-order.ts). A point for each row that moved or has open flows; a row that lost its last
// open flow moved, so the 0 is told once.

import { nodeRecordBytes, writeNodeRecord } from '../enrich/node-channel';
import { nodeAt, nodeCount } from '../enrich/nodes';
import { EDGE_POINT_SIZE, EdgePoint, WINDOW_OUTPUT_SIZE, WindowOutput } from '../gen/records';
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
  const nodesSize = <usize>min(rowCount * 2, nodeCount()) * ENTRY_BYTES;
  const rowsSize = <usize>rowCount * ENTRY_BYTES;
  const nodes = takeScratch(nodesSize);
  const rows = takeScratch(rowsSize);
  const named = collectRows(rows, nodes);
  const nodeBytes = indexNodes(nodes, named);
  bytes = WINDOW_OUTPUT_SIZE + nodeBytes + rowCount * EDGE_POINT_SIZE + histogramBytes;
  reserveBlock(bytes);

  const output = changetype<WindowOutput>(block);
  output.window = window;
  output.nodeCount = named;
  output.nodeBytes = nodeBytes;
  output.pointCount = rowCount;
  output.histogramCount = 0;
  output.histogramBytes = histogramBytes;
  output.overflowPoints = overflowOfWindow();
  output.tallyCount = 0;
  output.labelCount = 0;
  output.labelBytes = 0;
  output.pad0 = 0;
  writeNodes(nodes, named, block + WINDOW_OUTPUT_SIZE);
  writePoints(output, rows, block + WINDOW_OUTPUT_SIZE + nodeBytes);
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

function writePoints(output: WindowOutput, rows: usize, points: usize): void {
  const histograms = points + <usize>output.pointCount * EDGE_POINT_SIZE;
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

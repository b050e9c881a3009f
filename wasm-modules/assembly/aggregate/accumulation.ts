// Adding: flows into leaves while the window is open, rows into the rows above at its end.
//
// A leaf's first RTT sample is its least: as long as it is the only one, as of most leaves where there are many, it waits there for the roll-up,
// which is at the rows above anyway.

import { nodeOfChannel } from '../enrich/node-channel';
import { otherNode } from '../enrich/nodes';
import { EDGE_FLOW_SUM_SIZE, EdgeFlow, EdgeFlowSum, EdgeRecord, Level, ReducerCounter } from '../gen/records';
import { add, count } from '../lib/counters';
import { addSample, giveHistogram, mergeHistogram, takeHistogram } from '../lib/histogram';
import { leafOfChannel, mapEdge } from './channel-edges';
import { widenSum } from './narrow-flow';
import { expirePairs } from './process-pairs';
import { addFlow, addRtt, addSums, moveRow, stillRow } from './row-sums';
import { takeRow } from './slice';
import { LEVEL_COUNT, LISTED, listOf, listRow, openWindow, Row, rowAt } from './tree';

/** Levels whose RTT samples are collected on az_az. */
const COLLECTED_LEVELS: u32 = (1 << Level.AzAz) | (1 << Level.RoleAz) | (1 << Level.AzRole) | (1 << Level.RoleRole);

let histogramLevels: u32 = 0;
let windowOverflow: u32 = 0;
/** Where rollUp or giveHistograms is: a row of a level's list, of which rollUp has kept so many. */
let level: u32 = 0;
let index: u32 = 0;
let kept: u32 = 0;

export function initAccumulation(levels: u32): void {
  histogramLevels = levels;
  windowOverflow = 0;
  level = 0;
  index = 0;
  kept = 0;
}

/** EdgeFlows of the open window that were added to an edge of (other). */
export function overflowOfWindow(): u32 {
  return windowOverflow;
}

/** `record`: the EdgeRecord behind its header, from worker `from`. Its nodes were announced on the same channel. */
export function receiveEdge(from: u32, record: usize): void {
  const received = changetype<EdgeRecord>(record);
  const client = nodeOfChannel(from, received.clientNode);
  const server = nodeOfChannel(from, received.serverNode);
  mapEdge(
    from,
    received.edge,
    client !== 0 ? client : otherNode(),
    server !== 0 ? server : otherNode(),
    <u32>received.serverPort | ((<u32>received.protocol) << 16),
  );
}

/** `record`: the EdgeFlow behind its header; `from` may be the own worker. Returns the leaf. */
export function aggregateFlow(from: u32, record: usize): u32 {
  const flow = changetype<EdgeFlow>(record);
  const handle = leafOfChannel(from, flow.edge, flow.activeDelta);
  const leaf = rowAt(handle);
  count(ReducerCounter.EdgeFlowsAdded);
  if (leaf.isOther !== 0) {
    windowOverflow++;
    count(ReducerCounter.EdgeFlowsToOther);
  }
  listRow(handle, leaf);
  moveRow(leaf);
  leaf.activeDelta += flow.activeDelta;
  addFlow(leaf, flow);
  if (flow.rttUs !== 0) sampleRtt(leaf, flow.rttUs);
  return handle;
}

/** `record`: the EdgeFlowSum behind its header, from another worker. */
export function aggregateSum(from: u32, record: usize): void {
  const sum = changetype<EdgeFlowSum>(record);
  const leaf = rowAt(aggregateFlow(from, changetype<usize>(widenSum(sum, openWindow))));
  const others = sum.flows - 1;
  leaf.flowsBoth += others;
  add(ReducerCounter.EdgeFlowsAdded, others);
  if (leaf.isOther !== 0) {
    windowOverflow += others;
    add(ReducerCounter.EdgeFlowsToOther, others);
  }
  const samples = record + EDGE_FLOW_SUM_SIZE;
  for (let index: u32 = 0; index < sum.samples; index++) sampleRtt(leaf, load<u32>(samples + ((<usize>index) << 2)));
}

/**
 * Brings the sums of the window that closes to all levels, slice by slice; true when all are. Rows that did not move and have no open flows leave
 * the lists: what they did was told with the window before.
 */
export function rollUp(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0, kept = 0) {
    const list = listOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const handle = list.at(index);
      const row = rowAt(handle);
      if (row.hasMoved()) addToAbove(row);
      else stillRow(row);
      if (row.processes !== 0) row.processes = expirePairs(row.processes, openWindow - 1);
      if (row.hasMoved() || row.active !== 0) {
        row.listed = LISTED;
        list.put(kept++, handle);
      } else {
        row.listed = 0;
        row.idleSince = openWindow - 1;
      }
    }
    list.count = kept;
  }
  level = 0;
  return true;
}

/** The window is over: gives back its histograms, slice by slice; true when all are. */
export function giveHistograms(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    if (!collectsHistogram(level)) continue;
    const list = listOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const row = rowAt(list.at(index));
      if (row.histogram !== 0) giveHistogram(row.histogram);
      row.histogram = 0;
    }
  }
  level = 0;
  windowOverflow = 0;
  return true;
}

/** For itself or for the levels above. */
function collectsHistogram(level: u32): bool {
  return hasHistogram(level) || (level >= Level.AzAz && (histogramLevels & COLLECTED_LEVELS) !== 0);
}

/** True when the histogram of the level is for the output and not only on its way up. */
export function hasHistogram(level: u32): bool {
  return ((histogramLevels >> level) & 1) !== 0;
}

function sampleRtt(leaf: Row, sampleUs: u32): void {
  if (leaf.rttCount !== 0) {
    if (leaf.rttCount === 1) collect(leaf, leaf.rttMinUs);
    collect(leaf, sampleUs);
  }
  addRtt(leaf, sampleUs);
  if ((histogramLevels & (1 << Level.IdId)) !== 0) sample(leaf, sampleUs);
  if ((histogramLevels & (1 << Level.IdAz)) !== 0) sample(rowAt(leaf.left), sampleUs);
  if ((histogramLevels & (1 << Level.AzId)) !== 0) sample(rowAt(leaf.right), sampleUs);
}

/** For the levels above. */
function collect(leaf: Row, sampleUs: u32): void {
  if ((histogramLevels & COLLECTED_LEVELS) === 0) return;
  if (leaf.collected === 0) leaf.collected = histogramAbove(leaf);
  if (leaf.collected !== 0) addSample(leaf.collected, sampleUs);
}

/** That of the az_az row; 0 when there are too many. */
function histogramAbove(leaf: Row): u32 {
  const azAz = rowAt(rowAt(leaf.left).left);
  if (azAz.histogram === 0) azAz.histogram = takeHistogram();
  return azAz.histogram;
}

function sample(row: Row, sampleUs: u32): void {
  if (row.histogram === 0) row.histogram = takeHistogram();
  if (row.histogram !== 0) addSample(row.histogram, sampleUs);
}

/** A leaf's `active` never goes below 0, and the rows above follow what the leaf really did. */
function applyActive(row: Row): void {
  const active = <i64>row.active + row.activeDelta;
  if (active < 0) {
    count(ReducerCounter.ActiveUnderflows);
    row.activeDelta = -(<i32>row.active);
    row.active = 0;
  } else {
    row.active = <u32>active;
  }
}

function addToAbove(row: Row): void {
  applyActive(row);
  if (row.level === Level.IdId && row.rttCount === 1) collect(row, row.rttMinUs);
  if (row.left !== 0) addRow(row.left, row);
  if (row.right !== 0) addRow(row.right, row);
  row.activeDelta = 0;
}

function addRow(handle: u32, row: Row): void {
  const above = rowAt(handle);
  listRow(handle, above);
  moveRow(above);
  above.activeDelta += row.activeDelta;
  addSums(above, row);
  if (row.histogram !== 0 && row.level >= Level.AzAz) addHistogram(above, row.histogram);
}

function addHistogram(above: Row, histogram: u32): void {
  const needed: u32 = above.level === Level.RoleAz ? (1 << Level.RoleAz) | (1 << Level.RoleRole) : 1 << above.level;
  if ((histogramLevels & needed) === 0) return;
  if (above.histogram === 0) above.histogram = takeHistogram();
  if (above.histogram !== 0) mergeHistogram(above.histogram, histogram);
}

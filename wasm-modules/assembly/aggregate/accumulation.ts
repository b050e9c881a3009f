// Adding: flows into leaves while the window is open, rows into the rows above at its end. Sums are integers, so the order of what is
// added does not matter; minima and maxima neither.

import { nodeOfChannel } from '../enrich/node-channel';
import { otherNode } from '../enrich/nodes';
import { CloseReason } from '../gen/kernel-events';
import { EDGE_POINT_SIZE, EdgeFlow, EdgePoint, EdgeRecord, Level, ReducerCounter } from '../gen/records';
import { count } from '../lib/counters';
import { addSample, giveHistogram, mergeHistogram, takeHistogram } from '../lib/histogram';
import { leafOfChannel, mapEdge } from './channel-edges';
import { expirePairs } from './process-pairs';
import { takeRow } from './slice';
import { LEVEL_COUNT, LISTED, listOf, listRow, NOT_LATE, Row, rowAt } from './tree';

/** Levels whose RTT samples are collected on az_az. */
const COLLECTED_LEVELS: u32 = (1 << Level.AzAz) | (1 << Level.RoleAz) | (1 << Level.AzRole) | (1 << Level.RoleRole);

let histogramLevels: u32 = 0;
let windowOverflow: u32 = 0;
/** Where rollUp or settleRows is: a row of a level's list, of which so many before it stay listed. */
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

/** `record`: the EdgeFlow behind its header; `from` may be the own worker. */
export function aggregateFlow(from: u32, record: usize): void {
  const flow = changetype<EdgeFlow>(record);
  const handle = leafOfChannel(from, flow.edge, flow.activeDelta);
  const leaf = rowAt(handle);
  count(ReducerCounter.EdgeFlowsAdded);
  if (leaf.isOther !== 0) {
    windowOverflow++;
    count(ReducerCounter.EdgeFlowsToOther);
  }
  listRow(handle, leaf);
  leaf.moved = 1;
  leaf.activeDelta += flow.activeDelta;
  addFlow(leaf.point, flow);
  if (flow.rttUs !== 0) addRtt(leaf, flow.rttUs);
}

/** Brings the closing window's sums of all leaves to all levels, slice by slice; true when all are. */
export function rollUp(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const list = listOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const row = rowAt(list.at(index));
      if (row.moved === 0) continue;
      applyActive(row);
      if (row.left !== 0) addRow(row.left, row);
      if (row.right !== 0) addRow(row.right, row);
      row.activeDelta = 0;
    }
  }
  level = 0;
  return true;
}

/** The window `closed` is over: its sums become 0, `active` stands, and only rows with open flows stay in the lists. True when all are through. */
export function settleRows(closed: u32): bool {
  for (; level < LEVEL_COUNT; level++, index = 0, kept = 0) {
    const list = listOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const handle = list.at(index);
      const row = rowAt(handle);
      if (row.moved !== 0) clearRow(row);
      if (row.processes !== 0) row.processes = expirePairs(row.processes, closed);
      if (row.point.active !== 0) {
        list.put(kept++, handle);
        row.listed = LISTED;
      } else {
        row.listed = 0;
        row.idleSince = closed;
      }
    }
    list.count = kept;
  }
  level = 0;
  windowOverflow = 0;
  return true;
}

/** True when the histogram of the level is for the output and not only on its way up. */
export function hasHistogram(level: u32): bool {
  return ((histogramLevels >> level) & 1) !== 0;
}

function addFlow(point: EdgePoint, flow: EdgeFlow): void {
  if (flow.fromWindow < point.fromWindow) point.fromWindow = flow.fromWindow;
  point.forwardBytes += flow.forwardBytes;
  point.reverseBytes += flow.reverseBytes;
  point.forwardPackets += flow.forwardPackets;
  point.reversePackets += flow.reversePackets;
  const rare =
    flow.forwardRetransmits | flow.reverseRetransmits | flow.residualBytes | flow.judgedBytes | flow.lateBytes;
  if (rare !== 0) addRare(point, flow);
  point.clientBytesSent += flow.clientBytesSent;
  point.clientBytesReceived += flow.clientBytesReceived;
  point.clientPacketsSent += flow.clientPacketsSent;
  point.clientPacketsReceived += flow.clientPacketsReceived;
  point.serverBytesSent += flow.serverBytesSent;
  point.serverBytesReceived += flow.serverBytesReceived;
  point.serverPacketsSent += flow.serverPacketsSent;
  point.serverPacketsReceived += flow.serverPacketsReceived;
  if ((flow.connections | flow.closed) !== 0) {
    point.connections += flow.connections;
    point.closed += flow.closed;
  }
  if (flow.match === 3) point.flowsBoth++;
  else if (flow.match === 1) point.flowsClient++;
  else if (flow.match === 2) point.flowsServer++;
  if (flow.reason !== CloseReason.None) addReason(point, flow);
}

function addRare(point: EdgePoint, flow: EdgeFlow): void {
  point.forwardRetransmits += flow.forwardRetransmits;
  point.reverseRetransmits += flow.reverseRetransmits;
  point.residualBytes += flow.residualBytes;
  point.judgedBytes += flow.judgedBytes;
  point.lateBytes += flow.lateBytes;
}

function addReason(point: EdgePoint, flow: EdgeFlow): void {
  const count = flow.reasonCount;
  if (flow.resetBy === 1) point.resetsClient += count;
  else if (flow.resetBy === 2) point.resetsServer += count;
  const reason = flow.reason;
  if (reason === CloseReason.ConnectRefused) point.refused += count;
  else if (reason === CloseReason.ConnectTimedOut) point.timedOut += count;
  else if (reason === CloseReason.ConnectAbandoned) point.abandoned += count;
  else if (reason === CloseReason.ConnectUnreachable) point.unreachable += count;
  else if (reason === CloseReason.ConnectOther) point.failedOther += count;
}

function addRtt(leaf: Row, sampleUs: u32): void {
  const point = leaf.point;
  point.rttMinUs = point.rttCount === 0 ? sampleUs : min(point.rttMinUs, sampleUs);
  point.rttMaxUs = max(point.rttMaxUs, sampleUs);
  point.rttCount++;
  point.rttSumUs += sampleUs;
  if ((histogramLevels & (1 << Level.IdId)) !== 0) sample(leaf, sampleUs);
  if ((histogramLevels & (1 << Level.IdAz)) !== 0) sample(rowAt(leaf.left), sampleUs);
  if ((histogramLevels & (1 << Level.AzId)) !== 0) sample(rowAt(leaf.right), sampleUs);
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
  const point = row.point;
  const active = <i64>point.active + row.activeDelta;
  if (active < 0) {
    count(ReducerCounter.ActiveUnderflows);
    row.activeDelta = -(<i64>point.active);
    point.active = 0;
  } else {
    point.active = active;
  }
}

function addRow(handle: u32, row: Row): void {
  const above = rowAt(handle);
  listRow(handle, above);
  above.moved = 1;
  above.activeDelta += row.activeDelta;
  addPoint(above.point, row.point);
  if (row.histogram !== 0 && row.level >= Level.AzAz) addHistogram(above, row.histogram);
}

export function addPoint(above: EdgePoint, point: EdgePoint): void {
  if (point.fromWindow < above.fromWindow) above.fromWindow = point.fromWindow;
  above.forwardBytes += point.forwardBytes;
  above.reverseBytes += point.reverseBytes;
  above.forwardPackets += point.forwardPackets;
  above.reversePackets += point.reversePackets;
  above.forwardRetransmits += point.forwardRetransmits;
  above.reverseRetransmits += point.reverseRetransmits;
  above.residualBytes += point.residualBytes;
  above.judgedBytes += point.judgedBytes;
  above.lateBytes += point.lateBytes;
  above.clientBytesSent += point.clientBytesSent;
  above.clientBytesReceived += point.clientBytesReceived;
  above.clientPacketsSent += point.clientPacketsSent;
  above.clientPacketsReceived += point.clientPacketsReceived;
  above.serverBytesSent += point.serverBytesSent;
  above.serverBytesReceived += point.serverBytesReceived;
  above.serverPacketsSent += point.serverPacketsSent;
  above.serverPacketsReceived += point.serverPacketsReceived;
  above.connections += point.connections;
  above.closed += point.closed;
  above.refused += point.refused;
  above.timedOut += point.timedOut;
  above.abandoned += point.abandoned;
  above.unreachable += point.unreachable;
  above.failedOther += point.failedOther;
  above.resetsClient += point.resetsClient;
  above.resetsServer += point.resetsServer;
  above.flowsBoth += point.flowsBoth;
  above.flowsClient += point.flowsClient;
  above.flowsServer += point.flowsServer;
  if (point.rttCount === 0) return;
  above.rttMinUs = above.rttCount === 0 ? point.rttMinUs : min(above.rttMinUs, point.rttMinUs);
  above.rttMaxUs = max(above.rttMaxUs, point.rttMaxUs);
  above.rttCount += point.rttCount;
  above.rttSumUs += point.rttSumUs;
}

function addHistogram(above: Row, histogram: u32): void {
  const needed: u32 = above.level === Level.RoleAz ? (1 << Level.RoleAz) | (1 << Level.RoleRole) : 1 << above.level;
  if ((histogramLevels & needed) === 0) return;
  if (above.histogram === 0) above.histogram = takeHistogram();
  if (above.histogram !== 0) mergeHistogram(above.histogram, histogram);
}

function clearRow(row: Row): void {
  const point = row.point;
  const active = point.active;
  const sums = offsetof<EdgePoint>('fromWindow');
  memory.fill(changetype<usize>(point) + sums, 0, <usize>EDGE_POINT_SIZE - sums);
  point.active = active;
  point.fromWindow = NOT_LATE;
  row.activeDelta = 0;
  row.moved = 0;
  if (row.histogram !== 0) giveHistogram(row.histogram);
  row.histogram = 0;
  row.collected = 0;
}

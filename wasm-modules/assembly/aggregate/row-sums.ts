// The sums of a row in a window, to which those of flows and of rows below are added. They are integers, so the order of what is added does not
// matter; minima and maxima neither.
//
// Nobody clears a row between windows: the first thing that moves it does, or the roll-up when nothing did.

import { CloseReason } from '../gen/kernel-events';
import { EdgeFlow } from '../gen/records';
import { isEven } from './narrow-flow';
import { giveOwn, giveRare, OwnSums, ownAt, RareSums, rareAt, takeOwn, takeRare } from './side-sums';
import { movedMark, openWindow, Row } from './tree';

const CLIENT_SEEN: u8 = 1;
const SERVER_SEEN: u8 = 2;

/** To be called before anything is added to the row. */
export function moveRow(row: Row): void {
  if (row.hasMoved()) return;
  stillRow(row);
  row.moved = movedMark;
  row.forwardBytes = 0;
  row.reverseBytes = 0;
  row.forwardPackets = 0;
  row.reversePackets = 0;
  row.connections = 0;
  row.closed = 0;
  row.flowsBoth = 0;
  row.rttCount = 0;
  row.rttMinUs = 0;
  row.rttMaxUs = 0;
  row.rttSumUs = 0;
  row.collected = 0;
}

/** What it did in the window before is over. */
export function stillRow(row: Row): void {
  if (row.moved === 0) return;
  row.moved = 0;
  row.activeDelta = 0;
  if (row.own !== 0) giveOwn(row.own);
  if (row.rare !== 0) giveRare(row.rare);
  row.own = 0;
  row.rare = 0;
}

/** All of `flow` but its round trip and what it opens. */
export function addFlow(row: Row, flow: EdgeFlow): void {
  row.forwardBytes += flow.forwardBytes;
  row.reverseBytes += flow.reverseBytes;
  addPackets(row, flow.forwardPackets, flow.reversePackets);
  if ((flow.connections | flow.closed) !== 0) addConnections(row, flow.connections, flow.closed);
  if (isEven(flow)) row.flowsBoth++;
  else addOwn(row, flow);
  const rare =
    flow.forwardRetransmits | flow.reverseRetransmits | flow.residualBytes | flow.judgedBytes | flow.lateBytes;
  if ((rare | flow.reason) !== 0 || flow.fromWindow < openWindow) addRare(rareOf(row), flow);
}

export function addRtt(row: Row, sampleUs: u32): void {
  row.rttMinUs = row.rttCount === 0 ? sampleUs : min(row.rttMinUs, sampleUs);
  row.rttMaxUs = max(row.rttMaxUs, sampleUs);
  row.rttCount++;
  addRttSum(row, sampleUs);
}

/** All sums of `below`, which moved, but what is open. */
export function addSums(row: Row, below: Row): void {
  row.forwardBytes += below.forwardBytes;
  row.reverseBytes += below.reverseBytes;
  addPackets(row, below.forwardPackets, below.reversePackets);
  addConnections(row, below.connections, below.closed);
  row.flowsBoth += below.flowsBoth;
  if (below.own !== 0) addOwnSums(ownOf(row), ownAt(below.own));
  if (below.rare !== 0) addRareSums(rareOf(row), rareAt(below.rare));
  if (below.rttCount === 0) return;
  row.rttMinUs = row.rttCount === 0 ? below.rttMinUs : min(row.rttMinUs, below.rttMinUs);
  row.rttMaxUs = max(row.rttMaxUs, below.rttMaxUs);
  row.rttCount += below.rttCount;
  addRttSum(row, below.rttSumUs);
}

/** Of both directions. */
export function bytesOf(row: Row): u64 {
  return !row.hasMoved() ? 0 : row.forwardBytes + row.reverseBytes;
}

export function failuresOf(row: Row): u64 {
  return row.rare === 0 ? 0 : rareAt(row.rare).failures;
}

function ownOf(row: Row): OwnSums {
  if (row.own === 0) row.own = takeOwn();
  return ownAt(row.own);
}

function rareOf(row: Row): RareSums {
  if (row.rare === 0) row.rare = takeRare();
  return rareAt(row.rare);
}

function addPackets(row: Row, forward: u64, reverse: u64): void {
  const forwardSum = row.forwardPackets + forward;
  const reverseSum = row.reversePackets + reverse;
  row.forwardPackets = <u32>forwardSum;
  row.reversePackets = <u32>reverseSum;
  if ((forwardSum | reverseSum) >>> 32 === 0) return;
  const rare = rareOf(row);
  rare.forwardPacketsHigh += <u32>(forwardSum >>> 32);
  rare.reversePacketsHigh += <u32>(reverseSum >>> 32);
}

function addConnections(row: Row, connections: u64, closed: u64): void {
  const connectionsSum = row.connections + connections;
  const closedSum = row.closed + closed;
  row.connections = <u32>connectionsSum;
  row.closed = <u32>closedSum;
  if ((connectionsSum | closedSum) >>> 32 === 0) return;
  const rare = rareOf(row);
  rare.connectionsHigh += <u32>(connectionsSum >>> 32);
  rare.closedHigh += <u32>(closedSum >>> 32);
}

function addRttSum(row: Row, us: u64): void {
  const sum = row.rttSumUs + us;
  row.rttSumUs = <u32>sum;
  if (sum >>> 32 !== 0) rareOf(row).rttSumUsHigh += <u32>(sum >>> 32);
}

/** Of a flow that is not even. */
function addOwn(row: Row, flow: EdgeFlow): void {
  const own = ownOf(row);
  own.clientBytesSent += flow.clientBytesSent - flow.forwardBytes;
  own.clientBytesReceived += flow.clientBytesReceived - flow.reverseBytes;
  own.clientPacketsSent += flow.clientPacketsSent - flow.forwardPackets;
  own.clientPacketsReceived += flow.clientPacketsReceived - flow.reversePackets;
  own.serverBytesSent += flow.serverBytesSent - flow.reverseBytes;
  own.serverBytesReceived += flow.serverBytesReceived - flow.forwardBytes;
  own.serverPacketsSent += flow.serverPacketsSent - flow.reversePackets;
  own.serverPacketsReceived += flow.serverPacketsReceived - flow.forwardPackets;
  if (flow.match === (CLIENT_SEEN | SERVER_SEEN)) row.flowsBoth++;
  else if (flow.match === CLIENT_SEEN) own.flowsClient++;
  else if (flow.match === SERVER_SEEN) own.flowsServer++;
}

function addOwnSums(own: OwnSums, below: OwnSums): void {
  own.clientBytesSent += below.clientBytesSent;
  own.clientBytesReceived += below.clientBytesReceived;
  own.clientPacketsSent += below.clientPacketsSent;
  own.clientPacketsReceived += below.clientPacketsReceived;
  own.serverBytesSent += below.serverBytesSent;
  own.serverBytesReceived += below.serverBytesReceived;
  own.serverPacketsSent += below.serverPacketsSent;
  own.serverPacketsReceived += below.serverPacketsReceived;
  own.flowsClient += below.flowsClient;
  own.flowsServer += below.flowsServer;
}

function addRare(rare: RareSums, flow: EdgeFlow): void {
  rare.forwardRetransmits += flow.forwardRetransmits;
  rare.reverseRetransmits += flow.reverseRetransmits;
  rare.residualBytes += flow.residualBytes;
  rare.judgedBytes += flow.judgedBytes;
  rare.lateBytes += flow.lateBytes;
  if (flow.fromWindow < openWindow) rare.fromWindow = min(rare.fromWindow, flow.fromWindow);
  if (flow.reason !== CloseReason.None) addReason(rare, flow);
}

function addReason(rare: RareSums, flow: EdgeFlow): void {
  const count = flow.reasonCount;
  if (flow.resetBy === CLIENT_SEEN) rare.resetsClient += count;
  else if (flow.resetBy === SERVER_SEEN) rare.resetsServer += count;
  const reason = flow.reason;
  if (reason === CloseReason.ConnectRefused) rare.refused += count;
  else if (reason === CloseReason.ConnectTimedOut) rare.timedOut += count;
  else if (reason === CloseReason.ConnectAbandoned) rare.abandoned += count;
  else if (reason === CloseReason.ConnectUnreachable) rare.unreachable += count;
  else if (reason === CloseReason.ConnectOther) rare.failedOther += count;
}

function addRareSums(rare: RareSums, below: RareSums): void {
  rare.forwardRetransmits += below.forwardRetransmits;
  rare.reverseRetransmits += below.reverseRetransmits;
  rare.residualBytes += below.residualBytes;
  rare.judgedBytes += below.judgedBytes;
  rare.lateBytes += below.lateBytes;
  rare.refused += below.refused;
  rare.timedOut += below.timedOut;
  rare.abandoned += below.abandoned;
  rare.unreachable += below.unreachable;
  rare.failedOther += below.failedOther;
  rare.resetsClient += below.resetsClient;
  rare.resetsServer += below.resetsServer;
  rare.fromWindow = min(rare.fromWindow, below.fromWindow);
  rare.forwardPacketsHigh += below.forwardPacketsHigh;
  rare.reversePacketsHigh += below.reversePacketsHigh;
  rare.connectionsHigh += below.connectionsHigh;
  rare.closedHigh += below.closedHigh;
  rare.rttSumUsHigh += below.rttSumUsHigh;
}

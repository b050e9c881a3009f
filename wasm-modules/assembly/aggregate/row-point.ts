// A row's sums of a window as an EdgePoint.

import { EDGE_POINT_SIZE, EdgePoint } from '../gen/records';
import { NOT_LATE, OwnSums, ownAt, RareSums, rareAt } from './side-sums';
import { Row } from './tree';

/** All of `point` but its nodes and histogram, which becomes none. */
export function pointOfRowInto(point: EdgePoint, row: Row, window: u32): void {
  if (row.hasMoved()) sumsInto(point, row);
  else memory.fill(changetype<usize>(point), 0, EDGE_POINT_SIZE);
  point.level = row.level;
  point.protocol = <u8>(row.service >>> 16);
  point.serverPort = <u16>row.service;
  point.active = <i64>row.active + row.activeDelta;
  point.fromWindow = window;
  if (row.rare !== 0) rareInto(point, rareAt(row.rare));
  if (row.own !== 0) ownInto(point, ownAt(row.own));
}

function sumsInto(point: EdgePoint, row: Row): void {
  point.forwardBytes = row.forwardBytes;
  point.reverseBytes = row.reverseBytes;
  point.forwardPackets = row.forwardPackets;
  point.reversePackets = row.reversePackets;
  point.connections = row.connections;
  point.closed = row.closed;
  point.flowsBoth = row.flowsBoth;
  point.flowsClient = 0;
  point.flowsServer = 0;
  point.rttCount = row.rttCount;
  point.rttMinUs = row.rttMinUs;
  point.rttMaxUs = row.rttMaxUs;
  point.rttSumUs = row.rttSumUs;
  point.histogram = 0;
  clearRare(point);
  bookedAsOwn(point);
}

function clearRare(point: EdgePoint): void {
  point.forwardRetransmits = 0;
  point.reverseRetransmits = 0;
  point.residualBytes = 0;
  point.judgedBytes = 0;
  point.lateBytes = 0;
  point.refused = 0;
  point.timedOut = 0;
  point.abandoned = 0;
  point.unreachable = 0;
  point.failedOther = 0;
  point.resetsClient = 0;
  point.resetsServer = 0;
}

function rareInto(point: EdgePoint, rare: RareSums): void {
  if (rare.fromWindow !== NOT_LATE) point.fromWindow = rare.fromWindow;
  point.forwardRetransmits = rare.forwardRetransmits;
  point.reverseRetransmits = rare.reverseRetransmits;
  point.residualBytes = rare.residualBytes;
  point.judgedBytes = rare.judgedBytes;
  point.lateBytes = rare.lateBytes;
  point.refused = rare.refused;
  point.timedOut = rare.timedOut;
  point.abandoned = rare.abandoned;
  point.unreachable = rare.unreachable;
  point.failedOther = rare.failedOther;
  point.resetsClient = rare.resetsClient;
  point.resetsServer = rare.resetsServer;
  point.forwardPackets += (<u64>rare.forwardPacketsHigh) << 32;
  point.reversePackets += (<u64>rare.reversePacketsHigh) << 32;
  point.connections += (<u64>rare.connectionsHigh) << 32;
  point.closed += (<u64>rare.closedHigh) << 32;
  point.rttSumUs += (<u64>rare.rttSumUsHigh) << 32;
  bookedAsOwn(point);
}

function bookedAsOwn(point: EdgePoint): void {
  point.clientBytesSent = point.forwardBytes;
  point.clientBytesReceived = point.reverseBytes;
  point.clientPacketsSent = point.forwardPackets;
  point.clientPacketsReceived = point.reversePackets;
  point.serverBytesSent = point.reverseBytes;
  point.serverBytesReceived = point.forwardBytes;
  point.serverPacketsSent = point.reversePackets;
  point.serverPacketsReceived = point.forwardPackets;
}

function ownInto(point: EdgePoint, own: OwnSums): void {
  point.clientBytesSent += own.clientBytesSent;
  point.clientBytesReceived += own.clientBytesReceived;
  point.clientPacketsSent += own.clientPacketsSent;
  point.clientPacketsReceived += own.clientPacketsReceived;
  point.serverBytesSent += own.serverBytesSent;
  point.serverBytesReceived += own.serverBytesReceived;
  point.serverPacketsSent += own.serverPacketsSent;
  point.serverPacketsReceived += own.serverPacketsReceived;
  point.flowsClient = own.flowsClient;
  point.flowsServer = own.flowsServer;
}

// Most flows of a window have small sums and nothing that is rare: on the way to another worker they take 72 bytes and not 176, and 40 when
// both ends say by themselves what is booked. A connection that lived within the window is judged for all of that.
import { CloseReason } from '../gen/kernel-events';
import { EDGE_FLOW_SIZE, EdgeFlow, EdgeFlowEven, EdgeFlowNarrow, EdgeFlowSum } from '../gen/records';

/** `match` of a flow of which both ends were seen. */
const BOTH_ENDS: u8 = 3;
/** Beside them in an EdgeFlowNarrow. */
const JUDGED: u8 = 4;
/** What `widenFlow`, `widenEven` and `widenSum` return: of it only `judgedBytes` and the fields of an EdgeFlowNarrow are ever written. */
const wide: EdgeFlow = changetype<EdgeFlow>(memory.data(<i32>EDGE_FLOW_SIZE, 8));

/** True when an EdgeFlowNarrow says all of it. */
export function isNarrow(flow: EdgeFlow): bool {
  const booked = flow.forwardBytes | flow.reverseBytes | flow.forwardPackets | flow.reversePackets;
  const client = flow.clientBytesSent | flow.clientBytesReceived | flow.clientPacketsSent | flow.clientPacketsReceived;
  const server = flow.serverBytesSent | flow.serverBytesReceived | flow.serverPacketsSent | flow.serverPacketsReceived;
  const rare = flow.forwardRetransmits | flow.reverseRetransmits | flow.residualBytes | flow.lateBytes;
  return (
    (flow.judgedBytes === 0 || isJudgedForAll(flow)) &&
    (((booked | client | server) >>> 32) | rare) === 0 &&
    (flow.connections | flow.closed) <= <u32>u8.MAX_VALUE &&
    flow.reason === CloseReason.None &&
    flow.activeDelta === <i32>(<i8>flow.activeDelta)
  );
}

function isJudgedForAll(flow: EdgeFlow): bool {
  return flow.judgedBytes === flow.forwardBytes + flow.reverseBytes;
}

/** True when an EdgeFlowEven says all of `flow`, which is narrow. */
export function isEven(flow: EdgeFlow): bool {
  const client =
    (flow.clientBytesSent ^ flow.forwardBytes) |
    (flow.clientBytesReceived ^ flow.reverseBytes) |
    (flow.clientPacketsSent ^ flow.forwardPackets) |
    (flow.clientPacketsReceived ^ flow.reversePackets);
  const server =
    (flow.serverBytesSent ^ flow.reverseBytes) |
    (flow.serverBytesReceived ^ flow.forwardBytes) |
    (flow.serverPacketsSent ^ flow.reversePackets) |
    (flow.serverPacketsReceived ^ flow.forwardPackets);
  return (client | server) === 0 && flow.match === BOTH_ENDS;
}

/** `flow` is narrow and even. */
export function evenFlowInto(even: EdgeFlowEven, flow: EdgeFlow): void {
  even.edge = flow.edge;
  even.fromWindow = flow.fromWindow;
  even.forwardBytes = <u32>flow.forwardBytes;
  even.reverseBytes = <u32>flow.reverseBytes;
  even.forwardPackets = <u32>flow.forwardPackets;
  even.reversePackets = <u32>flow.reversePackets;
  even.rttUs = flow.rttUs;
  even.connections = <u8>flow.connections;
  even.closed = <u8>flow.closed;
  even.activeDelta = <i8>flow.activeDelta;
  even.judged = u8(flow.judgedBytes !== 0);
}

/** `flow` is narrow. */
export function narrowFlowInto(narrow: EdgeFlowNarrow, flow: EdgeFlow): void {
  narrow.edge = flow.edge;
  narrow.fromWindow = flow.fromWindow;
  narrow.forwardBytes = <u32>flow.forwardBytes;
  narrow.reverseBytes = <u32>flow.reverseBytes;
  narrow.forwardPackets = <u32>flow.forwardPackets;
  narrow.reversePackets = <u32>flow.reversePackets;
  narrow.rttUs = flow.rttUs;
  narrow.clientBytesSent = <u32>flow.clientBytesSent;
  narrow.clientBytesReceived = <u32>flow.clientBytesReceived;
  narrow.clientPacketsSent = <u32>flow.clientPacketsSent;
  narrow.clientPacketsReceived = <u32>flow.clientPacketsReceived;
  narrow.serverBytesSent = <u32>flow.serverBytesSent;
  narrow.serverBytesReceived = <u32>flow.serverBytesReceived;
  narrow.serverPacketsSent = <u32>flow.serverPacketsSent;
  narrow.serverPacketsReceived = <u32>flow.serverPacketsReceived;
  narrow.connections = <u8>flow.connections;
  narrow.closed = <u8>flow.closed;
  narrow.activeDelta = <i8>flow.activeDelta;
  narrow.match = flow.match | (flow.judgedBytes !== 0 ? JUDGED : 0);
}

/** The flow that `narrow` was made of; valid until the next call. */
export function widenFlow(narrow: EdgeFlowNarrow): EdgeFlow {
  wide.edge = narrow.edge;
  wide.fromWindow = narrow.fromWindow;
  wide.forwardBytes = narrow.forwardBytes;
  wide.reverseBytes = narrow.reverseBytes;
  wide.forwardPackets = narrow.forwardPackets;
  wide.reversePackets = narrow.reversePackets;
  wide.rttUs = narrow.rttUs;
  wide.clientBytesSent = narrow.clientBytesSent;
  wide.clientBytesReceived = narrow.clientBytesReceived;
  wide.clientPacketsSent = narrow.clientPacketsSent;
  wide.clientPacketsReceived = narrow.clientPacketsReceived;
  wide.serverBytesSent = narrow.serverBytesSent;
  wide.serverBytesReceived = narrow.serverBytesReceived;
  wide.serverPacketsSent = narrow.serverPacketsSent;
  wide.serverPacketsReceived = narrow.serverPacketsReceived;
  wide.connections = narrow.connections;
  wide.closed = narrow.closed;
  wide.activeDelta = narrow.activeDelta;
  wide.match = narrow.match & BOTH_ENDS;
  wide.judgedBytes = (narrow.match & JUDGED) !== 0 ? wide.forwardBytes + wide.reverseBytes : 0;
  return wide;
}

/** The flow that `even` was made of; valid until the next call. */
export function widenEven(even: EdgeFlowEven): EdgeFlow {
  widenBooked(even.forwardBytes, even.reverseBytes, even.forwardPackets, even.reversePackets);
  wide.edge = even.edge;
  wide.fromWindow = even.fromWindow;
  wide.rttUs = even.rttUs;
  wide.connections = even.connections;
  wide.closed = even.closed;
  wide.activeDelta = even.activeDelta;
  wide.judgedBytes = even.judged !== 0 ? wide.forwardBytes + wide.reverseBytes : 0;
  return wide;
}

/** One flow of `window` that says all of `sum` but its round trips; valid until the next call. */
export function widenSum(sum: EdgeFlowSum, window: u32): EdgeFlow {
  widenBooked(sum.forwardBytes, sum.reverseBytes, sum.forwardPackets, sum.reversePackets);
  wide.edge = sum.edge;
  wide.fromWindow = window;
  wide.rttUs = 0;
  wide.connections = sum.connections;
  wide.closed = sum.closed;
  wide.activeDelta = sum.activeDelta;
  wide.judgedBytes = 0;
  return wide;
}

/** Both ends say themselves what is booked. */
function widenBooked(forwardBytes: u64, reverseBytes: u64, forwardPackets: u64, reversePackets: u64): void {
  wide.forwardBytes = forwardBytes;
  wide.reverseBytes = reverseBytes;
  wide.forwardPackets = forwardPackets;
  wide.reversePackets = reversePackets;
  wide.clientBytesSent = forwardBytes;
  wide.clientBytesReceived = reverseBytes;
  wide.clientPacketsSent = forwardPackets;
  wide.clientPacketsReceived = reversePackets;
  wide.serverBytesSent = reverseBytes;
  wide.serverBytesReceived = forwardBytes;
  wide.serverPacketsSent = reversePackets;
  wide.serverPacketsReceived = forwardPackets;
  wide.match = BOTH_ENDS;
}

// Most flows of a window have small sums and nothing that is rare: on the way to another worker they take 72 bytes and not 176.
import { CloseReason } from '../gen/kernel-events';
import { EDGE_FLOW_SIZE, EdgeFlow, EdgeFlowNarrow } from '../gen/records';

/** What `widenFlow` returns: of it only the fields of an EdgeFlowNarrow are ever written. */
const wide: EdgeFlow = changetype<EdgeFlow>(memory.data(<i32>EDGE_FLOW_SIZE, 8));

/** True when an EdgeFlowNarrow says all of it. */
export function isNarrow(flow: EdgeFlow): bool {
  const booked = flow.forwardBytes | flow.reverseBytes | flow.forwardPackets | flow.reversePackets;
  const client = flow.clientBytesSent | flow.clientBytesReceived | flow.clientPacketsSent | flow.clientPacketsReceived;
  const server = flow.serverBytesSent | flow.serverBytesReceived | flow.serverPacketsSent | flow.serverPacketsReceived;
  const rare =
    flow.forwardRetransmits | flow.reverseRetransmits | flow.residualBytes | flow.judgedBytes | flow.lateBytes;
  return (
    (((booked | client | server) >>> 32) | rare) === 0 &&
    (flow.connections | flow.closed) <= <u32>u8.MAX_VALUE &&
    flow.reason === CloseReason.None &&
    flow.activeDelta === <i32>(<i8>flow.activeDelta)
  );
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
  narrow.match = flow.match;
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
  wide.match = narrow.match;
  return wide;
}

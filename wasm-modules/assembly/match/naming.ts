// Which edge a flow is on. An end that is looked at is its owner; one that is not is whoever has its address, or the name that
// the other end asked for. Names are taken at the close, and a flow keeps its edge until something that names it has changed: an end of its
// own, or any announced address.
import { edgeOf } from '../aggregate/edges';
import { nodeOfAddress } from '../enrich/address-table';
import {
  coldEndAt,
  coldFlowAt,
  END_SETTLED,
  endAt,
  FLOW_RENAMED,
  FLOW_UNORIENTED,
  Flow,
  FlowCold,
  flowAt,
} from './flow';

/** Ports below are services when the other is not: the start of Linux' ephemeral range. */
export const EPHEMERAL_PORT_MIN: u16 = 32768;

let version: u32 = 1;
/** Closes that must still look again: an address that ends names the window in which it ends, and not the next. */
let staleCloses: u32 = 0;

/** An announced address came or went. */
export function noteNameChange(): void {
  staleCloses = 2;
}

export function beginNaming(): void {
  if (staleCloses === 0) return;
  staleCloses--;
  version++;
}

/** True when the flow's edge must be looked up again. */
export function isStale(hot: Flow, cold: FlowCold): bool {
  return hot.edge === 0 || (cold.flags & FLOW_RENAMED) !== 0 || cold.namedVersion !== version;
}

/** The edge, borrowed; 0 when no end of the flow has a tuple. */
export function findEdge(flow: u32): u32 {
  const hot = flowAt(flow);
  const cold = coldFlowAt(flow);
  cold.flags &= ~FLOW_RENAMED;
  cold.namedVersion = version;
  const client = hot.endAt(cold.clientSlot);
  const server = hot.endAt(1 - cold.clientSlot);
  if (!hasTuple(client) && !hasTuple(server)) return 0;
  const protocol = coldEndAt(hasTuple(client) ? client : server).protocol;
  return edgeOf(nodeOfEnd(client, server), nodeOfEnd(server, client), serverPort(cold.flags, client, server), protocol);
}

function hasTuple(end: u32): bool {
  return end !== 0 && (endAt(end).flags & END_SETTLED) === 0;
}

function nodeOfEnd(end: u32, other: u32): u32 {
  if (!hasTuple(end)) {
    const cold = coldEndAt(other);
    return nodeOfAddress(cold.remote.high, cold.remote.low, cold.from.addressSpace, cold.remoteNode);
  }
  if (endAt(end).node !== 0) return endAt(end).node;
  const from = coldEndAt(end).from;
  return nodeOfAddress(from.localHigh, from.localLow, from.addressSpace, 0);
}

/** The server's own word first: on the way to it the port may have been translated. */
function serverPort(flags: u16, client: u32, server: u32): u32 {
  const port = hasTuple(server) ? coldEndAt(server).localPort : coldEndAt(client).remotePort;
  if ((flags & FLOW_UNORIENTED) === 0) return port;
  const other = hasTuple(server) ? coldEndAt(server).remotePort : coldEndAt(client).localPort;
  return port < EPHEMERAL_PORT_MIN && other >= EPHEMERAL_PORT_MIN ? port : 0;
}

// Edges of the finest level: (client node, server node, protocol, server port). The match side interns them here and sends what flows
// add; the owner of a role pair keeps the row. An edge is borrowed like a node: valid until the next `aggregateClose` unless retained.
// A flow keeps its edge retained while it is open, so that the +1 and the -1 of `active_delta` reach the same row; a flow that is
// named anew moves with a -1 on the old edge and a +1 on the new one.

/** Bytes that `announceEdge` writes at most: two NodeRecords and the EdgeRecord. */
export const EDGE_ANNOUNCEMENT_BYTES_MAX: u32 = 4120;

export function edgeOf(clientNode: u32, serverNode: u32, serverPort: u32, protocol: u32): u32 {
  return unreachable();
}

export function retainEdge(edge: u32): void {
  unreachable();
}

export function releaseEdge(edge: u32): void {
  unreachable();
}

/** The worker that keeps the edge's rows: by hash of the role pair, without the seed. */
export function edgeWorker(edge: u32): u32 {
  return unreachable();
}

/**
 * Call before every EdgeFlow of `edge`. Writes at `to` what its owner must know first and does not (anymore); returns the bytes, mostly
 * 0. When this worker is the owner it is told directly and 0 returned.
 */
export function announceEdge(edge: u32, to: usize): u32 {
  return unreachable();
}

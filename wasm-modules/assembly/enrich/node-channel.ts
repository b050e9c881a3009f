// Nodes cross to other workers as NodeRecords; a channel handle is the handle of the sending worker, so both hops between two workers
// share one map. The map entry of a handle is valid for the 30 windows after its record, hence `claimAnnounce`.

/** Bytes that `writeNode` needs at most, header included. */
export const NODE_RECORD_BYTES_MAX: u32 = 2048;

/** True when the caller must write the NodeRecord to `worker` before it names the node there; counts as done. False for the own worker. */
export function claimAnnounce(node: u32, worker: u32): bool {
  return unreachable();
}

/** Writes header and NodeRecord at `to`; returns the bytes, a multiple of 8. */
export function writeNode(node: u32, to: usize): u32 {
  return unreachable();
}

/** `record`: the NodeRecord behind its header. */
export function receiveNode(from: u32, record: usize): void {
  unreachable();
}

/** The node here (borrowed) of a handle of worker `from`; itself for the own worker; 0 when nothing was announced. */
export function nodeOfChannel(from: u32, handle: u32): u32 {
  return unreachable();
}

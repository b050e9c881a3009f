// What flows add to the tree in the open window.

/** `record`: the EdgeRecord behind its header, from worker `from`. */
export function receiveEdge(from: u32, record: usize): void {
  unreachable();
}

/** `record`: the EdgeFlow behind its header; `from` may be the own worker. */
export function aggregateFlow(from: u32, record: usize): void {
  unreachable();
}

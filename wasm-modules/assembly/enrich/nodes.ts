// The nodes of this worker. Handle 0 = none.

export function initNodes(worker: u32, workers: u32): void {
  unreachable();
}

/** Keeps the node beyond the window. Every retain has one release. 0 is allowed and nothing happens. */
export function retainNode(node: u32): void {
  unreachable();
}

export function releaseNode(node: u32): void {
  unreachable();
}

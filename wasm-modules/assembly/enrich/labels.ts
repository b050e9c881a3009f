// Names an end by what the agent knows of its owner. Ladder, best first: container, systemd unit, process, host. All texts are UTF-8
// as (address, bytes); they are copied when they are new, cut at their limits on a character boundary.
//
// A returned node is borrowed: it is valid until the next `aggregateClose`, and longer only between `retainNode` and `releaseNode`
// (enrich/nodes.ts). Whoever stores a node handle beyond the window retains it.

/** The host an agent runs on, in its zone. Also the node of whatever is known to be there and nothing more. */
export function nodeOfHost(name: usize, nameBytes: u32, zone: usize, zoneBytes: u32): u32 {
  return unreachable();
}

/** The owner of a socket on `host` (from `nodeOfHost`). Texts that are not known are empty; all empty gives `host` itself. */
export function nodeOfProcess(
  host: u32,
  comm: usize,
  commBytes: u32,
  executable: usize,
  executableBytes: u32,
  unit: usize,
  unitBytes: u32,
  container: usize,
  containerBytes: u32,
): u32 {
  return unreachable();
}

// The pairs of onces that a shard books next are looked at before: which edge they are on, its leaf, and the leaf's tallies. The edges of
// connections that come one after another lie anywhere, so each of these steps is made for a whole group before the next step, and the core waits
// for all rows of a step at once. What is looked at is a guess, on which no result depends.
import { edgeHome } from '../aggregate/edges';
import { touchTallies } from '../aggregate/leaf-look-ahead';
import { rowAt, touchRow } from '../aggregate/tree';
import { Role } from '../gen/kernel-events';
import { keepLoads } from '../lib/keep-loads';
import { isOwnEdge, likelyLeaf } from './emit';
import { GROUP_SIZE } from './look-ahead';
import { TAKEN_ONCE, WaitingOnce } from './onces';
import { firstWaiting, nextWaiting } from './shard-onces';

/** What the step before found for each pair, u32; 0 = nothing. */
const found: usize = memory.data(<i32>GROUP_SIZE * 4, 4);

/** The rows of what `takeOnce` gives next. Returns how many onces they are, at most GROUP_SIZE. */
export function expectOnces(shard: u32): u32 {
  let size: u32 = 0;
  let pairs: u32 = 0;
  for (let at = firstWaiting(shard); at !== 0 && size < GROUP_SIZE; at = nextWaiting(shard)) {
    const waiting = changetype<WaitingOnce>(at);
    if (waiting.other === TAKEN_ONCE) continue;
    size++;
    if (waiting.other !== 0) keep(pairs++, <u32>homeOf(waiting, changetype<WaitingOnce>(waiting.other)));
  }
  if (pairs !== 0) expectLeaves(pairs);
  return size;
}

/** Where the edge of the connection is probably named. */
function homeOf(once: WaitingOnce, other: WaitingOnce): usize {
  const client = once.role === Role.Server ? other : once;
  const server = once.role === Role.Server ? once : other;
  return edgeHome(client.node, server.node, server.localPort, server.protocol);
}

/**
 * Which worker keeps an edge is random, and a branch on it would be guessed wrong half of the time, at each step: so what is of others is overwritten by what
 * comes after it.
 */
function expectLeaves(size: u32): void {
  for (let index: u32 = 0; index < size; index++) keep(index, load<u32>(<usize>kept(index)));
  let own: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    const edge = kept(index);
    if (edge === 0) continue;
    keep(own, edge);
    own += u32(isOwnEdge(edge));
  }
  let leaves: u32 = 0;
  for (let index: u32 = 0; index < own; index++) {
    const leaf = likelyLeaf(kept(index));
    keep(leaves, leaf);
    leaves += u32(leaf !== 0);
  }
  let sum: u32 = 0;
  for (let index: u32 = 0; index < leaves; index++) sum |= touchRow(rowAt(kept(index)));
  keepLoads(sum | touchTallies(found, leaves));
}

function keep(index: u32, what: u32): void {
  store<u32>(found + ((<usize>index) << 2), what);
}

function kept(index: u32): u32 {
  return load<u32>(found + ((<usize>index) << 2));
}

// What an edge handle of a match side means here: a leaf. A record for a handle replaces what it meant before, unless flows opened
// through the handle are still open: they close on the leaf that counts them as active, also when that is (other).

import { WORKER_COUNT_MAX } from '../enrich/node-channel';
import { idNodeOf, processWithin } from '../enrich/nodes';
import { ReducerCounter } from '../gen/records';
import { allocate } from '../lib/arena';
import { count } from '../lib/counters';
import { RowPool } from '../lib/row-pool';
import { EDGE_COUNT_MAX, OTHER_EDGE_COUNT } from './limits';
import { addPair, findPair, movePair } from './process-pairs';
import { leafOf, otherLeaf, Row, rowAt } from './tree';

@unmanaged
class ChannelEdge {
  leaf: u32;
  generation: u32;
  /** Open flows that came through this handle. */
  active: i64;
  /** The leaf's pair of executables that flows of this edge are of; 0 = none. */
  processes: u32;
  /** The window in which that pair was last told that a flow moved: its row is in no cache. */
  movedIn: u32;
}

const NO_WINDOW: u32 = 0xffffffff;

/** RowPool by worker, made for a worker's first record. */
let channels: usize = 0;
let window: u32 = 0;

export function initChannelEdges(openWindow: u32): void {
  channels = allocate(WORKER_COUNT_MAX * sizeof<usize>());
  window = openWindow;
}

export function openChannelWindow(opened: u32): void {
  window = opened;
}

/** From now on `edge` of worker `from` means this edge. `service`: server port | protocol << 16. */
export function mapEdge(from: u32, edge: u32, clientNode: u32, serverNode: u32, service: u32): void {
  const at = channelOf(from).reach(edge);
  if (at === 0) return;
  const entry = changetype<ChannelEdge>(at);
  if (isCurrent(entry) && entry.active !== 0) return;
  entry.leaf = leafOf(idNodeOf(clientNode), idNodeOf(serverNode), service, window);
  entry.generation = rowAt(entry.leaf).generation;
  entry.active = 0;
  entry.movedIn = NO_WINDOW;
  entry.processes = processesOf(rowAt(entry.leaf), processWithin(clientNode), processWithin(serverNode));
}

function processesOf(leaf: Row, client: u32, server: u32): u32 {
  if ((client | server) === 0 || leaf.isOther !== 0) return 0;
  const known = findPair(leaf.processes, client, server, window);
  if (known !== 0) return known;
  const added = addPair(leaf.processes, client, server, window);
  if (added !== 0) leaf.processes = added;
  return added;
}

/** The leaf of a handle, (other) for one that was not announced; `activeDelta` is what the flow at hand adds to the open flows. */
export function leafOfChannel(from: u32, edge: u32, activeDelta: i32): u32 {
  const at = channelOf(from).reach(edge);
  if (at !== 0) {
    const entry = changetype<ChannelEdge>(at);
    if (isCurrent(entry)) {
      if (activeDelta !== 0) entry.active += activeDelta;
      if (entry.processes !== 0 && (activeDelta !== 0 || entry.movedIn !== window)) {
        entry.movedIn = window;
        movePair(entry.processes, activeDelta, window);
      }
      return entry.leaf;
    }
  }
  count(ReducerCounter.ChannelEdgesUnknown);
  return otherLeaf(0, window);
}

/** What `edge` meant when it was told last, for who only looks ahead; 0 = it was never told. */
export function lastLeafOf(from: u32, edge: u32): u32 {
  const at = channelOf(from).reach(edge);
  return at === 0 ? 0 : changetype<ChannelEdge>(at).leaf;
}

function isCurrent(entry: ChannelEdge): bool {
  return entry.leaf !== 0 && rowAt(entry.leaf).generation === entry.generation;
}

function channelOf(from: u32): RowPool {
  const slot = channels + <usize>from * sizeof<usize>();
  if (load<usize>(slot) === 0) {
    store<usize>(slot, changetype<usize>(RowPool.create(offsetof<ChannelEdge>(), EDGE_COUNT_MAX + OTHER_EDGE_COUNT)));
  }
  return changetype<RowPool>(load<usize>(slot));
}

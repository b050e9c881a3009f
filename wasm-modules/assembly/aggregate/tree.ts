// The tree: an edge of two nodes and the six coarser edges above it. Each level has rows of its own; `az` is a role in a zone.
//
//                 id_id                  A row adds what it got in a window into the rows it points to, once, at the window's
//                /     \                 end, so every level sums up to the leaves. The arrows are stored when a row is made:
//             id_az   az_id              later nothing is hashed. Following the shortest way, coarser levels get fewer adds
//               |                        than there are leaves.
//             az_az
//             /   \                      Lifetime: a row lives while rows point to it; a leaf while a flow is open on it and
//        role_az  az_role                for EDGE_IDLE_WINDOWS after it, or as (other) what is above it, moved last.
//           |
//       role_role

import { azNodeOf, isOther, otherNode, releaseNode, retainNode, roleNodeOf } from '../enrich/nodes';
import { Level, ReducerCounter } from '../gen/records';
import { allocate, growBlock } from '../lib/arena';
import { count, set } from '../lib/counters';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { EDGE_IDLE_WINDOWS, OTHER_EDGE_COUNT } from './limits';
import { dropPairs } from './process-pairs';
import { initSideSums } from './side-sums';

export const LEVEL_COUNT: u32 = 7;
export const LISTED: u8 = 1;
export const FOLDED: u8 = 2;

/**
 * Two cache lines. The first is what every pass over rows needs; of the second only `since` and `namesHash` stand, the others are of the window
 * that `moved` tells (row-sums.ts).
 */
@unmanaged
export class Row {
  /** Rows that point to this one. A free row keeps its list here. */
  refs: u32;
  /** Retained. 0 = the row is free. */
  clientNode: u32;
  serverNode: u32;
  /** Server port | protocol << 16. */
  service: u32;
  level: u8;
  /** LISTED = in its level's list: it moved in the open window or the one before, or has open flows; FOLDED = and it is left out of that window's output. */
  listed: u8;
  /** `movedMark` of the window in which something was added last, the open one or the one before; 0 = earlier. */
  moved: u8;
  /** 1 = one of its nodes is (other). */
  isOther: u8;
  /** Where its sums go; 0 = nowhere. */
  left: u32;
  right: u32;
  /** Of the open window, or 0. */
  histogram: u32;
  /** Tells who had the handle before. */
  generation: u32;
  /** Of a row that is not listed: the last window in which it moved or had open flows. */
  idleSince: u32;
  /** Of a leaf: its first tally (tallies.ts), most of them few; 0 = none. */
  tallies: u32;
  /** Of a leaf: its first pair of executables (process-pairs.ts); 0 = none. */
  processes: u32;
  /** OwnSums and RareSums of the window that `moved` tells (side-sums.ts); 0 = none. */
  own: u32;
  rare: u32;
  /** Open flows, of which each takes memory of a worker, so that all workers' are far below 2^31. */
  active: u32;
  /** What the open window adds to `active`; once it is added, of (other): what the rows that are folded into it have open. */
  activeDelta: i32;

  forwardBytes: u64;
  reverseBytes: u64;
  /** The lower halves of sums of 64 bits, like `connections`, `closed` and `rttSumUs`: the upper ones, once there are any, are in `rare`. */
  forwardPackets: u32;
  reversePackets: u32;
  connections: u32;
  closed: u32;
  flowsBoth: u32;
  rttCount: u32;
  rttMinUs: u32;
  rttMaxUs: u32;
  rttSumUs: u32;
  /** Of a leaf: the histogram of its az_az row, which collects the RTT samples for the levels above; or 0. */
  collected: u32;
  /** The window since which every window has listed it. */
  since: u32;
  /** Of what its ends are called (names-hash.ts); 0 = nobody has needed it. */
  namesHash: u32;

  /** In the open window. */
  hasMoved(): bool {
    return this.moved === movedMark;
  }

  isIdleLeaf(): bool {
    return this.level === Level.IdId && this.listed === 0 && this.tallies === 0 && this.clientNode !== 0;
  }
}

if (offsetof<Row>() !== 128 || offsetof<Row>('forwardBytes') !== 64) ERROR('a row is two cache lines');

/** Handles of rows, one after another, so that a pass over them need not wait for one row to find the next. */
@unmanaged
export class RowList {
  rows: usize;
  count: u32;
  capacity: u32;

  at(index: u32): u32 {
    return load<u32>(this.rows + <usize>index * 4);
  }

  /** `index` is below `capacity`. */
  put(index: u32, row: u32): void {
    store<u32>(this.rows + <usize>index * 4, row);
  }

  grow(): void {
    const bytes = <usize>this.capacity * 4;
    const grown = growBlock(this.rows, bytes, bytes, bytes === 0 ? LIST_BYTES_FIRST : bytes * 2);
    if (grown === 0) unreachable();
    this.rows = grown;
    this.capacity = bytes === 0 ? <u32>LIST_BYTES_FIRST / 4 : this.capacity * 2;
  }
}

const LIST_BYTES_FIRST: usize = 4096;
/** Rows that a sweep at a window's end looks at, at least; a sixteenth of all when that is more. */
const SWEEP_ROWS_MIN: u32 = 4096;

/** Loads from both of its cache lines. */
export function touchRow(row: Row): u32 {
  const at = changetype<usize>(row);
  return load<u32>(at) | load<u32>(at, 64);
}

const pool: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
let table: OpenTable = changetype<OpenTable>(0);
/** RowList of each level. */
let lists: usize = 0;
let sweepCursor: u32 = 1;
let leafCountMax: u32 = 0;
let leaves: u32 = 0;
export let openWindow: u32 = 0;
/** What `Row.moved` is when it moved in the open window: 1 and 2 in turn, so that a window's rows need not be looked at for the next one. */
export let movedMark: u8 = 0;

export function initTree(edgeCountMax: u32, firstWindow: u32): void {
  const rowCountMax = LEVEL_COUNT * (edgeCountMax + OTHER_EDGE_COUNT);
  pool.begin(offsetof<Row>(), rowCountMax);
  initSideSums(rowCountMax);
  table = OpenTable.create(rowCountMax);
  lists = allocate(<usize>LEVEL_COUNT * offsetof<RowList>());
  sweepCursor = 1;
  leafCountMax = edgeCountMax;
  leaves = 0;
  beginWindow(firstWindow);
}

function beginWindow(window: u32): void {
  openWindow = window;
  movedMark = <u8>(1 + (window & 1));
}

export function rowAt(row: u32): Row {
  return pool.row<Row>(row);
}

/** The leaf of an edge; when it is new and the table is full, the leaf (other) to (other) of the protocol, port 0. */
export function leafOf(clientNode: u32, serverNode: u32, service: u32, window: u32): u32 {
  const known = findRow(Level.IdId, clientNode, serverNode, service);
  if (known !== 0) return known;
  if (leaves < leafCountMax) return createLeaf(clientNode, serverNode, service, window);
  count(ReducerCounter.LeavesRefused);
  return otherLeaf(service, window);
}

/** The leaf for what has no edge of its own. There are at most OTHER_EDGE_COUNT, beyond the limit of leaves. */
export function otherLeaf(service: u32, window: u32): u32 {
  const other = otherNode();
  const otherService = service & 0xff0000;
  const known = findRow(Level.IdId, other, other, otherService);
  return known !== 0 ? known : createLeaf(other, other, otherService, window);
}

/** The row (other) to (other) of the level and of the row's protocol, port 0: what a row that has no place of its own is added to. */
export function otherRowOf(level: u32, service: u32): u32 {
  const leaf = otherLeaf(service, openWindow);
  // What is above it is listed until the next roll-up, and would be freed with it.
  rowAt(leaf).idleSince = openWindow;
  if (level === Level.IdId) return leaf;
  if (level === Level.IdAz) return rowAt(leaf).left;
  if (level === Level.AzId) return rowAt(leaf).right;
  const azAz = rowAt(rowAt(leaf).left).left;
  if (level === Level.AzAz) return azAz;
  const roleAz = rowAt(azAz).left;
  if (level === Level.RoleAz) return roleAz;
  return level === Level.AzRole ? rowAt(azAz).right : rowAt(roleAz).left;
}

export function listOf(level: u32): RowList {
  return changetype<RowList>(lists + <usize>level * offsetof<RowList>());
}

/** Puts the row into its level's list. Traps when memory is used up. */
export function listRow(handle: u32, row: Row): void {
  if (row.listed !== 0) return;
  row.listed = LISTED;
  if (row.since === 0 || row.idleSince + 1 !== openWindow) row.since = openWindow;
  const list = listOf(row.level);
  if (list.count === list.capacity) list.grow();
  list.put(list.count++, handle);
}

/** Frees, of a slice of all rows, the leaves that have been idle for EDGE_IDLE_WINDOWS, and what only they pointed to. */
export function expireLeaves(closed: u32): void {
  beginWindow(closed + 1);
  const end = pool.end;
  let rows = min(end, max(SWEEP_ROWS_MIN, end >>> 4));
  for (; rows !== 0; rows--) {
    if (sweepCursor >= end) sweepCursor = 1;
    const handle = sweepCursor++;
    if (handle >= end) break;
    const row = rowAt(handle);
    if (row.isIdleLeaf() && row.idleSince + EDGE_IDLE_WINDOWS <= closed) freeLeaf(handle);
  }
  set(ReducerCounter.LeavesLive, leaves);
  set(ReducerCounter.RowsLive, pool.live);
}

function freeLeaf(leaf: u32): void {
  freeRow(leaf);
  leaves--;
  count(ReducerCounter.LeavesExpired);
}

function hashRow(level: u32, clientNode: u32, serverNode: u32, service: u32): u32 {
  return hashPair(((<u64>clientNode) << 32) | serverNode, ((<u64>level) << 32) | service);
}

function findRow(level: u32, clientNode: u32, serverNode: u32, service: u32): u32 {
  for (let handle = table.first(hashRow(level, clientNode, serverNode, service)); handle !== 0; handle = table.next()) {
    const row = rowAt(handle);
    if (
      row.level === level &&
      row.clientNode === clientNode &&
      row.serverNode === serverNode &&
      row.service === service
    ) {
      return handle;
    }
  }
  return 0;
}

function createLeaf(clientNode: u32, serverNode: u32, service: u32, window: u32): u32 {
  const handle = createRow(Level.IdId, clientNode, serverNode, service);
  const leaf = rowAt(handle);
  leaf.idleSince = window;
  leaves++;
  return handle;
}

/** A row above `below`, which will point to it. */
function rowAbove(level: u32, clientNode: u32, serverNode: u32, below: Row): u32 {
  const known = findRow(level, clientNode, serverNode, below.service);
  const handle = known !== 0 ? known : createRow(level, clientNode, serverNode, below.service);
  rowAt(handle).refs++;
  return handle;
}

function createRow(level: u32, clientNode: u32, serverNode: u32, service: u32): u32 {
  const handle = pool.take();
  const hash = hashRow(level, clientNode, serverNode, service);
  // No level has more rows than there are leaves, so only exhausted memory ends here.
  if (handle === 0 || !table.insert(hash, handle)) unreachable();
  const row = rowAt(handle);
  const generation = row.generation;
  memory.fill(changetype<usize>(row), 0, offsetof<Row>());
  row.generation = generation;
  row.clientNode = clientNode;
  row.serverNode = serverNode;
  row.service = service;
  row.level = <u8>level;
  row.isOther = u8(isOther(clientNode) || isOther(serverNode));
  retainNode(clientNode);
  retainNode(serverNode);
  connectAbove(row);
  return handle;
}

function connectAbove(row: Row): void {
  const client = row.clientNode;
  const server = row.serverNode;
  if (row.level === Level.IdId) {
    row.left = rowAbove(Level.IdAz, client, azNodeOf(server), row);
    row.right = rowAbove(Level.AzId, azNodeOf(client), server, row);
  } else if (row.level === Level.IdAz) {
    row.left = rowAbove(Level.AzAz, azNodeOf(client), server, row);
  } else if (row.level === Level.AzAz) {
    row.left = rowAbove(Level.RoleAz, roleNodeOf(client), server, row);
    row.right = rowAbove(Level.AzRole, client, roleNodeOf(server), row);
  } else if (row.level === Level.RoleAz) {
    row.left = rowAbove(Level.RoleRole, client, roleNodeOf(server), row);
  }
}

function freeRow(handle: u32): void {
  const row = rowAt(handle);
  table.remove(hashRow(row.level, row.clientNode, row.serverNode, row.service), handle);
  releaseNode(row.clientNode);
  releaseNode(row.serverNode);
  dropPairs(row.processes);
  row.generation++;
  row.clientNode = 0;
  const left = row.left;
  const right = row.right;
  pool.give(handle);
  releaseRow(left);
  releaseRow(right);
}

function releaseRow(handle: u32): void {
  if (handle !== 0 && --rowAt(handle).refs === 0) freeRow(handle);
}

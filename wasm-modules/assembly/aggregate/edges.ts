// Edges of the finest level as the match side sees them: (client node, server node, protocol, server port). They are interned here; the
// worker that owns the role pair keeps the row (tree.ts) and is told of an edge before the first flow that names it.
//
// An edge is borrowed like a node: valid until the window's end unless retained. A flow keeps its edge retained while it is open, so
// that the +1 and the -1 of `active_delta` reach the same row; a flow that is named anew moves with a -1 on the old edge and a +1
// on the new one. An announcement holds for one epoch (enrich/node-channel.ts), and the owner keeps an idle row for longer than
// that, so nobody needs to say that an edge is over.

import { announceEpoch, claimAnnounce, NODE_RECORD_BYTES_MAX, writeNode } from '../enrich/node-channel';
import { nodeAt, otherNode, releaseNode, retainNode } from '../enrich/nodes';
import {
  EDGE_RECORD_SIZE,
  EdgeRecord,
  RECORD_HEADER_SIZE,
  RecordHeader,
  RecordKind,
  ReducerCounter,
} from '../gen/records';
import { count, set } from '../lib/counters';
import { hashPair, stableHashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { mapEdge } from './channel-edges';
import { EDGE_IDLE_WINDOWS, OTHER_EDGE_COUNT } from './limits';

/** Logical shards of role pairs, fixed for ever. */
const SHARD_COUNT: u64 = 256;

/** Bytes that `announceEdge` writes at most: two NodeRecords and the EdgeRecord. */
export const EDGE_ANNOUNCEMENT_BYTES_MAX: u32 = 2 * NODE_RECORD_BYTES_MAX + RECORD_HEADER_SIZE + EDGE_RECORD_SIZE;

/** Edges that a sweep at a window's end looks at, at least; a sixteenth of all when that is more. */
const SWEEP_ROWS_MIN: u32 = 4096;

@unmanaged
class Edge {
  refs: u32;
  hash: u32;
  /** Retained. 0 = the row is free. */
  clientNode: u32;
  serverNode: u32;
  /** Server port | protocol << 16. */
  service: u32;
  worker: u32;
  announcedEpoch: u32;
  /** Last window in which it was looked up or announced. */
  touched: u32;
}

const pool: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
let table: OpenTable = changetype<OpenTable>(0);
let ownWorker: u32 = 0;
let workers: u32 = 1;
let countMax: u32 = 0;
let window: u32 = 0;
let sweepCursor: u32 = 1;

export function initEdges(worker: u32, workerCount: u32, openWindow: u32, edgeCountMax: u32): void {
  pool.begin(offsetof<Edge>(), edgeCountMax + OTHER_EDGE_COUNT);
  table = OpenTable.create(edgeCountMax + OTHER_EDGE_COUNT);
  ownWorker = worker;
  workers = workerCount;
  countMax = edgeCountMax;
  window = openWindow;
  sweepCursor = 1;
}

/** The edge, borrowed. When it is new and the table is full: the edge (other) to (other) of the protocol, port 0. */
export function edgeOf(clientNode: u32, serverNode: u32, serverPort: u32, protocol: u32): u32 {
  const service = serverPort | (protocol << 16);
  const known = findEdge(clientNode, serverNode, service);
  if (known !== 0) return known;
  if (pool.live < countMax) return createEdge(clientNode, serverNode, service);
  count(ReducerCounter.EdgesRefused);
  const other = findEdge(otherNode(), otherNode(), protocol << 16);
  return other !== 0 ? other : createEdge(otherNode(), otherNode(), protocol << 16);
}

export function retainEdge(edge: u32): void {
  edgeAt(edge).refs++;
}

export function releaseEdge(edge: u32): void {
  edgeAt(edge).refs--;
}

/** The worker that keeps the edge's rows: by hash of the role pair, alike on all workers, without the seed. */
export function edgeWorker(edge: u32): u32 {
  return edgeAt(edge).worker;
}

/**
 * Call before the first EdgeFlow of `edge` that a close of match sends, or before every one. Writes at `to` the records (headers included) that its owner must have first and has not
 * (anymore); returns their bytes, mostly 0. When this worker is the owner it is told directly, and 0 returned.
 */
export function announceEdge(edge: u32, to: usize): u32 {
  const row = edgeAt(edge);
  return row.announcedEpoch === announceEpoch() ? 0 : announce(edge, row, to);
}

function announce(edge: u32, row: Edge, to: usize): u32 {
  row.announcedEpoch = announceEpoch();
  row.touched = window;
  if (row.worker === ownWorker) {
    mapEdge(ownWorker, edge, row.clientNode, row.serverNode, row.service);
    return 0;
  }
  let at = to;
  if (claimAnnounce(row.clientNode, row.worker)) at += writeNode(row.clientNode, at);
  if (claimAnnounce(row.serverNode, row.worker)) at += writeNode(row.serverNode, at);
  return <u32>(at + writeEdge(edge, row, at) - to);
}

/** The window `closed` is over: frees a slice of what nobody used for long. */
export function expireEdges(closed: u32): void {
  window = closed + 1;
  const end = pool.end;
  let rows = min(end, max(SWEEP_ROWS_MIN, end >>> 4));
  for (; rows !== 0; rows--) {
    if (sweepCursor >= end) sweepCursor = 1;
    const edge = sweepCursor++;
    if (edge >= end) return;
    const row = edgeAt(edge);
    if (row.clientNode !== 0 && row.refs === 0 && row.touched + EDGE_IDLE_WINDOWS < window) freeEdge(edge, row);
  }
}

function edgeAt(edge: u32): Edge {
  return pool.row<Edge>(edge);
}

function hashEdge(clientNode: u32, serverNode: u32, service: u32): u32 {
  return hashPair(((<u64>clientNode) << 32) | serverNode, service);
}

/** Where the edge of these begins to be looked for, when there is one: the address of its handle, u32. It stands until an edge is made or freed. */
export function edgeHome(clientNode: u32, serverNode: u32, serverPort: u32, protocol: u32): usize {
  return table.home(hashEdge(clientNode, serverNode, serverPort | (protocol << 16)));
}

function findEdge(clientNode: u32, serverNode: u32, service: u32): u32 {
  for (let edge = table.first(hashEdge(clientNode, serverNode, service)); edge !== 0; edge = table.next()) {
    const row = edgeAt(edge);
    if (row.clientNode === clientNode && row.serverNode === serverNode && row.service === service) {
      row.touched = window;
      return edge;
    }
  }
  return 0;
}

function createEdge(clientNode: u32, serverNode: u32, service: u32): u32 {
  const edge = pool.take();
  const hash = hashEdge(clientNode, serverNode, service);
  if (edge === 0 || !table.insert(hash, edge)) unreachable();
  const row = edgeAt(edge);
  row.refs = 0;
  row.hash = hash;
  row.clientNode = clientNode;
  row.serverNode = serverNode;
  row.service = service;
  row.worker = workerOfRoles(nodeAt(clientNode).roleHash, nodeAt(serverNode).roleHash);
  row.announcedEpoch = 0;
  row.touched = window;
  retainNode(clientNode);
  retainNode(serverNode);
  set(ReducerCounter.EdgesLive, pool.live);
  return edge;
}

function workerOfRoles(clientRole: u64, serverRole: u64): u32 {
  return <u32>((stableHashPair(clientRole, serverRole) % SHARD_COUNT) % workers);
}

function freeEdge(edge: u32, row: Edge): void {
  table.remove(row.hash, edge);
  releaseNode(row.clientNode);
  releaseNode(row.serverNode);
  row.clientNode = 0;
  pool.give(edge);
  count(ReducerCounter.EdgesExpired);
  set(ReducerCounter.EdgesLive, pool.live);
}

function writeEdge(edge: u32, row: Edge, to: usize): u32 {
  const header = changetype<RecordHeader>(to);
  header.size = RECORD_HEADER_SIZE + EDGE_RECORD_SIZE;
  header.kind = RecordKind.Edge;
  header.pad0 = 0;
  const record = changetype<EdgeRecord>(to + RECORD_HEADER_SIZE);
  record.edge = edge;
  record.clientNode = row.clientNode;
  record.serverNode = row.serverNode;
  record.serverPort = <u16>row.service;
  record.protocol = <u8>(row.service >>> 16);
  record.pad0 = 0;
  return header.size;
}

// The nodes of this worker: what an end is, or its role in a zone, or its role alone (the upper levels of the tree). What an end is may be
// a process in a unit or container, which no level shows by itself (idNodeOf). All texts and the kind together are its identity, so no attribute depends on who announced a node first. Handle 0 = none.
//
// Lifetime: rows that keep a node beyond the window retain it. A node that nobody retains and nobody looked up for
// NODE_IDLE_WINDOWS is freed at a window's end; `generation` tells who had the handle before.

import { NodeKind, ReducerCounter } from '../gen/records';
import { allocate } from '../lib/arena';
import { count, set } from '../lib/counters';
import { hashPair, stableHashBytes } from '../lib/hash';
import {
  compareTexts,
  initTexts,
  internText,
  releaseText,
  retainText,
  TEXT_BYTES_MAX,
  TEXT_COUNT_MAX,
  textAddress,
  textBytes,
  textRefusals,
} from '../lib/intern';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { dropAddress } from './address-nodes';
import { LiteralText } from './literal-text';

export const NODE_COUNT_MAX: u32 = 1 << 19;
/** Windows after which an unused node may be freed: twice what a channel's announcement holds (node-channel.ts). */
export const NODE_IDLE_WINDOWS: u32 = 60;

/** Text limits, bytes. An id is at most "host/role". */
export const ID_BYTES_MAX: u32 = 256;
export const ROLE_BYTES_MAX: u32 = 128;
export const ZONE_BYTES_MAX: u32 = 64;
export const HOST_BYTES_MAX: u32 = 64;
export const ADDRESS_BYTES_MAX: u32 = 64;
export const PROCESS_BYTES_MAX: u32 = 64;
export const CONTAINER_BYTES_MAX: u32 = 128;
export const CONTAINER_NAME_BYTES_MAX: u32 = 128;
export const IMAGE_BYTES_MAX: u32 = 256;

/** Nodes that a sweep at a window's end looks at, at least; a sixteenth of all when that is more. */
const SWEEP_ROWS_MIN: u32 = 4096;

@unmanaged
export class Node {
  refs: u32;
  hash: u32;
  // Identity: 44 bytes, compared as a block.
  kind: u32;
  id: u32;
  role: u32;
  zone: u32;
  host: u32;
  address: u32;
  process: u32;
  container: u32;
  containerName: u32;
  image: u32;
  /** As pods.ts joins it; shared by all containers of the pod. */
  pod: u32;
  /** This node's role in its zone, and its role alone; 0 until asked for. Retained. */
  azNode: u32;
  roleNode: u32;
  /** Of a process in a unit or container: that unit or container; 0 until asked for. Retained. */
  idNode: u32;
  /** Hash of the role, alike on all workers and under all seeds. */
  roleHash: u64;
  /** The workers that were told in `announcedEpoch`, as bits. */
  announced: u64;
  announcedEpoch: u32;
  generation: u32;
  /** Last window in which it was looked up. */
  touched: u32;
  /** Handle in address-nodes.ts of what leads here, or 0. */
  addressRow: u32;
  /** Place in the output with this serial. */
  outputSerial: u32;
  outputIndex: u32;
}

const IDENTITY_OFFSET: usize = 8;
if (offsetof<Node>('kind') !== 8 || offsetof<Node>('pod') !== 48)
  ERROR('the identity of a node is one block of 44 bytes');
if (offsetof<Node>() !== 104) ERROR('a node is a multiple of 8 bytes');

const pool: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
let table: OpenTable = changetype<OpenTable>(0);
let draft: Node = changetype<Node>(0);
let draftRefusals: u32 = 0;
let otherHandle: u32 = 0;
let otherRoleHandle: u32 = 0;
let unknownHandle: u32 = 0;
let window: u32 = 0;
let sweepCursor: u32 = 1;

export function initNodes(
  openWindow: u32,
  nodeCountMax: u32 = NODE_COUNT_MAX,
  textBytesMax: u32 = TEXT_BYTES_MAX,
): void {
  initTexts(TEXT_COUNT_MAX, textBytesMax);
  pool.begin(offsetof<Node>(), nodeCountMax);
  table = OpenTable.create(nodeCountMax);
  draft = changetype<Node>(allocate(offsetof<Node>()));
  window = openWindow;
  sweepCursor = 1;
  otherHandle = createFixed(NodeKind.Other, '(other)', true);
  otherRoleHandle = createFixed(NodeKind.Other, '(other)', false);
  unknownHandle = createFixed(NodeKind.Unknown, '(unknown)', true);
}

/** What did not fit a limit. */
export function otherNode(): u32 {
  return otherHandle;
}

/** An end of which nothing is known, not even an address. */
export function unknownNode(): u32 {
  return unknownHandle;
}

export function nodeAt(node: u32): Node {
  return pool.row<Node>(node);
}

export function isOther(node: u32): bool {
  return nodeAt(node).kind === NodeKind.Other;
}

export function nodeCount(): u32 {
  return pool.live;
}

/** Keeps the node beyond the window. Every retain has one release. 0 is allowed and nothing happens. */
export function retainNode(node: u32): void {
  if (node !== 0) nodeAt(node).refs++;
}

export function releaseNode(node: u32): void {
  if (node !== 0) nodeAt(node).refs--;
}

/** Counts as a look-up. */
export function touchNode(node: u32): void {
  nodeAt(node).touched = window;
}

/** Starts a node: fill in its texts with `internText`, then take it with `nodeOfDraft`. */
export function draftNode(kind: u32): Node {
  memory.fill(changetype<usize>(draft), 0, offsetof<Node>());
  draft.kind = kind;
  draftRefusals = textRefusals();
  return draft;
}

/** The node with the identity of the draft; (other) when it is new and does not fit. */
export function nodeOfDraft(): u32 {
  if (textRefusals() !== draftRefusals) return refuseDraft();
  const hash = hashIdentity(draft);
  for (let node = table.first(hash); node !== 0; node = table.next()) {
    const found = nodeAt(node);
    if (isSameIdentity(found, draft)) {
      releaseTexts(draft);
      found.touched = window;
      return node;
    }
  }
  return createNode(hash);
}

/** What the id levels show: of a process in a unit or container that as a whole, else the node itself. Borrowed from `node`. */
export function idNodeOf(node: u32): u32 {
  const row = nodeAt(node);
  if (processWithin(node) === 0) return node;
  if (row.idNode === 0) row.idNode = deriveIdNode(row);
  return row.idNode;
}

/** Text of the process, when the node is one in a unit or container; else 0. Borrowed from `node`. */
export function processWithin(node: u32): u32 {
  const row = nodeAt(node);
  return row.kind === NodeKind.Process ? 0 : row.process;
}

/** The node's role in its zone: what the az levels show. Borrowed from `node`. */
export function azNodeOf(node: u32): u32 {
  const row = nodeAt(node);
  if (row.azNode === 0) row.azNode = deriveNode(row, true);
  return row.azNode;
}

/** The node's role: what the role levels show. Borrowed from `node`. */
export function roleNodeOf(node: u32): u32 {
  const row = nodeAt(node);
  if (row.roleNode === 0) row.roleNode = deriveNode(row, false);
  return row.roleNode;
}

/** Canonical order of nodes: the bytes of id, role and zone, then the kind, then the other texts. < 0, 0 or > 0. */
export function compareNodes(left: u32, right: u32): i32 {
  const a = nodeAt(left);
  const b = nodeAt(right);
  let order = compareTexts(a.id, b.id);
  if (order === 0) order = compareTexts(a.role, b.role);
  if (order === 0) order = compareTexts(a.zone, b.zone);
  if (order === 0) order = <i32>a.kind - <i32>b.kind;
  if (order === 0) order = compareTexts(a.host, b.host);
  if (order === 0) order = compareTexts(a.address, b.address);
  if (order === 0) order = compareTexts(a.process, b.process);
  if (order === 0) order = compareTexts(a.container, b.container);
  if (order === 0) order = compareTexts(a.containerName, b.containerName);
  if (order === 0) order = compareTexts(a.image, b.image);
  if (order === 0) order = compareTexts(a.pod, b.pod);
  return order;
}

/** The window `closed` is over: frees a slice of what nobody used for long. */
export function expireNodes(closed: u32): void {
  window = closed + 1;
  const end = pool.end;
  let rows = min(end, max(SWEEP_ROWS_MIN, end >>> 4));
  for (; rows !== 0; rows--) {
    if (sweepCursor >= end) sweepCursor = 1;
    const node = sweepCursor++;
    if (node >= end) return;
    const row = nodeAt(node);
    if (row.kind !== NodeKind.None && row.refs === 0 && row.touched + NODE_IDLE_WINDOWS < window) freeNode(node);
  }
}

function createFixed(kind: u32, name: string, withId: bool): u32 {
  const text = LiteralText.of(name);
  const fixed = draftNode(kind);
  if (withId) fixed.id = internText(text.address, text.bytes, ID_BYTES_MAX);
  fixed.role = internText(text.address, text.bytes, ROLE_BYTES_MAX);
  const node = nodeOfDraft();
  retainNode(node);
  return node;
}

function createNode(hash: u32): u32 {
  const node = pool.take();
  if (node === 0) return refuseDraft();
  if (!table.insert(hash, node)) {
    pool.give(node);
    return refuseDraft();
  }
  const created = nodeAt(node);
  const generation = created.generation;
  memory.copy(changetype<usize>(created), changetype<usize>(draft), offsetof<Node>());
  created.hash = hash;
  created.generation = generation;
  created.touched = window;
  created.roleHash = stableHashBytes(textAddress(draft.role), textBytes(draft.role));
  set(ReducerCounter.NodesLive, pool.live);
  return node;
}

function refuseDraft(): u32 {
  count(ReducerCounter.NodesRefused);
  releaseTexts(draft);
  return draft.id === 0 ? otherRoleHandle : otherHandle;
}

function deriveNode(row: Node, withZone: bool): u32 {
  const derived = draftNode(row.kind);
  derived.role = retainText(row.role);
  if (withZone) derived.zone = retainText(row.zone);
  const node = nodeOfDraft();
  retainNode(node);
  return node;
}

function deriveIdNode(row: Node): u32 {
  const derived = draftNode(row.kind);
  derived.id = retainText(row.id);
  derived.role = retainText(row.role);
  derived.zone = retainText(row.zone);
  derived.host = retainText(row.host);
  derived.address = retainText(row.address);
  derived.container = retainText(row.container);
  derived.containerName = retainText(row.containerName);
  derived.image = retainText(row.image);
  derived.pod = retainText(row.pod);
  const node = nodeOfDraft();
  retainNode(node);
  return node;
}

function freeNode(node: u32): void {
  const row = nodeAt(node);
  table.remove(row.hash, node);
  releaseTexts(row);
  releaseNode(row.azNode);
  releaseNode(row.roleNode);
  releaseNode(row.idNode);
  if (row.addressRow !== 0) dropAddress(row.addressRow);
  row.kind = NodeKind.None;
  row.generation++;
  pool.give(node);
  count(ReducerCounter.NodesExpired);
  set(ReducerCounter.NodesLive, pool.live);
}

function releaseTexts(row: Node): void {
  releaseText(row.id);
  releaseText(row.role);
  releaseText(row.zone);
  releaseText(row.host);
  releaseText(row.address);
  releaseText(row.process);
  releaseText(row.container);
  releaseText(row.containerName);
  releaseText(row.image);
  releaseText(row.pod);
}

function hashIdentity(row: Node): u32 {
  const at = changetype<usize>(row) + IDENTITY_OFFSET;
  const texts = hashPair(
    load<u64>(at) + load<u64>(at, 16) * 0x9e3779b97f4a7c15,
    load<u64>(at, 8) + load<u64>(at, 24) * 0x9e3779b97f4a7c15,
  );
  return texts ^ hashPair(load<u64>(at, 32), load<u32>(at, 40));
}

function isSameIdentity(left: Node, right: Node): bool {
  const a = changetype<usize>(left) + IDENTITY_OFFSET;
  const b = changetype<usize>(right) + IDENTITY_OFFSET;
  return (
    load<u64>(a) === load<u64>(b) &&
    load<u64>(a, 8) === load<u64>(b, 8) &&
    load<u64>(a, 16) === load<u64>(b, 16) &&
    load<u64>(a, 24) === load<u64>(b, 24) &&
    load<u64>(a, 32) === load<u64>(b, 32) &&
    load<u32>(a, 40) === load<u32>(b, 40)
  );
}

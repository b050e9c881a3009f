// Nodes cross to other workers as NodeRecords. A channel handle is the sending worker's own handle, so both hops between two workers
// share one map, and a record for a handle that has a new node simply replaces the old one.
//
// Nobody says when a node is over. Instead an announcement holds for one epoch of ANNOUNCE_WINDOWS: who names a node in the next
// epoch announces it again, and the receiver keeps a node that nobody uses for longer than that (NODE_IDLE_WINDOWS).

import {
  NODE_RECORD_SIZE,
  NodeRecord,
  RECORD_HEADER_SIZE,
  RecordHeader,
  RecordKind,
  ReducerCounter,
} from '../gen/records';
import { allocate } from '../lib/arena';
import { count } from '../lib/counters';
import { internText, textAddress, textBytes } from '../lib/intern';
import { RowPool, reachOfWorker } from '../lib/row-pool';
import {
  ADDRESS_BYTES_MAX,
  CONTAINER_BYTES_MAX,
  CONTAINER_NAME_BYTES_MAX,
  draftNode,
  HOST_BYTES_MAX,
  ID_BYTES_MAX,
  IMAGE_BYTES_MAX,
  NODE_COUNT_MAX,
  nodeAt,
  nodeOfDraft,
  PROCESS_BYTES_MAX,
  ROLE_BYTES_MAX,
  touchNode,
  ZONE_BYTES_MAX,
} from './nodes';
import { POD_BYTES_MAX } from './pods';

/** Workers of a reducer: the bits of `Node.announced`. */
export const WORKER_COUNT_MAX: u32 = 64;
export const ANNOUNCE_WINDOWS: u32 = 30;

const TEXTS_BYTES_MAX: u32 =
  ID_BYTES_MAX +
  ROLE_BYTES_MAX +
  ZONE_BYTES_MAX +
  HOST_BYTES_MAX +
  ADDRESS_BYTES_MAX +
  PROCESS_BYTES_MAX +
  CONTAINER_BYTES_MAX +
  CONTAINER_NAME_BYTES_MAX +
  IMAGE_BYTES_MAX +
  POD_BYTES_MAX;
/** Bytes that `writeNode` writes at most, header and padding included. */
export const NODE_RECORD_BYTES_MAX: u32 = (RECORD_HEADER_SIZE + NODE_RECORD_SIZE + TEXTS_BYTES_MAX + 7) & ~7;

/** What a handle of another worker means here. */
@unmanaged
class ChannelNode {
  node: u32;
  generation: u32;
}

let ownWorker: u32 = 0;
let epoch: u32 = 1;
/** RowPool by worker, made for a worker's first record. */
let channels: usize = 0;

export function initNodeChannels(worker: u32, openWindow: u32): void {
  ownWorker = worker;
  channels = allocate(WORKER_COUNT_MAX * sizeof<usize>());
  openAnnounceWindow(openWindow);
}

/** Sets the epoch. */
export function openAnnounceWindow(window: u32): void {
  epoch = window / ANNOUNCE_WINDOWS + 1;
}

export function announceEpoch(): u32 {
  return epoch;
}

/** True when the caller must write the NodeRecord to `worker` before it names the node there; counts as done. False for the own worker. */
export function claimAnnounce(node: u32, worker: u32): bool {
  if (worker === ownWorker || node === 0) return false;
  const row = nodeAt(node);
  if (row.announcedEpoch !== epoch) {
    row.announcedEpoch = epoch;
    row.announced = 0;
  }
  const bit = (<u64>1) << worker;
  if ((row.announced & bit) !== 0) return false;
  row.announced |= bit;
  return true;
}

/** Writes header and NodeRecord at `to`; returns the bytes, a multiple of 8. */
export function writeNode(node: u32, to: usize): u32 {
  const recordBytes = writeNodeRecord(node, node, to + RECORD_HEADER_SIZE);
  const header = changetype<RecordHeader>(to);
  header.size = RECORD_HEADER_SIZE + recordBytes;
  header.kind = RecordKind.Node;
  header.pad0 = 0;
  return header.size;
}

/** Writes the NodeRecord alone, as `handle`; returns the bytes, a multiple of 8. */
export function writeNodeRecord(node: u32, handle: u32, to: usize): u32 {
  const row = nodeAt(node);
  const record = changetype<NodeRecord>(to);
  record.handle = handle;
  record.kind = <u8>row.kind;
  record.pad0 = 0;
  record.idBytes = <u16>textBytes(row.id);
  record.roleBytes = <u16>textBytes(row.role);
  record.zoneBytes = <u16>textBytes(row.zone);
  record.hostBytes = <u16>textBytes(row.host);
  record.addressBytes = <u16>textBytes(row.address);
  record.processBytes = <u16>textBytes(row.process);
  record.containerBytes = <u16>textBytes(row.container);
  record.containerNameBytes = <u16>textBytes(row.containerName);
  record.imageBytes = <u16>textBytes(row.image);
  record.podBytes = <u16>textBytes(row.pod);
  record.pad1 = 0;
  record.pad2 = 0;
  let at = to + NODE_RECORD_SIZE;
  at = copyText(row.id, at);
  at = copyText(row.role, at);
  at = copyText(row.zone, at);
  at = copyText(row.host, at);
  at = copyText(row.address, at);
  at = copyText(row.process, at);
  at = copyText(row.container, at);
  at = copyText(row.containerName, at);
  at = copyText(row.image, at);
  at = copyText(row.pod, at);
  const end = (at + 7) & ~7;
  memory.fill(at, 0, end - at);
  return <u32>(end - to);
}

/** Bytes that `writeNodeRecord` writes. */
export function nodeRecordBytes(node: u32): u32 {
  const row = nodeAt(node);
  const bytes =
    NODE_RECORD_SIZE +
    textBytes(row.id) +
    textBytes(row.role) +
    textBytes(row.zone) +
    textBytes(row.host) +
    textBytes(row.address) +
    textBytes(row.process) +
    textBytes(row.container) +
    textBytes(row.containerName) +
    textBytes(row.image) +
    textBytes(row.pod);
  return (bytes + 7) & ~7;
}

/** `record`: the NodeRecord behind its header. */
export function receiveNode(from: u32, record: usize): void {
  const received = changetype<NodeRecord>(record);
  const draft = draftNode(received.kind);
  let at = record + NODE_RECORD_SIZE;
  draft.id = internText(at, received.idBytes, ID_BYTES_MAX);
  at += received.idBytes;
  draft.role = internText(at, received.roleBytes, ROLE_BYTES_MAX);
  at += received.roleBytes;
  draft.zone = internText(at, received.zoneBytes, ZONE_BYTES_MAX);
  at += received.zoneBytes;
  draft.host = internText(at, received.hostBytes, HOST_BYTES_MAX);
  at += received.hostBytes;
  draft.address = internText(at, received.addressBytes, ADDRESS_BYTES_MAX);
  at += received.addressBytes;
  draft.process = internText(at, received.processBytes, PROCESS_BYTES_MAX);
  at += received.processBytes;
  draft.container = internText(at, received.containerBytes, CONTAINER_BYTES_MAX);
  at += received.containerBytes;
  draft.containerName = internText(at, received.containerNameBytes, CONTAINER_NAME_BYTES_MAX);
  at += received.containerNameBytes;
  draft.image = internText(at, received.imageBytes, IMAGE_BYTES_MAX);
  at += received.imageBytes;
  draft.pod = internText(at, received.podBytes, POD_BYTES_MAX);
  mapHandle(from, received.handle, nodeOfDraft());
}

/** The node here (borrowed) of a handle of worker `from`; itself for the own worker; 0 when it was not announced. */
export function nodeOfChannel(from: u32, handle: u32): u32 {
  if (from === ownWorker || handle === 0) return handle;
  const channel = channelOf(from);
  const entry: usize = changetype<usize>(channel) === 0 ? 0 : channel.reach(handle);
  const node = entry === 0 ? 0 : changetype<ChannelNode>(entry).node;
  if (node === 0 || nodeAt(node).generation !== changetype<ChannelNode>(entry).generation) {
    count(ReducerCounter.ChannelNodesUnknown);
    return 0;
  }
  touchNode(node);
  return node;
}

function channelOf(from: u32): RowPool {
  return changetype<RowPool>(load<usize>(channels + <usize>from * sizeof<usize>()));
}

function mapHandle(from: u32, handle: u32, node: u32): void {
  const at = reachOfWorker(channels, from, offsetof<ChannelNode>(), NODE_COUNT_MAX, handle);
  if (at === 0) return;
  const entry = changetype<ChannelNode>(at);
  entry.node = node;
  entry.generation = nodeAt(node).generation;
}

function copyText(text: u32, to: usize): usize {
  const bytes = textBytes(text);
  memory.copy(to, textAddress(text), bytes);
  return to + bytes;
}

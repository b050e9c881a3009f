// The channels between workers. Both hops of a pair share one ordered ring; the end of a window on each hop is a MarkerRecord. Behind that of
// ingest -> match come what the worker's own match says of the window, and its marker: they are read at once, or two workers that close
// match would wait for room at each other. What follows belongs to the next window and is not read before match has closed this one, so
// match sees of every window exactly the records of that window. The other hop need not wait: the next seal comes after all outputs.

import { aggregateFlow, aggregateSum, receiveEdge } from '../aggregate/accumulation';
import { expectLeaves } from '../aggregate/leaf-look-ahead';
import { widenEven, widenFlow } from '../aggregate/narrow-flow';
import { receiveSeriesCounts } from '../aggregate/series-budget';
import { addNarrowTallies, aggregateTally } from '../aggregate/tallies';
import { receiveLabel } from '../enrich/label-channel';
import { receiveNode } from '../enrich/node-channel';
import {
  EDGE_FLOW_EVEN_SIZE,
  EDGE_FLOW_NARROW_SIZE,
  EDGE_FLOW_SIZE,
  EdgeFlowEven,
  EdgeFlowNarrow,
  MARKER_RECORD_SIZE,
  MarkerRecord,
  MatchUpdates,
  RECORD_HEADER_SIZE,
  RecordHeader,
  RecordKind,
  ViewpointRecord,
} from '../gen/records';
import { allocate } from '../lib/arena';
import { beginRecord } from '../lib/outbox';
import { expectRecords, GROUP_SIZE } from '../match/look-ahead';
import { receiveViewpoint } from '../match/once-channel';
import { matchRecord, matchUpdates } from '../match/receive';

const HOP_MATCH: u32 = 1;
const HOP_AGGREGATE: u32 = 2;

/** Where a group of records lies, or the edges of a group of flows. */
const group: usize = memory.data(<i32>GROUP_SIZE * 4, 4);

@unmanaged
class Channel {
  isAtMatchEnd: u32;
  isAtAggregateEnd: u32;
}

let channels: usize = 0;
let ownWorker: u32 = 0;
let workers: u32 = 1;

export function initMesh(worker: u32, workerCount: u32): void {
  ownWorker = worker;
  workers = workerCount;
  channels = allocate(<usize>workers * offsetof<Channel>());
}

function channelOf(from: u32): Channel {
  return changetype<Channel>(channels + <usize>from * offsetof<Channel>());
}

/** Everything of `window` that ingest has to say is said. */
export function endMatchHop(window: u32): void {
  sendMarkers(window, HOP_MATCH);
  channelOf(ownWorker).isAtMatchEnd = 1;
}

/** Everything of `window` that match has to say is said; match reads on. */
export function endAggregateHop(window: u32): void {
  sendMarkers(window, HOP_AGGREGATE);
  channelOf(ownWorker).isAtAggregateEnd = 1;
  for (let from: u32 = 0; from < workers; from++) channelOf(from).isAtMatchEnd = 0;
}

export function beginAggregateWindow(): void {
  for (let from: u32 = 0; from < workers; from++) channelOf(from).isAtAggregateEnd = 0;
}

function sendMarkers(window: u32, hop: u32): void {
  for (let to: u32 = 0; to < workers; to++) {
    if (to === ownWorker) continue;
    const marker = changetype<MarkerRecord>(beginRecord(to, RecordKind.Marker, MARKER_RECORD_SIZE));
    marker.window = window;
    marker.hop = hop;
  }
}

export function isMatchReady(): bool {
  for (let from: u32 = 0; from < workers; from++) {
    if (channelOf(from).isAtMatchEnd === 0) return false;
  }
  return true;
}

export function isAggregateReady(): bool {
  for (let from: u32 = 0; from < workers; from++) {
    if (channelOf(from).isAtAggregateEnd === 0) return false;
  }
  return true;
}

/** Takes records of worker `from`; returns the bytes consumed: less when the channel waits, or the last record is not whole. */
export function receiveBlock(from: u32, address: usize, bytes: u32): u32 {
  const channel = channelOf(from);
  const end = address + bytes;
  let at = address;
  let groupEnd = address;
  while (isWhole(at, end) && (channel.isAtMatchEnd === 0 || channel.isAtAggregateEnd === 0)) {
    const header = changetype<RecordHeader>(at);
    if (at >= groupEnd) groupEnd = isOfFlow(header.kind) ? lookAtFlows(from, at, end) : lookAtGroup(from, at, end);
    at += header.size;
    receiveRecord(from, channel, header);
  }
  return <u32>(at - address);
}

function isWhole(at: usize, end: usize): bool {
  return at < end && at + changetype<RecordHeader>(at).size <= end;
}

/** Has match look at the records at `address`; returns where the last of them ends. */
function lookAtGroup(from: u32, address: usize, end: usize): usize {
  let at = address;
  let size: u32 = 0;
  for (; size < GROUP_SIZE && isWhole(at, end); size++) {
    store<u32>(group + ((<usize>size) << 2), <u32>at);
    at += changetype<RecordHeader>(at).size;
  }
  expectRecords(from, group, size);
  return at;
}

/** True for what is said of a flow's edge. */
function isOfFlow(kind: u16): bool {
  return (
    kind === RecordKind.EdgeFlowEven ||
    kind === RecordKind.EdgeFlowSum ||
    kind === RecordKind.EdgeFlowNarrow ||
    kind === RecordKind.EdgeFlow ||
    kind === RecordKind.EdgeTally
  );
}

/** Has aggregate look at the leaves of up to GROUP_SIZE flows at `address`, each with its tallies; returns where the last of these ends. */
function lookAtFlows(from: u32, address: usize, end: usize): usize {
  let at = address;
  let size: u32 = 0;
  let hasTallies = false;
  while (isWhole(at, end) && isOfFlow(changetype<RecordHeader>(at).kind)) {
    const header = changetype<RecordHeader>(at);
    if (header.kind === RecordKind.EdgeTally) hasTallies = true;
    else {
      if (size === GROUP_SIZE) break;
      // Each form of an EdgeFlow, and their sum, begin with the edge.
      store<u32>(group + ((<usize>size) << 2), load<u32>(at + RECORD_HEADER_SIZE));
      size++;
      if (header.kind !== RecordKind.EdgeFlowSum && header.size > RECORD_HEADER_SIZE + flowBytes(header.kind))
        hasTallies = true;
    }
    at += header.size;
  }
  expectLeaves(from, group, size, hasTallies);
  return at;
}

function receiveRecord(from: u32, channel: Channel, header: RecordHeader): void {
  const record = changetype<usize>(header) + RECORD_HEADER_SIZE;
  switch (header.kind) {
    case RecordKind.Node: {
      receiveNode(from, record);
      break;
    }
    case RecordKind.Viewpoint: {
      receiveViewpoint(from, changetype<ViewpointRecord>(record));
      break;
    }
    case RecordKind.Edge: {
      receiveEdge(from, record);
      break;
    }
    case RecordKind.MatchUpdates: {
      matchUpdates(from, changetype<MatchUpdates>(record));
      break;
    }
    case RecordKind.EdgeFlow:
    case RecordKind.EdgeFlowNarrow:
    case RecordKind.EdgeFlowEven: {
      const leaf = aggregateFlow(from, flowOf(header.kind, record));
      addNarrowTallies(leaf, record + flowBytes(header.kind), changetype<usize>(header) + header.size);
      break;
    }
    case RecordKind.EdgeFlowSum: {
      aggregateSum(from, record);
      break;
    }
    case RecordKind.Label: {
      receiveLabel(from, record);
      break;
    }
    case RecordKind.EdgeTally: {
      aggregateTally(from, record);
      break;
    }
    case RecordKind.SeriesCounts: {
      receiveSeriesCounts(record);
      break;
    }
    case RecordKind.Marker: {
      if (changetype<MarkerRecord>(record).hop === HOP_MATCH) channel.isAtMatchEnd = 1;
      else channel.isAtAggregateEnd = 1;
      break;
    }
    default:
      matchRecord(from, header);
  }
}

/** The struct of a record of a flow. */
function flowBytes(kind: u16): u32 {
  if (kind === RecordKind.EdgeFlowEven) return EDGE_FLOW_EVEN_SIZE;
  return kind === RecordKind.EdgeFlowNarrow ? EDGE_FLOW_NARROW_SIZE : EDGE_FLOW_SIZE;
}

/** The EdgeFlow that `record` says, valid until the next call. */
function flowOf(kind: u16, record: usize): usize {
  if (kind === RecordKind.EdgeFlowEven) return changetype<usize>(widenEven(changetype<EdgeFlowEven>(record)));
  if (kind === RecordKind.EdgeFlowNarrow) return changetype<usize>(widenFlow(changetype<EdgeFlowNarrow>(record)));
  return record;
}

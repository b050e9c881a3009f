// The channels between workers. Both hops of a pair share one ordered ring; the end of a window on each hop is a MarkerRecord. Behind that of
// ingest -> match come what the worker's own match says of the window, and its marker: they are read at once, or two workers that close
// match would wait for room at each other. What follows belongs to the next window and is not read before match has closed this one, so
// match sees of every window exactly the records of that window. The other hop need not wait: the next seal comes after all outputs.

import { aggregateFlow, receiveEdge } from '../aggregate/accumulation';
import { receiveSeriesCounts } from '../aggregate/series-budget';
import { aggregateTally } from '../aggregate/tallies';
import { receiveLabel } from '../enrich/label-channel';
import { receiveNode } from '../enrich/node-channel';
import {
  MARKER_RECORD_SIZE,
  MATCH_UPDATE_SIZE,
  MarkerRecord,
  MatchUpdate,
  RECORD_HEADER_SIZE,
  RecordHeader,
  RecordKind,
} from '../gen/records';
import { allocate } from '../lib/arena';
import { beginRecord } from '../lib/outbox';
import { expectUpdates, matchRecord, matchUpdate } from '../match/receive';

const HOP_MATCH: u32 = 1;
const HOP_AGGREGATE: u32 = 2;

/** Updates that match looks at before the first of them. */
const GROUP_SIZE: u32 = 16;
const groupEnds: usize = memory.data(<i32>GROUP_SIZE * 4, 4);
const UPDATE_BYTES: u32 = RECORD_HEADER_SIZE + MATCH_UPDATE_SIZE;

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
  while (isWhole(at, end) && (channel.isAtMatchEnd === 0 || channel.isAtAggregateEnd === 0)) {
    const header = changetype<RecordHeader>(at);
    if (header.kind === RecordKind.MatchUpdate) {
      at = receiveUpdates(from, at, end);
      continue;
    }
    at += header.size;
    receiveRecord(from, channel, header);
  }
  return <u32>(at - address);
}

function isWhole(at: usize, end: usize): bool {
  return at < end && at + changetype<RecordHeader>(at).size <= end;
}

/** Takes the updates that follow one another at `address`, at most GROUP_SIZE and at least the first; returns where the last one ends. */
function receiveUpdates(from: u32, address: usize, end: usize): usize {
  let size: u32 = 0;
  let at = address;
  while (size < GROUP_SIZE && isWhole(at, end) && changetype<RecordHeader>(at).kind === RecordKind.MatchUpdate) {
    store<u32>(groupEnds + ((<usize>size) << 2), updateAt(at).end);
    size++;
    at += UPDATE_BYTES;
  }
  expectUpdates(from, groupEnds, size);
  for (let record = address; record < at; record += UPDATE_BYTES) {
    const update = updateAt(record);
    matchUpdate(from, update.end, update.totals, update.fromWindow);
  }
  return at;
}

function updateAt(record: usize): MatchUpdate {
  return changetype<MatchUpdate>(record + RECORD_HEADER_SIZE);
}

function receiveRecord(from: u32, channel: Channel, header: RecordHeader): void {
  const record = changetype<usize>(header) + RECORD_HEADER_SIZE;
  switch (header.kind) {
    case RecordKind.Node: {
      receiveNode(from, record);
      break;
    }
    case RecordKind.Edge: {
      receiveEdge(from, record);
      break;
    }
    case RecordKind.EdgeFlow: {
      aggregateFlow(from, record);
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

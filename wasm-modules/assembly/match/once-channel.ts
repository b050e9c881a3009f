// WaitingOnces cross to other workers as they are staged, but for what they name: nodes by their channel handles (enrich/node-channel.ts), and
// their viewpoint by the sending worker's own row, which a ViewpointRecord announces. A remote address that is not IPv4 follows.
//
// What a handle names stays retained here until another viewpoint has the handle, so nothing has to be announced again while it stands.
import { nodeOfChannel, WORKER_COUNT_MAX } from '../enrich/node-channel';
import { retainNode } from '../enrich/nodes';
import { RECORD_HEADER_SIZE, RecordHeader, RecordKind, VIEWPOINT_RECORD_SIZE, ViewpointRecord } from '../gen/records';
import { allocate } from '../lib/arena';
import { beginRecord } from '../lib/outbox';
import { reachOfWorker } from '../lib/row-pool';
import { copyRow } from '../lib/words';
import { releaseOnce, WAITING_ONCE_BYTES, WaitingOnce } from './onces';
import { WideAddress } from './remote-addresses';
import { releaseViewpoint, retainPoint, retainViewpoint, VIEWPOINT_COUNT_MAX, viewpointAt } from './viewpoints';

/** By viewpoint: which generation of it another worker knows. */
@unmanaged
class Announced {
  generation: u32;
  pad0: u32;
}

/** By handle of another worker: the viewpoint here, retained; 0 = none yet. */
@unmanaged
class ChannelViewpoint {
  viewpoint: u32;
  pad0: u32;
}

/** RowPools by worker, made for the first viewpoint that is told to it, and by it. */
let announced: usize = 0;
let channels: usize = 0;

export function initOnceChannels(): void {
  announced = allocate(WORKER_COUNT_MAX * sizeof<usize>());
  channels = allocate(WORKER_COUNT_MAX * sizeof<usize>());
}

/** Tells `worker`, to which the nodes of `once` have been announced, and gives back what it holds. */
export function sendWaiting(once: WaitingOnce, worker: u32, fromWindow: u32): void {
  announceViewpoint(once.viewpoint, worker);
  const remote = once.remote;
  const isNarrow = remote.isNarrow;
  const record = beginRecord(
    worker,
    RecordKind.WaitingOnce,
    isNarrow ? WAITING_ONCE_BYTES : WAITING_ONCE_BYTES + <u32>offsetof<WideAddress>(),
  );
  copyRow<WaitingOnce>(record, changetype<usize>(once));
  changetype<WaitingOnce>(record).fromWindow = fromWindow;
  if (!isNarrow) {
    const wide = changetype<WideAddress>(record + WAITING_ONCE_BYTES);
    wide.high = remote.high;
    wide.low = remote.low;
  }
  releaseOnce(once);
}

function announceViewpoint(row: u32, worker: u32): void {
  const point = viewpointAt(row);
  const known = changetype<Announced>(
    reachOfWorker(announced, worker, offsetof<Announced>(), VIEWPOINT_COUNT_MAX, row),
  );
  if (known.generation === point.generation) return;
  known.generation = point.generation;
  const record = changetype<ViewpointRecord>(beginRecord(worker, RecordKind.Viewpoint, VIEWPOINT_RECORD_SIZE));
  record.handle = row;
  record.pad0 = 0;
  record.boot = point.boot;
  record.session = point.session;
  record.identity = point.identity;
  record.addressSpace = point.addressSpace;
  record.localAddressHi = point.localHigh;
  record.localAddressLo = point.localLow;
}

export function receiveViewpoint(from: u32, record: ViewpointRecord): void {
  const entry = entryOf(from, record.handle);
  const before = entry.viewpoint;
  entry.viewpoint = retainPoint(
    record.boot,
    record.session,
    record.identity,
    record.addressSpace,
    record.localAddressHi,
    record.localAddressLo,
  );
  if (before !== 0) releaseViewpoint(before);
}

/** The WaitingOnce behind `header` as if it had been staged here, where it lies. */
export function receiveWaiting(from: u32, header: RecordHeader): WaitingOnce {
  const record = changetype<usize>(header) + RECORD_HEADER_SIZE;
  const once = changetype<WaitingOnce>(record);
  once.viewpoint = entryOf(from, once.viewpoint).viewpoint;
  retainViewpoint(once.viewpoint);
  once.node = nodeOfChannel(from, once.node);
  once.remoteNode = nodeOfChannel(from, once.remoteNode);
  retainNode(once.node);
  retainNode(once.remoteNode);
  if (header.size > RECORD_HEADER_SIZE + WAITING_ONCE_BYTES) {
    const wide = changetype<WideAddress>(record + WAITING_ONCE_BYTES);
    once.setRemote(wide.high, wide.low);
  }
  return once;
}

function entryOf(from: u32, handle: u32): ChannelViewpoint {
  return changetype<ChannelViewpoint>(
    reachOfWorker(channels, from, offsetof<ChannelViewpoint>(), VIEWPOINT_COUNT_MAX, handle),
  );
}

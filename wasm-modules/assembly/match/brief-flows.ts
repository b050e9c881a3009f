// Brief flows: both ends lived within one window, and one Once of each was all that was told. One after the other is booked in the same rows,
// which the cache has, and none ever is in the flow table. Until the host reports the commit of its window its two Onces stay where they waited,
// and are listed for each shard and window: a socket that is told again takes the flow back from there, as it was when it was booked.
//
// Beside them stays what else waited for the window in the shard, so the limit is one of Onces. A shard beyond it loses its oldest window as a whole: what is forgotten depends neither on the number of workers nor on the order of
// arrival.
import { ReducerCounter } from '../gen/records';
import { OpenFlags } from '../gen/wire';
import { allocate, giveBlock, takeBlock } from '../lib/arena';
import { add, count } from '../lib/counters';
import { SHARD_COUNT } from '../lib/flow-place';
import { RowPool } from '../lib/row-pool';
import { blankEdgeFlow } from './emit';
import {
  beginEndWindow,
  clearEnd,
  clearFlow,
  coldEndAt,
  coldFlowAt,
  END_CLOSED,
  END_CLOSING,
  END_COUNTED,
  END_EXISTING,
  END_FRESH,
  END_REPORTED,
  endAt,
  FLOW_COUNT_MAX,
  flowAt,
  giveEnd,
  giveFlow,
  hasRoomForFlow,
  takeEnd,
  takeFlow,
} from './flow';
import { flowKey, KeyKind } from './flow-key';
import { committedWindow, insertFlow, nameFlow, newFlow, windowsToLinger } from './flow-table';
import { bookTotals } from './ledger';
import { KeyTable } from './once-pairs';
import { GONE_ONCE, releaseOnce, TAKEN_ONCE, WaitingOnce } from './onces';
import { keepOwnTotals } from './own-numbers';
import { givePassed, passOldest } from './shard-onces';

/** Onces that waited for windows of which brief flows are kept, over all workers; the oldest flows are evicted and counted. */
export const KEPT_ONCE_COUNT_MAX: u32 = 1 << 22;
const SHARD_ONCES_MAX: u32 = KEPT_ONCE_COUNT_MAX / SHARD_COUNT;

/** The Once of a brief flow that was booked, as the first of the two. Its tag says what else the flow was then: FLOW_* and the client's slot. */
@unmanaged
export class BriefFlow {
  private get first(): WaitingOnce {
    return changetype<WaitingOnce>(changetype<usize>(this));
  }

  private get second(): WaitingOnce {
    return changetype<WaitingOnce>(this.first.other);
  }

  onceOf(slot: u32): WaitingOnce {
    return this.first.slot === slot ? this.first : this.second;
  }

  get flags(): u16 {
    return <u16>this.first.tag;
  }

  get clientSlot(): u8 {
    return <u8>(this.first.tag >>> 16);
  }

  /** Taken back, or never booked as one. */
  get isGone(): bool {
    return this.first.other === GONE_ONCE;
  }

  keep(flags: u16, clientSlot: u8): void {
    this.first.tag = <u32>flags | ((<u32>clientSlot) << 16);
  }

  markGone(): void {
    this.second.other = GONE_ONCE;
    this.first.other = GONE_ONCE;
  }
}

/** The brief flows of a shard in a window. */
@unmanaged
class BriefList {
  /** The list of the next window. Free rows keep their list here. */
  next: u32;
  window: u32;
  /** Onces that waited for the window and are not passed. */
  onces: u32;
  /** KeyTable of these; without slots while it is being forgotten. */
  slots: usize;
  mask: u32;
  /** Of four bits for a slot those that the tags name: nearly all that is asked for is not here, and the table is in no cache. */
  filter: usize;

  get keys(): KeyTable {
    return changetype<KeyTable>(changetype<usize>(this) + offsetof<BriefList>('slots'));
  }

  get filterBytes(): usize {
    return (<usize>this.mask + 1) >>> 1;
  }

  giveTables(): void {
    if (this.slots === 0) return;
    this.keys.give();
    giveBlock(this.filter, this.filterBytes);
    this.slots = 0;
  }

  mayHave(tag: u32): bool {
    return ((load<u32>(this.filterWordOf(tag)) >>> (tag & 31)) & 1) !== 0;
  }

  note(tag: u32): void {
    const word = this.filterWordOf(tag);
    store<u32>(word, load<u32>(word) | ((<u32>1) << (tag & 31)));
  }

  private filterWordOf(tag: u32): usize {
    return this.filter + (((<usize>tag >>> 5) << 2) & (this.filterBytes - 1));
  }
}

/** Onces that are passed for as long as a flow is booked. */
const PASSED_COUNT: u32 = 8;

/** Of a shard, oldest first. */
@unmanaged
class ShardLists {
  head: u32;
  tail: u32;
  /** Kept flows in them. */
  count: u32;
  /** Onces in them that are not passed. */
  onces: u32;
}

let lists: RowPool = changetype<RowPool>(0);
let shards: usize = 0;
let briefs: u32 = 0;
/** The list of what is kept in the course of a shard's close. */
let keeping: u32 = 0;
/** In which one brief flow after the other is booked in the course of a close; 0 = not taken. */
let scratch: u32 = 0;
let scratchEnd: u32 = 0;
let scratchOther: u32 = 0;

/** To be called after initFlowTable. */
export function initBriefFlows(): void {
  lists = RowPool.create(offsetof<BriefList>(), SHARD_COUNT * (windowsToLinger() + 2));
  shards = allocate(<usize>SHARD_COUNT * offsetof<ShardLists>());
}

export function briefFlows(): u32 {
  return briefs;
}

/** Within a window there may be more of them than are kept at its end, but no more than flows. */
export function hasRoomForBrief(): bool {
  return briefs < FLOW_COUNT_MAX;
}

function listAt(list: u32): BriefList {
  return changetype<BriefList>(lists.at(list));
}

function shardAt(shard: u32): ShardLists {
  return changetype<ShardLists>(shards + <usize>shard * offsetof<ShardLists>());
}

/** The next `keepBrief`s are of the window, among `onces` that wait in a shard. Takes over `keys` of these; false when there is no memory for them. */
export function beginBriefs(window: u32, onces: u32, keys: KeyTable): bool {
  const row = lists.take();
  if (row === 0) return false;
  const list = listAt(row);
  list.next = 0;
  list.window = window;
  list.onces = onces;
  list.slots = keys.slots;
  list.mask = keys.mask;
  list.filter = takeBlock(list.filterBytes);
  if (list.filter !== 0) {
    keeping = row;
    return true;
  }
  lists.give(row);
  return false;
}

/** They were of this shard. No Once of the list has the key of one that was kept before, so that nobody asked for these. */
export function listBriefs(shard: u32): void {
  const kept = shardAt(shard);
  if (kept.tail === 0) kept.head = keeping;
  else listAt(kept.tail).next = keeping;
  kept.tail = keeping;
  kept.onces += listAt(keeping).onces;
}

/** A flow of both ends of the connection in `flowKey`, of which nothing else was told; it is in no table. `hasRoomForFlow` must say that there is room. */
export function flowOfPair(once: WaitingOnce, other: WaitingOnce): u32 {
  if (scratch === 0) {
    scratch = takeFlow();
    scratchEnd = takeEnd();
    scratchOther = takeEnd();
  }
  clearFlow(scratch);
  nameFlow(scratch, 0);
  fillEnd(scratchEnd, scratch, once);
  fillEnd(scratchOther, scratch, other);
  count(ReducerCounter.FlowsJoined);
  return scratch;
}

/** The close is over: its rows are those of other flows again. */
export function endBriefs(): void {
  if (scratch === 0) return;
  giveEnd(scratchEnd);
  giveEnd(scratchOther);
  giveFlow(scratch);
  scratch = 0;
}

/** What the record holds is the end's, too. */
function fillEnd(end: u32, flow: u32, once: WaitingOnce): void {
  clearEnd(end);
  const hot = endAt(end);
  hot.bytesSent = once.bytesSent;
  hot.bytesReceived = once.bytesReceived;
  hot.segmentsSent = once.segmentsSent;
  hot.segmentsReceived = once.segmentsReceived;
  hot.retransmits = once.retransmits;
  hot.srttUs = once.srttUs;
  hot.fromWindow = once.fromWindow;
  hot.flow = flow;
  hot.flags = END_FRESH | END_REPORTED | END_CLOSED | END_CLOSING;
  if ((once.flags & OpenFlags.Existing) !== 0) hot.flags |= END_EXISTING;
  if ((once.flags & OpenFlags.Counted) !== 0) hot.flags |= END_COUNTED;
  hot.node = once.node;
  const cold = coldEndAt(end);
  cold.cookie = once.cookie;
  cold.remote.borrow(once.remote);
  cold.viewpoint = once.viewpoint;
  cold.localPort = once.localPort;
  cold.remotePort = once.remotePort;
  cold.role = once.role;
  cold.roleSource = once.roleSource;
  cold.closeReason = once.reason;
  cold.protocol = once.protocol;
  cold.remoteNode = once.remoteNode;
  flowAt(flow).setEnd(once.slot, end);
  coldFlowAt(flow).noteBegin(once.startTime);
}

/** Keeps `flow` of `once` and the other of its connection, which is booked, for who tells them again. */
export function keepBrief(flow: u32, once: WaitingOnce): void {
  const cold = coldFlowAt(flow);
  const shard = shardAt(cold.shard);
  listAt(keeping).note(once.tag);
  changetype<BriefFlow>(once).keep(cold.flags, cold.clientSlot);
  shard.count++;
  briefs++;
  // Whoever looks at all rows must find no flow there.
  flowAt(flow).end0 = 0;
  flowAt(flow).end1 = 0;
}

/** The kept flow with the key in `flowKey`; 0 = there is none. `tag`: keyTag(). */
export function findBrief(tag: u32): usize {
  const shard = shardAt(flowKey.shard);
  if (flowKey.kind !== KeyKind.Join || shard.count === 0) return 0;
  for (let row = shard.head; row !== 0; row = listAt(row).next) {
    const list = listAt(row);
    if (list.slots === 0 || !list.mayHave(tag)) continue;
    const once = list.keys.find(flowKey.high, tag);
    if (once !== 0 && !changetype<BriefFlow>(once).isGone) return once;
  }
  return 0;
}

/** Takes the flow back into rows and into the flow table, which `firstFlow` was asked for it. 0 when a limit is reached. */
export function takeBrief(brief: BriefFlow): u32 {
  if (!hasRoomForFlow()) return 0;
  const flow = newFlow(0);
  if (!insertFlow(flow)) {
    giveFlow(flow);
    return 0;
  }
  fillEnd(takeEnd(), flow, brief.onceOf(0));
  fillEnd(takeEnd(), flow, brief.onceOf(1));
  bookAgain(flow, brief);
  brief.markGone();
  shardAt(flowKey.shard).count--;
  briefs--;
  return flow;
}

/** As the flow was after the close of its window. */
function bookAgain(flow: u32, brief: BriefFlow): void {
  const hot = flowAt(flow);
  const cold = coldFlowAt(flow);
  cold.flags = brief.flags;
  cold.clientSlot = brief.clientSlot;
  const client = endAt(hot.endAt(cold.clientSlot));
  const server = endAt(hot.endAt(1 - cold.clientSlot));
  bookTotals(hot, client, server, 0, blankEdgeFlow());
  keepOwnTotals(hot, cold, client, server);
  beginEndWindow(client);
  beginEndWindow(server);
}

/** Forgets some of the shard whose window is committed; false when there are none. */
export function forgetCommittedBriefs(shard: u32): bool {
  return forgetOldest(shard, committedWindow());
}

/** At the end of a close: forgets what was kept long enough, then what is beyond the limit. */
export function expireBriefs(window: u32): void {
  for (let shard: u32 = 0; shard < SHARD_COUNT; shard++) {
    if (window >= windowsToLinger()) forgetUpTo(shard, window - windowsToLinger());
    const kept = shardAt(shard);
    while (kept.onces > SHARD_ONCES_MAX) {
      const before = kept.count;
      forgetUpTo(shard, listAt(kept.head).window);
      add(ReducerCounter.FlowsEvicted, before - kept.count);
    }
  }
}

function forgetUpTo(shard: u32, window: u32): void {
  while (forgetOldest(shard, window)) {}
}

/** Passes some Onces of the oldest window. */
function forgetOldest(shard: u32, window: u32): bool {
  const kept = shardAt(shard);
  const row = kept.head;
  if (row === 0 || listAt(row).window > window) return false;
  const list = listAt(row);
  list.giveTables();
  for (let passed: u32 = 0; passed < PASSED_COUNT && list.onces !== 0; passed++) {
    list.onces--;
    kept.onces--;
    const once = changetype<WaitingOnce>(passOldest(shard));
    if (once.other === GONE_ONCE) continue;
    if (once.other !== TAKEN_ONCE) {
      kept.count--;
      briefs--;
    }
    releaseOnce(once);
  }
  if (list.onces !== 0) return true;
  givePassed(shard);
  kept.head = list.next;
  if (kept.head === 0) kept.tail = 0;
  lists.give(row);
  return true;
}

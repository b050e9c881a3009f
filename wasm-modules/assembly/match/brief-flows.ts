// Brief flows: both ends lived within one window, and one Once of each was all that was told. Each is booked in rows that are given back at once,
// so that the next one has them in the cache, and never is in the flow table. Until the host reports the commit of its window a copy of its rows
// is kept, in a list for each shard and window: a socket that is told again takes the flow back from there.
//
// A shard beyond its limit loses its oldest window as a whole: what is forgotten depends neither on the number of workers nor on the order of
// arrival.
import { releaseNode } from '../enrich/nodes';
import { ReducerCounter } from '../gen/records';
import { allocate, giveBlock, takeBlock } from '../lib/arena';
import { BlockChain } from '../lib/block-chain';
import { add, count } from '../lib/counters';
import { SHARD_COUNT } from '../lib/flow-place';
import { RowPool } from '../lib/row-pool';
import { copyWords } from '../lib/words';
import {
  coldEndAt,
  coldFlowAt,
  End,
  EndCold,
  endAt,
  FLOW_COUNT_MAX,
  Flow,
  FlowCold,
  FlowKey,
  flowAt,
  flowKeyAt,
  giveEnd,
  giveFlow,
  hasRoomForFlow,
  releaseRemote,
  takeEnd,
  takeFlow,
} from './flow';
import { flowKey, KeyKind } from './flow-key';
import { committedWindow, dropFlow, insertFlow, windowsToLinger } from './flow-table';
import { giveOwnTotals } from './own-numbers';
import { releaseViewpoint } from './viewpoints';

/** Kept brief flows over all workers; the oldest are evicted and counted. */
export const BRIEF_FLOW_COUNT_MAX: u32 = 1 << 21;
const SHARD_BRIEFS_MAX: u32 = BRIEF_FLOW_COUNT_MAX / SHARD_COUNT;

/** What its rows say, without their handles. */
@unmanaged
export class BriefFlow {
  get flow(): Flow {
    return changetype<Flow>(changetype<usize>(this));
  }

  get cold(): FlowCold {
    return changetype<FlowCold>(changetype<usize>(this) + offsetof<Flow>());
  }

  get key(): FlowKey {
    return changetype<FlowKey>(changetype<usize>(this.cold) + offsetof<FlowCold>());
  }

  end(slot: u32): End {
    return changetype<End>(changetype<usize>(this) + ENDS_OFFSET + <usize>slot * END_BYTES);
  }

  /** Taken back. */
  get isGone(): bool {
    return this.flow.end0 === 0;
  }

  markGone(): void {
    this.flow.end0 = 0;
  }

  coldEnd(slot: u32): EndCold {
    return changetype<EndCold>(changetype<usize>(this.end(slot)) + offsetof<End>());
  }
}

const ENDS_OFFSET: usize = offsetof<Flow>() + offsetof<FlowCold>() + offsetof<FlowKey>();
const END_BYTES: usize = offsetof<End>() + offsetof<EndCold>();
const BRIEF_FLOW_BYTES: u32 = <u32>(ENDS_OFFSET + 2 * END_BYTES);

/** The brief flows of a shard in a window. */
@unmanaged
class BriefList {
  /** The list of the next window. Free rows keep their list here. */
  next: u32;
  window: u32;
  mask: u32;
  /** Copies of this window in the shard's chain. */
  copies: u32;
  /** Slots by linear probing: tag u32, address of the BriefFlow u32; 0 = it is being forgotten. */
  index: usize;
  pad0: u32;

  get indexBytes(): usize {
    return (<usize>this.mask + 1) * SLOT_BYTES;
  }

  slotAt(slot: u32): usize {
    return this.index + <usize>(slot & this.mask) * SLOT_BYTES;
  }
}

const SLOT_BYTES: usize = 8;
const SLOT_COUNT_MIN: u32 = 8;

/** Of a shard, oldest first. Behind it: the BlockChain of the copies of all windows, in their order. */
@unmanaged
class ShardLists {
  head: u32;
  tail: u32;
  /** Kept flows in them. */
  count: u32;
  pad0: u32;

  get copies(): BlockChain {
    return changetype<BlockChain>(changetype<usize>(this) + offsetof<ShardLists>());
  }
}

const SHARD_BYTES: usize = offsetof<ShardLists>() + offsetof<BlockChain>();

let lists: RowPool = changetype<RowPool>(0);
let shards: usize = 0;
let briefs: u32 = 0;

/** To be called after initFlowTable. */
export function initBriefFlows(): void {
  lists = RowPool.create(offsetof<BriefList>(), SHARD_COUNT * (windowsToLinger() + 2));
  shards = allocate(<usize>SHARD_COUNT * SHARD_BYTES);
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
  return changetype<ShardLists>(shards + <usize>shard * SHARD_BYTES);
}

/** The next `keepBrief`s are of this shard and window, and at most `count`. False when there is no memory for them. */
export function beginBriefs(shard: u32, window: u32, count: u32): bool {
  let slots: u32 = SLOT_COUNT_MIN;
  while (slots < count * 2) slots *= 2;
  const index = takeBlock(<usize>slots * SLOT_BYTES);
  if (index === 0) return false;
  const row = lists.take();
  if (row === 0) {
    giveBlock(index, <usize>slots * SLOT_BYTES);
    return false;
  }
  const list = listAt(row);
  memory.fill(changetype<usize>(list), 0, offsetof<BriefList>());
  list.window = window;
  list.mask = slots - 1;
  list.index = index;
  const kept = shardAt(shard);
  if (kept.tail === 0) kept.head = row;
  else listAt(kept.tail).next = row;
  kept.tail = row;
  return true;
}

/** Gives back the rows of `flow`, whose key is in `flowKey` and whose ends have closed. Without memory for a copy it is evicted. */
export function keepBrief(flow: u32, tag: u32): void {
  const shard = shardAt(flowKey.shard);
  const list = listAt(shard.tail);
  const address = shard.copies.append(BRIEF_FLOW_BYTES);
  if (address === 0) {
    dropFlow(flow);
    count(ReducerCounter.FlowsEvicted);
    return;
  }
  list.copies++;
  const brief = changetype<BriefFlow>(address);
  const hot = flowAt(flow);
  copyWords(changetype<usize>(brief.flow), changetype<usize>(hot), offsetof<Flow>());
  copyWords(changetype<usize>(brief.cold), changetype<usize>(coldFlowAt(flow)), offsetof<FlowCold>());
  copyWords(changetype<usize>(brief.key), changetype<usize>(flowKeyAt(flow)), offsetof<FlowKey>());
  copyEnd(brief, 0, hot.end0);
  copyEnd(brief, 1, hot.end1);
  giveEnd(hot.end0);
  giveEnd(hot.end1);
  giveFlow(flow);
  let slot = tag;
  while (load<u32>(list.slotAt(slot), 4) !== 0) slot++;
  store<u64>(list.slotAt(slot), <u64>tag | ((<u64>(<u32>address)) << 32));
  shard.count++;
  briefs++;
}

function copyEnd(brief: BriefFlow, slot: u32, end: u32): void {
  copyWords(changetype<usize>(brief.end(slot)), changetype<usize>(endAt(end)), offsetof<End>());
  copyWords(changetype<usize>(brief.coldEnd(slot)), changetype<usize>(coldEndAt(end)), offsetof<EndCold>());
}

/** The kept flow with the key in `flowKey`; 0 = there is none. `tag`: keyTag(). */
export function findBrief(tag: u32): usize {
  const shard = shardAt(flowKey.shard);
  if (flowKey.kind !== KeyKind.Join || shard.count === 0) return 0;
  for (let row = shard.head; row !== 0; row = listAt(row).next) {
    const list = listAt(row);
    if (list.index === 0) continue;
    for (let slot = tag; load<u32>(list.slotAt(slot), 4) !== 0; slot++) {
      if (load<u32>(list.slotAt(slot)) !== tag) continue;
      const address: usize = load<u32>(list.slotAt(slot), 4);
      const brief = changetype<BriefFlow>(address);
      if (brief.key.high === flowKey.high && !brief.isGone) return address;
    }
  }
  return 0;
}

/** Takes the flow back into rows and into the flow table, which `firstFlow` was asked for it. 0 when a limit is reached. */
export function takeBrief(brief: BriefFlow): u32 {
  if (!hasRoomForFlow()) return 0;
  const flow = takeFlow();
  copyWords(changetype<usize>(flowAt(flow)), changetype<usize>(brief.flow), offsetof<Flow>());
  copyWords(changetype<usize>(coldFlowAt(flow)), changetype<usize>(brief.cold), offsetof<FlowCold>());
  copyWords(changetype<usize>(flowKeyAt(flow)), changetype<usize>(brief.key), offsetof<FlowKey>());
  if (!insertFlow(flow)) {
    giveFlow(flow);
    return 0;
  }
  for (let slot: u32 = 0; slot < 2; slot++) {
    const end = takeEnd();
    copyWords(changetype<usize>(endAt(end)), changetype<usize>(brief.end(slot)), offsetof<End>());
    copyWords(changetype<usize>(coldEndAt(end)), changetype<usize>(brief.coldEnd(slot)), offsetof<EndCold>());
    endAt(end).flow = flow;
    flowAt(flow).setEnd(slot, end);
  }
  brief.markGone();
  shardAt(flowKey.shard).count--;
  briefs--;
  return flow;
}

/** Forgets one of the shard whose window is committed; false when there is none. */
export function forgetCommittedBrief(shard: u32): bool {
  return forgetOldest(shardAt(shard), committedWindow());
}

/** At the end of a close: forgets what was kept long enough, then what is beyond the limit. */
export function expireBriefs(window: u32): void {
  for (let index: u32 = 0; index < SHARD_COUNT; index++) {
    const shard = shardAt(index);
    if (window >= windowsToLinger()) forgetUpTo(shard, window - windowsToLinger());
    while (shard.count > SHARD_BRIEFS_MAX) {
      const before = shard.count;
      forgetUpTo(shard, listAt(shard.head).window);
      add(ReducerCounter.FlowsEvicted, before - shard.count);
    }
  }
}

function forgetUpTo(shard: ShardLists, window: u32): void {
  while (forgetOldest(shard, window)) {}
}

function forgetOldest(shard: ShardLists, window: u32): bool {
  const row = shard.head;
  if (row === 0 || listAt(row).window > window) return false;
  const list = listAt(row);
  if (list.index !== 0) giveBlock(list.index, list.indexBytes);
  list.index = 0;
  if (list.copies === 0) {
    shard.head = list.next;
    if (shard.head === 0) shard.tail = 0;
    lists.give(row);
    return true;
  }
  const brief = changetype<BriefFlow>(shard.copies.front());
  if (!brief.isGone) {
    releaseEnd(brief, 0);
    releaseEnd(brief, 1);
    giveOwnTotals(brief.cold.own);
    brief.cold.own = 0;
    shard.count--;
    briefs--;
  }
  shard.copies.pass(BRIEF_FLOW_BYTES);
  list.copies--;
  return true;
}

function releaseEnd(brief: BriefFlow, slot: u32): void {
  releaseNode(brief.end(slot).node);
  releaseNode(brief.coldEnd(slot).remoteNode);
  releaseViewpoint(brief.coldEnd(slot).viewpoint);
  releaseRemote(brief.end(slot), brief.coldEnd(slot));
}

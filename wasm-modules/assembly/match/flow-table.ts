// Flows by key, and the lists of those that linger.
//
// A closed flow lingers, so that what is told late or again finds it and books nothing twice: FLOW_LINGER_NS for a flow of which one end was
// seen, and until the host reports the commit for one whose two ends have closed. Lists are kept per shard, oldest first, and a list beyond
// its limit loses its oldest window as a whole: what is forgotten depends neither on the number of workers nor on the order of arrival.

import { releaseNode } from '../enrich/nodes';
import { ReducerCounter } from '../gen/records';
import { allocate } from '../lib/arena';
import { add } from '../lib/counters';
import { SHARD_COUNT } from '../lib/flow-place';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { dropCarried } from './carried';
import { dropExported } from './exported';
import {
  coldEndAt,
  coldFlowAt,
  endAt,
  FLOW_COUNT_MAX,
  FLOW_FINISHED,
  flowAt,
  flowKeyAt,
  giveEnd,
  giveFlow,
  initFlows,
  releaseRemote,
  takeFlow,
} from './flow';
import { flowKey } from './flow-key';
import { clearMark, MARK_LINGERING, MARK_TOUCHED, setMark } from './flow-marks';
import { dropMember } from './fold-members';
import { dropHistory } from './history';
import { dropOwnTotals } from './own-numbers';
import { initTouchedFlows, pushTouchedFlow } from './touched-flows';
import { releaseViewpoint } from './viewpoints';

/** How long a one-sided closed flow is kept, in nanoseconds of windows. */
export const FLOW_LINGER_NS: u64 = 600_000_000_000;
/** Lingering flows of each sort, over all workers; the oldest are evicted and counted. */
export const FLOW_LINGER_MAX: u32 = 262_144;
const LIST_COUNT_MAX: u32 = FLOW_LINGER_MAX / SHARD_COUNT;

@unmanaged
class LingerList {
  head: u32;
  tail: u32;
  count: u32;
  pad0: u32;
}

/** OpenTable by shard. */
let tables: usize = 0;
/** That of the walk of `firstFlow`. */
let walked: OpenTable = changetype<OpenTable>(0);
let walkedTag: u32 = 0;
let lists: usize = 0;
let lingerWindows: u32 = 0;
let lingering: u32 = 0;
let committed: u32 = 0;

export function initFlowTable(windowNs: u64): void {
  initFlows();
  initTouchedFlows();
  tables = allocate(<usize>SHARD_COUNT * sizeof<usize>());
  for (let shard: u32 = 0; shard < SHARD_COUNT; shard++) {
    store<usize>(tables + <usize>shard * sizeof<usize>(), changetype<usize>(OpenTable.create(FLOW_COUNT_MAX)));
  }
  lists = allocate(<usize>SHARD_COUNT * 2 * offsetof<LingerList>());
  lingerWindows = <u32>((FLOW_LINGER_NS + windowNs - 1) / windowNs);
}

function tableOf(shard: u32): OpenTable {
  return changetype<OpenTable>(load<usize>(tables + <usize>shard * sizeof<usize>()));
}

/** For how many windows a flow of which one end was seen is kept. */
export function windowsToLinger(): u32 {
  return lingerWindows;
}

export function lingeringFlows(): u32 {
  return lingering;
}

/** Of the key in `flowKey`, in the tables of flows. */
export function keyTag(): u32 {
  return hashPair(flowKey.high, flowKey.low);
}

/** The first flow with the key in `flowKey`, or 0; `nextFlow` gives further generations. `tag`: keyTag(). */
export function firstFlow(tag: u32): u32 {
  walked = tableOf(flowKey.shard);
  walkedTag = tag;
  return matchKey(walked.first(tag));
}

/** Where the table says which flow `firstFlow` looks at first, u32; 0 there is none. It stands until a flow is added or forgotten. */
export function slotOfKey(): usize {
  return tableOf(flowKey.shard).home(keyTag());
}

export function nextFlow(): u32 {
  return matchKey(walked.next());
}

function matchKey(from: u32): u32 {
  for (let flow = from; flow !== 0; flow = walked.next()) {
    const key = flowKeyAt(flow);
    if (key.high === flowKey.high && key.low === flowKey.low && coldFlowAt(flow).kind === flowKey.kind) return flow;
  }
  return 0;
}

/** A new flow with the key in `flowKey`, which `firstFlow` was asked for; 0 when a limit is reached. */
export function addFlow(generation: u16): u32 {
  const flow = newFlow(generation);
  if (flow === 0 || insertFlow(flow)) return flow;
  giveFlow(flow);
  return 0;
}

/** Puts a flow into the table whose key is in `flowKey`, which `firstFlow` was asked for; false when memory is used up. */
export function insertFlow(flow: u32): bool {
  return walked.insert(walkedTag, flow);
}

/** A flow with the key in `flowKey` that is in no table; 0 when a limit is reached. */
export function newFlow(generation: u16): u32 {
  const flow = takeFlow();
  if (flow !== 0) nameFlow(flow, generation);
  return flow;
}

/** Gives a flow that is in no table the key in `flowKey`. */
export function nameFlow(flow: u32, generation: u16): void {
  const key = flowKeyAt(flow);
  key.high = flowKey.high;
  key.low = flowKey.low;
  const cold = coldFlowAt(flow);
  cold.kind = flowKey.kind;
  cold.shard = flowKey.shard;
  cold.generation = generation;
}

/** The next close looks at the flow. */
export function touchFlow(flow: u32): void {
  const before = setMark(flow, MARK_TOUCHED);
  if ((before & MARK_TOUCHED) !== 0) return;
  if ((before & MARK_LINGERING) !== 0) unlinkLingering(flow);
  pushTouchedFlow(flow);
}

/** A closed and booked flow begins to linger with `window`. */
export function lingerFlow(flow: u32, window: u32, isFinished: bool): void {
  const cold = coldFlowAt(flow);
  setMark(flow, MARK_LINGERING);
  if (isFinished) cold.flags |= FLOW_FINISHED;
  cold.lingerWindow = window;
  const list = listOf(flow);
  cold.lingerPrevious = list.tail;
  flowAt(flow).next = 0;
  if (list.tail === 0) list.head = flow;
  else flowAt(list.tail).next = flow;
  list.tail = flow;
  list.count++;
  lingering++;
}

function unlinkLingering(flow: u32): void {
  const cold = coldFlowAt(flow);
  const list = listOf(flow);
  const next = flowAt(flow).next;
  if (cold.lingerPrevious === 0) list.head = next;
  else flowAt(cold.lingerPrevious).next = next;
  if (next === 0) list.tail = cold.lingerPrevious;
  else coldFlowAt(next).lingerPrevious = cold.lingerPrevious;
  cold.flags &= ~FLOW_FINISHED;
  clearMark(flow, MARK_LINGERING);
  list.count--;
  lingering--;
}

/** At the end of a close: forgets what has lingered long enough, then what is beyond the limits. */
export function expireLingering(window: u32): void {
  for (let index: u32 = 0; index < SHARD_COUNT * 2; index++) {
    const list = listAt(index);
    if (window >= lingerWindows) forgetUpTo(list, window - lingerWindows);
    while (list.count > LIST_COUNT_MAX) {
      const before = list.count;
      forgetUpTo(list, coldFlowAt(list.head).lingerWindow);
      add(ReducerCounter.FlowsEvicted, before - list.count);
    }
  }
}

/** What finished up to `window` is exported and no agent tells it again: the next close forgets it. */
export function noteCommitted(window: u32): void {
  committed = window;
}

export function committedWindow(): u32 {
  return committed;
}

/** Forgets one flow of the shard that is committed; false when there is none. */
export function forgetCommitted(shard: u32): bool {
  return forgetOldest(listAt(shard * 2 + 1), committed);
}

function forgetOldest(list: LingerList, window: u32): bool {
  const flow = list.head;
  if (flow === 0 || coldFlowAt(flow).lingerWindow > window) return false;
  unlinkLingering(flow);
  forgetFlow(flow);
  return true;
}

function forgetUpTo(list: LingerList, window: u32): void {
  while (forgetOldest(list, window)) {}
}

/** Gives a flow back that is on no list. */
export function forgetFlow(flow: u32): void {
  const key = flowKeyAt(flow);
  tableOf(coldFlowAt(flow).shard).remove(hashPair(key.high, key.low), flow);
  dropFlow(flow);
}

/** Gives a flow back that is on no list and in no table. */
function dropFlow(flow: u32): void {
  dropHistory(flow);
  dropExported(flow);
  dropOwnTotals(flow);
  dropMember(flow);
  forgetEnd(flowAt(flow).end0);
  forgetEnd(flowAt(flow).end1);
  giveFlow(flow);
}

/** Gives an end's row back; it must have no open channel end and no baseline. */
export function forgetEnd(end: u32): void {
  if (end === 0) return;
  releaseNode(endAt(end).node);
  releaseNode(coldEndAt(end).remoteNode);
  releaseViewpoint(coldEndAt(end).viewpoint);
  releaseRemote(endAt(end), coldEndAt(end));
  dropCarried(end);
  giveEnd(end);
}

function listAt(index: u32): LingerList {
  return changetype<LingerList>(lists + <usize>index * offsetof<LingerList>());
}

function listOf(flow: u32): LingerList {
  const cold = coldFlowAt(flow);
  return listAt(<u32>cold.shard * 2 + <u32>((cold.flags & FLOW_FINISHED) !== 0));
}

// An end claims a slot of a flow. Who keeps a contested slot never depends on the order of arrival within a window: an end that held it at
// the last close keeps it, open or closed, as long as the flow is remembered. Among those of one window evidence decides (evidence.ts), then
// the least (agent identity, cookie), so that all sessions of an agent stand together. The loser's totals leave with it; nothing of an end
// reaches the flow itself before the window closes.
//
//   same (boot, cookie), same agent identity   one socket, told again or by a new session: merged
//   same (boot, cookie), another identity      duplicate_observer while the first one looks, then merged
//   another socket                             ambiguous; keyed by tuple and closed before: the next generation, or of datagrams the same
//                                              flow while the other end goes on
//   what cannot face the end that is there     ambiguous

import { releaseNode, retainNode } from '../enrich/nodes';
import { CloseReason } from '../gen/kernel-events';
import { MatchOpen, ReducerCounter, RefusalReason } from '../gen/records';
import { OpenFlags } from '../gen/wire';
import { count, countRefusal } from '../lib/counters';
import { dropBaseline } from './baselines';
import { BriefFlow, findBrief, takeBrief } from './brief-flows';
import { carryTotals, giveTotals, keepTotals } from './carried';
import { canFace, mirrorsEnd, mirrorsOpen, witnessOf } from './evidence';
import {
  coldEndAt,
  coldFlowAt,
  END_CLOSED,
  END_COUNTED,
  END_EXISTING,
  END_FRESH,
  END_HELD,
  END_MERGED,
  END_REPORTED,
  END_SETTLED,
  endAt,
  FLOW_JUDGED,
  FLOW_RENAMED,
  flowAt,
  takeEnd,
} from './flow';
import { flowKey, KeyKind } from './flow-key';
import { addFlow, firstFlow, forgetEnd, keyTag, nextFlow, touchFlow } from './flow-table';
import { dropTallies } from './tallies';
import {
  releaseViewpoint,
  retainViewpoint,
  viewpointAt,
  viewpointOfSession,
  viewpointWithoutAddress,
} from './viewpoints';

/** Connections of one tuple that are remembered at once. */
const GENERATION_COUNT_MAX: u32 = 8;

const IPPROTO_UDP: u8 = 17;

/** The end that claims its slot under the key in `flowKey`; 0 when it is refused. `node`: its owner here. `open` has its viewpoint. */
export function claimEnd(open: MatchOpen, node: u32): u32 {
  const tag = keyTag();
  let flow = flowKey.kind === KeyKind.Tuple ? flowOfTuple(tag, open) : firstFlow(tag);
  if (flow === 0 && flowKey.kind !== KeyKind.Tuple) {
    const brief = findBrief(tag);
    if (brief !== 0 && !isToldAgain(changetype<BriefFlow>(brief), open)) return refuse(RefusalReason.Ambiguous);
    flow = brief !== 0 ? takeBrief(changetype<BriefFlow>(brief)) : addFlow(0);
  }
  if (flow === 0) return refuse(RefusalReason.FlowLimit);
  const end = claimSlot(flow, open, node);
  if (end !== 0 || (flowAt(flow).end0 | flowAt(flow).end1) === 0) touchFlow(flow);
  return end;
}

/** Both sides of a kept flow are taken, and closed before the open window. */
function isToldAgain(brief: BriefFlow, open: MatchOpen): bool {
  const once = brief.onceOf(flowKey.slot);
  return once.cookie === open.cookie && viewpointAt(once.viewpoint).boot === open.boot;
}

/**
 * Connections of one tuple follow one another, and each end tells its own in order: its n-th takes the n-th generation, whenever the
 * other end tells.
 */
function flowOfTuple(tag: u32, open: MatchOpen): u32 {
  const slot = flowKey.slot;
  let generations: u32 = 0;
  let last: u32 = 0;
  let lastOfSlot: u32 = 0;
  for (let flow = firstFlow(tag); flow !== 0; flow = nextFlow()) {
    generations++;
    if (last === 0 || coldFlowAt(flow).generation > coldFlowAt(last).generation) last = flow;
    const end = flowAt(flow).endAt(slot);
    if (end === 0) continue;
    if (isSameSocket(end, open)) return flow;
    if (lastOfSlot === 0 || coldFlowAt(flow).generation > coldFlowAt(lastOfSlot).generation) lastOfSlot = flow;
  }
  if (lastOfSlot !== 0 && lastOfSlot === last && goesOn(last, open)) return last;
  if (lastOfSlot !== 0 && !mayFollow(flowAt(lastOfSlot).endAt(slot), open)) return lastOfSlot;
  let free: u32 = 0;
  for (let flow = firstFlow(tag); flow !== 0; flow = nextFlow()) {
    const generation = coldFlowAt(flow).generation;
    if (lastOfSlot !== 0 && generation <= coldFlowAt(lastOfSlot).generation) continue;
    if (free === 0 || generation < coldFlowAt(free).generation) free = flow;
  }
  if (free !== 0) return free;
  if (generations >= GENERATION_COUNT_MAX) return 0;
  return addFlow(last === 0 ? 0 : coldFlowAt(last).generation + 1);
}

/** True when the socket of `end` is over, so that `open` is the next connection of the same tuple. */
function mayFollow(end: u32, open: MatchOpen): bool {
  if (coldEndAt(end).from.identity === open.identity) return endAt(end).openCount === 0;
  return (endAt(end).flags & (END_FRESH | END_HELD)) === 0;
}

/**
 * Datagrams after a pause that the other end did not see, or of an agent that looks anew: the flow goes on, when the other end or the one
 * whose place is taken was open at the last close.
 */
function goesOn(flow: u32, open: MatchOpen): bool {
  const taken = flowAt(flow).endAt(flowKey.slot);
  if (open.protocol !== IPPROTO_UDP || taken === 0 || isSameSocket(taken, open)) return false;
  const isAnew = isOfEarlierSession(taken, open);
  if (isAnew && isHeld(taken)) return true;
  return isHeld(flowAt(flow).endAt(1 - flowKey.slot)) && (isAnew || mayFollow(taken, open));
}

function isHeld(end: u32): bool {
  return end !== 0 && (endAt(end).flags & END_HELD) !== 0;
}

function isOfEarlierSession(end: u32, open: MatchOpen): bool {
  const from = coldEndAt(end).from;
  return from.identity === open.identity && from.session !== open.session;
}

function isSameSocket(end: u32, open: MatchOpen): bool {
  const cold = coldEndAt(end);
  return cold.cookie === open.cookie && cold.from.boot === open.boot && (endAt(end).flags & END_SETTLED) === 0;
}

function claimSlot(flow: u32, open: MatchOpen, node: u32): u32 {
  const slot = flowKey.slot;
  const taken = flowAt(flow).endAt(slot);
  const witness = witnessOf(flow, 1 - slot);
  if (taken === 0) return canFace(witness, open) ? occupy(flow, open, node) : refuse(RefusalReason.Ambiguous);
  if (flowKey.kind === KeyKind.Tuple && goesOn(flow, open)) return continueEnd(flow, taken, open, node);
  const flags = endAt(taken).flags;
  if ((flags & END_SETTLED) !== 0) return claimFromSettled(flow, taken, open, node);
  const isSame = isSameSocket(taken, open);
  const isSameAgent = coldEndAt(taken).from.identity === open.identity;
  if (isSame && (isSameAgent || (flags & (END_FRESH | END_HELD)) === 0)) return merge(flow, taken, open, node);
  const reason = isSame ? RefusalReason.DuplicateObserver : RefusalReason.Ambiguous;
  if ((flags & END_FRESH) === 0 || (flags & END_HELD) !== 0 || !precedes(open, taken, witness)) return refuse(reason);
  refuse(reason);
  return displace(flow, open, node);
}

/** Who was told closed and committed before this window leaves its side to its own host alone. */
function claimFromSettled(flow: u32, settled: u32, open: MatchOpen, node: u32): u32 {
  const isOld = (endAt(settled).flags & END_FRESH) === 0;
  if (isOld && coldEndAt(settled).from.boot !== open.boot) return refuse(RefusalReason.Ambiguous);
  if (!canFace(witnessOf(flow, 1 - flowKey.slot), open)) return refuse(RefusalReason.Ambiguous);
  return displace(flow, open, node);
}

function precedes(open: MatchOpen, end: u32, witness: u32): bool {
  const isMirror = mirrorsOpen(witness, open);
  if (isMirror !== mirrorsEnd(witness, end)) return isMirror;
  const cold = coldEndAt(end);
  const identity = cold.from.identity;
  return open.identity !== identity ? open.identity < identity : open.cookie < cold.cookie;
}

function refuse(reason: u8): u32 {
  count(ReducerCounter.ClaimsRefused);
  countRefusal(reason);
  return 0;
}

function displace(flow: u32, open: MatchOpen, node: u32): u32 {
  const loser = flowAt(flow).endAt(flowKey.slot);
  dropBaseline(loser);
  if (coldFlowAt(flow).tallies !== 0) dropTallies(flow, loser);
  flowAt(flow).setEnd(flowKey.slot, 0);
  endAt(loser).flow = 0;
  if (endAt(loser).openCount === 0) forgetEnd(loser);
  return occupy(flow, open, node);
}

/** What an agent did not see while it did not look is no loss. */
function continueEnd(flow: u32, taken: u32, open: MatchOpen, node: u32): u32 {
  const totals = keepTotals(taken);
  if (coldEndAt(taken).from.session !== open.session) coldFlowAt(flow).flags |= FLOW_JUDGED;
  const stood = endAt(taken).flags & (END_FRESH | END_HELD);
  let end = taken;
  if (endAt(taken).openCount === 0) reopen(end, open, node);
  else end = displace(flow, open, node);
  if (end !== 0) endAt(end).flags = (endAt(end).flags & ~END_FRESH) | stood;
  if (end === 0) giveTotals(totals);
  else carryTotals(end, totals);
  return end;
}

/** Another flow of datagrams takes the place of the one that has closed, with what waits to be booked of it. */
function reopen(end: u32, open: MatchOpen, node: u32): void {
  const cold = coldEndAt(end);
  endAt(end).flags &= ~END_CLOSED;
  endAt(end).flags |= flagsOf(open);
  cold.cookie = open.cookie;
  setViewpoint(end, viewpointOfSession(cold.viewpoint, open.session, open.identity));
  cold.closeReason = CloseReason.None;
  if (node !== 0) setNode(end, node);
  improveRole(end, open);
}

/** An end for the side in `flowKey`, which nobody has; 0 when it is refused. */
function occupy(flow: u32, open: MatchOpen, node: u32): u32 {
  const end = takeEnd();
  if (end === 0) return refuse(RefusalReason.FlowLimit);
  const hot = endAt(end);
  hot.flow = flow;
  hot.flags = END_FRESH | flagsOf(open);
  setNode(end, node);
  const cold = coldEndAt(end);
  cold.viewpoint = open.viewpoint;
  retainViewpoint(open.viewpoint);
  cold.cookie = open.cookie;
  cold.remote.set(open.remoteAddressHi, open.remoteAddressLo);
  cold.localPort = open.localPort;
  cold.remotePort = open.remotePort;
  cold.role = open.role;
  cold.roleSource = open.roleSource;
  cold.protocol = open.protocol;
  flowAt(flow).setEnd(flowKey.slot, end);
  if (flowAt(flow).endAt(1 - flowKey.slot) !== 0) count(ReducerCounter.FlowsJoined);
  coldFlowAt(flow).flags |= FLOW_RENAMED;
  return end;
}

/** The same socket, told once more. Each part of it is alike in either order of two sessions. */
function merge(flow: u32, end: u32, open: MatchOpen, node: u32): u32 {
  const hot = endAt(end);
  const cold = coldEndAt(end);
  const flags = flagsOf(open);
  if ((flags & END_EXISTING) === 0) hot.flags &= ~END_EXISTING;
  hot.flags |= flags & (END_COUNTED | END_REPORTED);
  const isFirst = (hot.flags & (END_FRESH | END_MERGED)) === 0;
  hot.flags |= END_MERGED;
  const before = cold.from;
  const identity = isFirst ? open.identity : min(before.identity, open.identity);
  const isLatest = isFirst || open.session >= before.session;
  setViewpoint(end, viewpointOfSession(cold.viewpoint, isLatest ? open.session : before.session, identity));
  if (isLatest && node !== 0) setNode(end, node);
  coldFlowAt(flow).flags |= FLOW_RENAMED;
  improveRole(end, open);
  return end;
}

/** Takes over what the caller retains. */
function setViewpoint(end: u32, viewpoint: u32): void {
  releaseViewpoint(coldEndAt(end).viewpoint);
  coldEndAt(end).viewpoint = viewpoint;
}

/** An open end is told again because its owner or its role became better known. */
export function refreshEnd(end: u32, open: MatchOpen, node: u32): void {
  if (endAt(end).flow === 0) return;
  if (node !== 0) setNode(end, node);
  improveRole(end, open);
  coldFlowAt(endAt(end).flow).flags |= FLOW_RENAMED;
  touchFlow(endAt(end).flow);
}

function improveRole(end: u32, open: MatchOpen): void {
  const cold = coldEndAt(end);
  if (open.roleSource <= cold.roleSource) return;
  cold.role = open.role;
  cold.roleSource = open.roleSource;
}

function setNode(end: u32, node: u32): void {
  retainNode(node);
  releaseNode(endAt(end).node);
  endAt(end).node = node;
}

function flagsOf(open: MatchOpen): u16 {
  let flags = END_REPORTED;
  if ((open.flags & OpenFlags.Existing) !== 0) flags |= END_EXISTING;
  if ((open.flags & OpenFlags.Counted) !== 0) flags |= END_COUNTED;
  return flags;
}

/** A closed socket of an earlier incarnation of the reducer claims its slot, if nobody alive does. Returns the end, or 0. */
export function claimSettled(boot: u64, session: u64, role: u8, isCounted: bool): u32 {
  const tag = keyTag();
  let flow = firstFlow(tag);
  if (flow === 0) {
    if (findBrief(tag) !== 0) return 0;
    flow = addFlow(0);
  }
  if (flow === 0) return refuse(RefusalReason.FlowLimit);
  if (flowAt(flow).endAt(flowKey.slot) !== 0) return 0;
  touchFlow(flow);
  const end = takeEnd();
  if (end === 0) return refuse(RefusalReason.FlowLimit);
  endAt(end).flow = flow;
  endAt(end).flags = END_FRESH | END_SETTLED | END_CLOSED | END_EXISTING;
  if (isCounted) endAt(end).flags |= END_COUNTED;
  const cold = coldEndAt(end);
  cold.viewpoint = viewpointWithoutAddress(boot, session);
  cold.role = role;
  flowAt(flow).setEnd(flowKey.slot, end);
  return end;
}

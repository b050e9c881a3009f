// Flows beside folds. A flow that lacks an end, because nobody tells of it or whoever did has left without its close, may have it in a fold of
// its pair. It is then a member of the pair: what it has booked is taken off the pair's side that it lacks, and its news wait until the pair is
// judged, because a fold may have booked them before. When the missing end appears after all, what was taken off is given back.

import { EDGE_FLOW_SIZE, EdgeFlow, ReducerCounter } from '../gen/records';
import { count } from '../lib/counters';
import { pairInSpace, pairOf, shortTimeBetween } from '../lib/flow-place';
import { RowPool } from '../lib/row-pool';
import { RESET_BY_CLIENT, RESET_BY_SERVER, resetSender } from './counts';
import { exportedAt } from './exported';
import {
  coldEndAt,
  coldFlowAt,
  END_CLOSED,
  END_COUNTED,
  END_EXISTING,
  END_SETTLED,
  endAt,
  FLOW_CLOSED_COUNTED,
  FLOW_CONNECTION_COUNTED,
  FLOW_RESET_COUNTED,
  FLOW_UNORIENTED,
  flowAt,
  flowEnd,
  flowKeyAt,
} from './flow';
import { KeyKind } from './flow-key';
import { clearNewPairs, FoldPair, findPair, hasNewPairs, isNewShard, pairAt, Sum, touchPair } from './fold-pairs';
import { FoldSums } from './fold-sums';
import { historyAt } from './history';

/** Per worker; further flows are booked as they are, and counted. */
export const FOLD_MEMBER_COUNT_MAX: u32 = 1 << 17;

/** Of two agents, in short time: 2 s. */
const CLOCKS_APART_MAX: i32 = 120;

/** Behind it: what the flow has booked, what was known of it as its client and as its server, all as taken off its pair; its news. */
@unmanaged
export class Member {
  /** Members of the pair. Free rows keep their list here. */
  previous: u32;
  next: u32;
  pair: u32;
  flow: u32;
  nextWaiting: u32;
  lacksClient: bool;
  lacksServer: bool;
  /** Began after all that was folded: it is a member only in case more is. */
  isYoung: bool;
  pad0: u8;

  private sums(index: u32): FoldSums {
    return changetype<FoldSums>(changetype<usize>(this) + offsetof<Member>() + <usize>index * offsetof<FoldSums>());
  }

  get booked(): FoldSums {
    return this.sums(0);
  }

  get knownByClient(): FoldSums {
    return this.sums(1);
  }

  get knownByServer(): FoldSums {
    return this.sums(2);
  }

  get news(): EdgeFlow {
    return changetype<EdgeFlow>(changetype<usize>(this.sums(3)));
  }
}

const MEMBER_BYTES: usize = offsetof<Member>() + 3 * offsetof<FoldSums>() + EDGE_FLOW_SIZE;

let members: RowPool = changetype<RowPool>(0);
let searched: u32 = 1;

export function initFoldMembers(): void {
  members = RowPool.create(MEMBER_BYTES, FOLD_MEMBER_COUNT_MAX);
}

export function memberAt(member: u32): Member {
  return changetype<Member>(members.at(member));
}

/** Holds the flow's `news` of the window back until its pair is judged; false when it belongs to none. */
export function holdNews(flow: u32, news: EdgeFlow): bool {
  let row = coldFlowAt(flow).member;
  if (row === 0) {
    const pair = pairOfFlow(flow);
    row = pair === 0 ? 0 : addMember(flow, pair);
    if (row === 0) return false;
  }
  const member = memberAt(row);
  const pair = touchPair(member.pair);
  recount(member, pair);
  memory.copy(changetype<usize>(member.news), changetype<usize>(news), EDGE_FLOW_SIZE);
  member.nextWaiting = pair.firstWaiting;
  pair.firstWaiting = row;
  const sums = pair.sums(Sum.FlowNews);
  sums.forwardBytes += news.forwardBytes;
  sums.reverseBytes += news.reverseBytes;
  sums.forwardPackets += news.forwardPackets;
  sums.reversePackets += news.reversePackets;
  sums.connections += news.connections;
  sums.closed += news.closed;
  if (news.resetBy === RESET_BY_CLIENT) sums.clientResets += news.reasonCount;
  else if (news.resetBy === RESET_BY_SERVER) sums.serverResets += news.reasonCount;
  if (hasTuple(flow) && (pair.heir === 0 || precedes(flow, memberAt(pair.heir).flow))) pair.heir = row;
  return true;
}

/** A member that waits, with the news that are left to it; 0 when none waits. */
export function takeWaiting(row: u32): u32 {
  const pair = pairAt(row);
  const waiting = pair.firstWaiting;
  if (waiting !== 0) pair.firstWaiting = memberAt(waiting).nextWaiting;
  return waiting;
}

/** What the judged pair leaves of a field of a member's news. */
export function leftOf(member: u32, index: u32, own: u64): u64 {
  const pair = pairAt(memberAt(member).pair);
  const kept: u64 = (<u32>pair.shrunk & (1 << index)) !== 0 ? 0 : own;
  return pair.heir === member ? kept + pair.sums(Sum.FlowNews).at(index) : kept;
}

/** Its news were sent: a flow that has both ends now is no member any more. */
export function endWaiting(row: u32): void {
  const member = memberAt(row);
  if (!member.lacksClient && !member.lacksServer && !member.isYoung) dropMember(member.flow);
}

/** Looks through some flows for members of pairs that are new in the window; false when all were seen. To be called after all that moved are held. */
export function searchMembers(flowEndCount: u32): bool {
  if (!hasNewPairs()) return false;
  const end = flowEnd();
  const last = min(end, searched + flowEndCount);
  for (; searched < last; searched++) {
    const hot = flowAt(searched);
    if ((hot.end0 | hot.end1) === 0) continue;
    const cold = coldFlowAt(searched);
    if (cold.member !== 0 || !isNewShard(cold.shard)) continue;
    const pair = pairOfFlow(searched);
    if (pair === 0 || !pairAt(pair).isNew) continue;
    const row = addMember(searched, pair);
    if (row !== 0) recount(memberAt(row), pairAt(pair));
  }
  if (searched < end) return true;
  searched = 1;
  clearNewPairs();
  return false;
}

/** The pair whose folds may hold an end that the flow lacks; 0 = none. */
function pairOfFlow(flow: u32): u32 {
  const hot = flowAt(flow);
  const cold = coldFlowAt(flow);
  if (cold.kind === KeyKind.Socket || (cold.flags & FLOW_UNORIENTED) !== 0) return 0;
  const client = hot.endAt(cold.clientSlot);
  const server = hot.endAt(1 - cold.clientSlot);
  const lacksClient = isLacking(client);
  if (!lacksClient && !isLacking(server)) return 0;
  // Folds bear the addresses that the lacking end saw, if it ever told.
  const isClient = client !== 0 && (lacksClient || server === 0);
  const identity = isClient ? pairOfEnd(client, true) : pairOfEnd(server, false);
  return identity === 0 ? 0 : findPair(identity, cold.shard);
}

function isLacking(end: u32): bool {
  return end === 0 || (endAt(end).openCount === 0 && (endAt(end).flags & END_CLOSED) === 0);
}

function pairOfEnd(end: u32, isClient: bool): u64 {
  const cold = coldEndAt(end);
  if ((endAt(end).flags & END_SETTLED) !== 0) return cold.settledPair;
  const from = cold.from;
  const pair = isClient
    ? pairOf(from.localHigh, from.localLow, cold.remote.high, cold.remote.low, cold.remotePort, cold.protocol)
    : pairOf(cold.remote.high, cold.remote.low, from.localHigh, from.localLow, cold.localPort, cold.protocol);
  return pairInSpace(pair, from.addressSpace);
}

function hasTuple(flow: u32): bool {
  return isTold(flowAt(flow).end0) || isTold(flowAt(flow).end1);
}

function isTold(end: u32): bool {
  return end !== 0 && (endAt(end).flags & END_SETTLED) === 0;
}

/** An order of flows that is alike on every worker and in every run. */
function precedes(a: u32, b: u32): bool {
  const leftKey = flowKeyAt(a);
  const rightKey = flowKeyAt(b);
  if (leftKey.high !== rightKey.high) return leftKey.high < rightKey.high;
  if (leftKey.low !== rightKey.low) return leftKey.low < rightKey.low;
  const left = coldFlowAt(a);
  const right = coldFlowAt(b);
  return left.kind !== right.kind ? left.kind < right.kind : left.generation < right.generation;
}

function addMember(flow: u32, pairRow: u32): u32 {
  const row = members.take();
  if (row === 0) {
    count(ReducerCounter.FoldFlowsRefused);
    return 0;
  }
  memory.fill(members.at(row), 0, MEMBER_BYTES);
  const member = memberAt(row);
  const pair = pairAt(pairRow);
  member.flow = flow;
  member.pair = pairRow;
  member.next = pair.firstMember;
  if (member.next !== 0) memberAt(member.next).previous = row;
  pair.firstMember = row;
  coldFlowAt(flow).member = row;
  return row;
}

/** A flow that is forgotten leaves what it has taken off its pair there. */
export function dropMember(flow: u32): void {
  const row = coldFlowAt(flow).member;
  if (row === 0) return;
  const member = memberAt(row);
  if (member.previous === 0) pairAt(member.pair).firstMember = member.next;
  else memberAt(member.previous).next = member.next;
  if (member.next !== 0) memberAt(member.next).previous = member.previous;
  coldFlowAt(flow).member = 0;
  members.give(row);
}

/** The pair is forgotten. */
export function dropMembers(row: u32): void {
  while (pairAt(row).firstMember !== 0) dropMember(memberAt(pairAt(row).firstMember).flow);
}

/** Takes off the pair what the flow is now, instead of what it was. */
function recount(member: Member, pair: FoldPair): void {
  giveBack(member, pair);
  const hot = flowAt(member.flow);
  const clientSlot = coldFlowAt(member.flow).clientSlot;
  const client = hot.endAt(clientSlot);
  const server = hot.endAt(1 - clientSlot);
  const lacks = isLacking(client) || isLacking(server);
  member.isYoung = lacks && isAfter(coldFlowAt(member.flow).beginTime, pair.endTime);
  member.lacksClient = !member.isYoung && isLacking(client);
  member.lacksServer = !member.isYoung && isLacking(server);
  fillBooked(member.booked, member.flow, client, server);
  if (member.lacksClient) {
    fillKnown(member.knownByClient, member.flow, client, true);
    pair.sums(Sum.ClientLast).subtract(member.booked);
    pair.sums(Sum.ClientKnown).subtract(member.knownByClient);
  }
  if (member.lacksServer) {
    fillKnown(member.knownByServer, member.flow, server, false);
    pair.sums(Sum.ServerLast).subtract(member.booked);
    pair.sums(Sum.ServerKnown).subtract(member.knownByServer);
  }
}

function isAfter(beginTime: u32, endTime: u32): bool {
  return beginTime !== 0 && endTime !== 0 && shortTimeBetween(endTime, beginTime) > CLOCKS_APART_MAX;
}

/** Before the pair is judged: what was folded meanwhile may hold the ends of young members. */
export function ageMembers(row: u32): void {
  const pair = pairAt(row);
  if (!pair.isLonger) return;
  pair.isLonger = false;
  for (let member = pair.firstMember; member !== 0; member = memberAt(member).next)
    if (memberAt(member).isYoung) recount(memberAt(member), pair);
}

function giveBack(member: Member, pair: FoldPair): void {
  if (member.lacksClient) {
    pair.sums(Sum.ClientLast).add(member.booked);
    pair.sums(Sum.ClientKnown).add(member.knownByClient);
  }
  if (member.lacksServer) {
    pair.sums(Sum.ServerLast).add(member.booked);
    pair.sums(Sum.ServerKnown).add(member.knownByServer);
  }
}

/** Booked by whichever incarnation. History from before anybody looked is not. */
function fillBooked(to: FoldSums, flow: u32, client: u32, server: u32): void {
  const hot = flowAt(flow);
  const cold = coldFlowAt(flow);
  to.forwardBytes = hot.forwardBytes;
  to.reverseBytes = hot.reverseBytes;
  to.forwardPackets = hot.forwardPackets;
  to.reversePackets = hot.reversePackets;
  if (cold.history !== 0) {
    const history = historyAt(cold.history);
    to.forwardBytes -= history.forwardBytes;
    to.reverseBytes -= history.reverseBytes;
    to.forwardPackets -= history.forwardPackets;
    to.reversePackets -= history.reversePackets;
  }
  to.connections = (cold.flags & FLOW_CONNECTION_COUNTED) !== 0 ? 1 : 0;
  to.closed = (cold.flags & FLOW_CLOSED_COUNTED) !== 0 ? 1 : 0;
  const sender = (cold.flags & FLOW_RESET_COUNTED) !== 0 ? resetSender(client, server) : 0;
  to.clientResets = sender === RESET_BY_CLIENT ? 1 : 0;
  to.serverResets = sender === RESET_BY_SERVER ? 1 : 0;
}

/** What a fold of the lacking `end` leaves out of its news, because it was exported or told before. */
function fillKnown(to: FoldSums, flow: u32, end: u32, isClient: bool): void {
  to.clear();
  const cold = coldFlowAt(flow);
  if (cold.exported !== 0) {
    const exported = exportedAt(cold.exported);
    to.forwardBytes = exported.forwardBytes;
    to.reverseBytes = exported.reverseBytes;
    to.forwardPackets = exported.forwardPackets;
    to.reversePackets = exported.reversePackets;
  }
  const hot = flowAt(flow);
  if (isCounted(hot.end0) || isCounted(hot.end1)) to.connections = 1;
  if (end === 0) return;
  const told = endAt(end);
  to.forwardBytes = max(to.forwardBytes, isClient ? told.bytesSent : told.bytesReceived);
  to.reverseBytes = max(to.reverseBytes, isClient ? told.bytesReceived : told.bytesSent);
  to.forwardPackets = max(to.forwardPackets, isClient ? told.segmentsSent : told.segmentsReceived);
  to.reversePackets = max(to.reversePackets, isClient ? told.segmentsReceived : told.segmentsSent);
  if ((told.flags & END_EXISTING) === 0) to.connections = 1;
}

function isCounted(end: u32): bool {
  return end !== 0 && (endAt(end).flags & END_COUNTED) !== 0;
}

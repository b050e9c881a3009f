// The end of a window in match: every flow that was touched is booked, named and sent to its edge; then it stays, lingers or is forgotten.
// Shard by shard what waits in shard-onces.ts is claimed or booked as brief flows, its flows are booked, and those that are committed leave their
// rows to the next shard; then come the flows that were touched in the window. Sliced by a budget of flows, so that a worker is never away for long.

import { releaseEdge, retainEdge } from '../aggregate/edges';
import { endHostAddresses } from '../enrich/address-table';
import { CloseReason } from '../gen/kernel-events';
import { EDGE_FLOW_SIZE, EdgeFlow, ReducerCounter, TallySide } from '../gen/records';
import { set } from '../lib/counters';
import { SHARD_COUNT } from '../lib/flow-place';
import { isOutboxFull } from '../lib/outbox';
import {
  beginBriefs,
  briefFlows,
  endBriefs,
  expireBriefs,
  findBrief,
  flowOfPair,
  forgetCommittedBriefs,
  hasRoomForBrief,
  keepBrief,
  listBriefs,
} from './brief-flows';
import { applyClaims } from './claimed-addresses';
import { countFlow, isClosed, RESET_BY_CLIENT, RESET_BY_SERVER } from './counts';
import { sendSums } from './edge-sums';
import { beginTallies, blankEdgeFlow, emitEdgeFlow } from './emit';
import {
  beginEndWindow,
  coldFlowAt,
  endOrNone,
  FLOW_ACTIVE,
  FLOW_BOOKED,
  flowAt,
  hasRoomForFlow,
  liveEnds,
  liveFlows,
  noEnd,
} from './flow';
import { keyOfJoin } from './flow-key';
import { expireLingering, firstFlow, forgetCommitted, forgetFlow, lingerFlow, lingeringFlows } from './flow-table';
import { ageMembers, endWaiting, holdNews, leftOf, memberAt, searchMembers, takeWaiting } from './fold-members';
import { hasFoldPairs, judgePair, takeTouchedPair } from './fold-pairs';
import { CLIENT_RESETS, SERVER_RESETS } from './fold-sums';
import { bookFold, emitReason } from './folds';
import { bookHistory } from './history';
import { applyBaselines, bookTotals } from './ledger';
import { expectTouched } from './look-ahead';
import { beginNaming, findEdge, isStale } from './naming';
import { keys, pairOnces } from './once-pairs';
import { GONE_ONCE, TAKEN_ONCE, WaitingOnce } from './onces';
import { orientFlow } from './orientation';
import { fillOwnNumbers, hasOwnNumbers, keepOwnTotals } from './own-numbers';
import { expectOnces } from './pair-look-ahead';
import { claimWaiting } from './receive';
import { beginOnces, dropOnces, takeOnce } from './shard-onces';
import { finishTallies, sendEnding, sendTallies } from './tallies';
import { takeTouchedFlow, touchedFlows } from './touched-flows';

/** Flows that are looked at for as long as one is booked. */
const SEARCH_COUNT: u32 = 32;

let isClosing = false;
/** The shard that is at work; SHARD_COUNT when all are through. */
let shard: u32 = 0;
/** How many flows were touched before anything of a shard was claimed. */
let touchedBefore: u32 = 0;
/** What waits in the shard was counted, and the connections among it were looked for; there is room to keep them. */
let isPaired = false;
let onces: u32 = 0;
let hasBriefs = false;
/** Onces of the shard that were looked at and are still to be claimed. */
let oncesAhead: u32 = 0;
/** Touched flows that were looked at and are still to be booked. */
let ahead: u32 = 0;
/** The pair of folds whose flows are being sent. */
let judged: u32 = 0;

/** Books at most `budget` flows; returns true when `window` is closed and everything of it was sent. */
export function closeWindow(window: u32, budget: u32): bool {
  if (!isClosing) beginClose();
  for (let done: u32 = 0; done < budget; done++) {
    if (isOutboxFull()) return false;
    if (closeShards(window)) continue;
    const flow = nextTouched(0);
    if (flow !== 0) bookFlow(flow, window);
    else if (!searchMembers(SEARCH_COUNT) && !sendHeld(window) && !bookFold(window)) {
      finish(window);
      return true;
    }
  }
  return false;
}

function beginClose(): void {
  isClosing = true;
  beginNaming();
  shard = 0;
  touchedBefore = touchedFlows();
}

/** Claims, books or forgets one flow of a shard; false when all shards are through. */
function closeShards(window: u32): bool {
  for (; shard < SHARD_COUNT; shard++) {
    if (!isPaired) {
      isPaired = true;
      onces = beginOnces(shard);
      if (onces !== 0 && pairOnces(shard, onces)) {
        hasBriefs = beginBriefs(window, onces, keys);
        if (!hasBriefs) keys.give();
      }
    }
    const once = nextOnce();
    if (once !== 0) {
      claimDeferred(changetype<WaitingOnce>(once), window);
      return true;
    }
    const flow = nextTouched(touchedBefore);
    if (flow !== 0) {
      bookFlow(flow, window);
      return true;
    }
    if (forgetCommitted(shard) || forgetCommittedBriefs(shard)) return true;
    if (hasBriefs) listBriefs(shard);
    else if (onces !== 0) dropOnces(shard);
    isPaired = false;
    hasBriefs = false;
  }
  return false;
}

function nextOnce(): usize {
  if (oncesAhead === 0) oncesAhead = expectOnces(shard);
  if (oncesAhead !== 0) oncesAhead--;
  const once = takeOnce(shard);
  if (once === 0) oncesAhead = 0;
  return once;
}

function nextTouched(until: u32): u32 {
  if (ahead === 0) ahead = expectTouched(until);
  if (ahead !== 0) ahead--;
  return takeTouchedFlow(until);
}

function claimDeferred(once: WaitingOnce, window: u32): void {
  if (once.other !== 0) {
    const other = changetype<WaitingOnce>(once.other);
    if (hasBriefs && isUnknown(once) && hasRoomForFlow() && hasRoomForBrief()) {
      other.other = TAKEN_ONCE;
      bookBrief(once, other, window);
      return;
    }
    other.other = 0;
  }
  claimWaiting(once, shard);
  once.other = GONE_ONCE;
}

/** Of its key, which is in `flowKey` from here on, there is no flow. */
function isUnknown(once: WaitingOnce): bool {
  keyOfJoin(once.joinKey, shard);
  return firstFlow(once.tag) === 0 && findBrief(once.tag) === 0;
}

/** Tells and books both in one go. */
function bookBrief(once: WaitingOnce, other: WaitingOnce, window: u32): void {
  const flow = flowOfPair(once, other);
  // It has news, because it closed, and ends that name it.
  const edge = bookNews(flow, false, window);
  assert(edge !== 0);
  const isClient = once.slot === <u32>coldFlowAt(flow).clientSlot;
  beginTallies(edge);
  sendEnding(isClient ? once : other, TallySide.Client);
  sendEnding(isClient ? other : once, TallySide.Server);
  keepBrief(flow, once);
}

function finish(window: u32): void {
  isClosing = false;
  sendSums(window);
  endBriefs();
  finishTallies();
  expireLingering(window);
  expireBriefs(window);
  applyClaims();
  endHostAddresses();
  set(ReducerCounter.FlowsLive, liveFlows() + briefFlows());
  set(ReducerCounter.EndsLive, liveEnds() + 2 * briefFlows());
  set(ReducerCounter.FlowsLingering, lingeringFlows() + briefFlows());
}

function bookFlow(flow: u32, window: u32): void {
  const hot = flowAt(flow);
  if ((hot.end0 | hot.end1) === 0) {
    forgetFlow(flow);
    return;
  }
  const isActive = (endOrNone(hot.end0).openCount | endOrNone(hot.end1).openCount) !== 0;
  const edge = bookNews(flow, isActive, window);
  const cold = coldFlowAt(flow);
  const client = endOrNone(hot.endAt(cold.clientSlot));
  const server = endOrNone(hot.endAt(1 - cold.clientSlot));
  keepOwnTotals(hot, cold, client, server);
  if (cold.tallies !== 0) tellTallies(flow, edge);
  if (client !== noEnd) beginEndWindow(client);
  if (server !== noEnd) beginEndWindow(server);
  if (!isActive) lingerFlow(flow, window, isClosed(hot.end0) && isClosed(hot.end1));
}

/** Books what is new of a flow and sends it. `isActive`: an end of it is open. Returns its edge as far as it was just needed, borrowed, else 0. */
function bookNews(flow: u32, isActive: bool, window: u32): u32 {
  const hot = flowAt(flow);
  const cold = coldFlowAt(flow);
  if ((cold.flags & FLOW_BOOKED) === 0) orientFlow(flow);
  const client = endOrNone(hot.endAt(cold.clientSlot));
  const server = endOrNone(hot.endAt(1 - cold.clientSlot));
  const out = blankEdgeFlow();
  fillOwnNumbers(hot, cold, client, server, out);
  const isRare = cold.hasExtras || (client.baseline | server.baseline) !== 0;
  if (isRare) applyBaselines(flow);
  bookTotals(hot, client, server, window, out);
  if (isRare) bookHistory(flow, out);
  cold.flags |= FLOW_BOOKED;
  out.rttUs = client.srttUs !== 0 ? client.srttUs : server.srttUs;
  countFlow(hot, cold, client, server, out);
  return hasFoldPairs() && holdNews(flow, out) ? 0 : sendNews(flow, isActive, window, out);
}

/** Judges one pair of folds, or sends the news of one flow that waited for it; false when there is none left. */
function sendHeld(window: u32): bool {
  const member = judged === 0 ? 0 : takeWaiting(judged);
  if (member !== 0) {
    sendLeft(member, window);
    return true;
  }
  judged = takeTouchedPair();
  if (judged === 0) return false;
  ageMembers(judged);
  judgePair(judged, window);
  return true;
}

function sendLeft(row: u32, window: u32): void {
  const member = memberAt(row);
  const hot = flowAt(member.flow);
  const isActive = (endOrNone(hot.end0).openCount | endOrNone(hot.end1).openCount) !== 0;
  const out = blankEdgeFlow();
  memory.copy(changetype<usize>(out), changetype<usize>(member.news), EDGE_FLOW_SIZE);
  const clientResets = leftOf(row, CLIENT_RESETS, out.resetBy === RESET_BY_CLIENT ? out.reasonCount : 0);
  const serverResets = leftOf(row, SERVER_RESETS, out.resetBy === RESET_BY_SERVER ? out.reasonCount : 0);
  out.forwardBytes = leftOf(row, 0, out.forwardBytes);
  out.reverseBytes = leftOf(row, 1, out.reverseBytes);
  out.forwardPackets = leftOf(row, 2, out.forwardPackets);
  out.reversePackets = leftOf(row, 3, out.reversePackets);
  out.connections = <u32>leftOf(row, 4, out.connections);
  out.closed = <u32>leftOf(row, 5, out.closed);
  out.lateBytes = min(out.lateBytes, out.forwardBytes + out.reverseBytes);
  out.reason = CloseReason.None;
  out.resetBy = 0;
  out.reasonCount = 0;
  sendNews(member.flow, isActive, window, out);
  if ((clientResets | serverResets) !== 0) sendResets(member.flow, clientResets, serverResets, window);
  endWaiting(row);
}

/** One record can tell of one reset. */
function sendResets(flow: u32, byClient: u64, byServer: u64, window: u32): void {
  const edge = flowAt(flow).edge !== 0 ? flowAt(flow).edge : findEdge(flow);
  if (edge === 0) return;
  emitReason(edge, window, CloseReason.ResetSent, <u32>byClient, RESET_BY_CLIENT);
  emitReason(edge, window, CloseReason.ResetSent, <u32>byServer, RESET_BY_SERVER);
}

/** `edge`: that of the flow, as far as it was just needed, else 0. Without a tuple of any end there is no edge, and no end that counts. */
function tellTallies(flow: u32, edge: u32): void {
  let found = edge !== 0 ? edge : flowAt(flow).edge;
  if (found === 0) found = findEdge(flow);
  if (found !== 0) sendTallies(flow, found);
}

/**
 * Sends what the flow adds to its edge. While a flow is active its edge is retained, and a flow that is named anew takes its 1 along. Returns the
 * edge, borrowed; 0 when nothing was sent.
 */
function sendNews(flow: u32, isActive: bool, window: u32, out: EdgeFlow): u32 {
  const hot = flowAt(flow);
  const cold = coldFlowAt(flow);
  let wasActive = (cold.flags & FLOW_ACTIVE) !== 0;
  // A flow that becomes inactive where it is named anew has nothing to add there but the ends that saw it, and these count.
  const isNews = hasNews(out) || isActive !== wasActive;
  const mustName = isStale(hot, cold);
  if (!isNews && !(isActive && mustName)) return 0;
  const edge = mustName ? findEdge(flow) : hot.edge;
  if (edge === 0) return 0;
  if (wasActive && edge !== hot.edge) {
    leaveEdge(hot.edge, window);
    wasActive = false;
  }
  out.activeDelta = <i32>isActive - <i32>wasActive;
  const maySum = isActive && cold.tallies === 0 && out.judgedBytes === 0 && out.fromWindow === window;
  if (isNews || out.activeDelta !== 0) emitEdgeFlow(edge, out, maySum);
  if (isActive && !wasActive) retainEdge(edge);
  if (!isActive && wasActive) releaseEdge(edge);
  hot.edge = isActive ? edge : 0;
  if (isActive) cold.flags |= FLOW_ACTIVE;
  else cold.flags &= ~FLOW_ACTIVE;
  return edge;
}

function leaveEdge(edge: u32, window: u32): void {
  memory.fill(changetype<usize>(leaving), 0, offsetof<EdgeFlow>());
  leaving.fromWindow = window;
  leaving.activeDelta = -1;
  emitEdgeFlow(edge, leaving, false);
  releaseEdge(edge);
}

const leaving: EdgeFlow = changetype<EdgeFlow>(memory.data(offsetof<EdgeFlow>(), 8));

function hasNews(out: EdgeFlow): bool {
  return (
    (out.forwardBytes | out.reverseBytes | out.forwardPackets | out.reversePackets) !== 0 ||
    (out.forwardRetransmits | out.reverseRetransmits | out.judgedBytes) !== 0 ||
    (out.connections | out.closed | out.rttUs | out.reasonCount) !== 0 ||
    hasOwnNumbers(out)
  );
}

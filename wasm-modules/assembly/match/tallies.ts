// What ends, and hosts, counted beyond totals, on its way through match. A tally of an end waits in a list of its flow until the flow is
// booked, because only then it is known on which edge the flow is and which of its ends is the client. Increments are told once, so
// nothing is compared with what came before.
//
// A close sends all that waits, so rows are not given back one by one: each window begins with the first row again, and they are written and
// read one after another.

import { addHostTally, tallyIdentity } from '../aggregate/tallies';
import { labelOfChannel } from '../enrich/label-channel';
import { nodeOfChannel } from '../enrich/node-channel';
import { releaseNode, retainNode } from '../enrich/nodes';
import { releaseLabel, retainLabel } from '../enrich/tally-labels';
import { CloseReason, ConnectionPhase, RetransmitKind, Role } from '../gen/kernel-events';
import { EndTotals, MatchOnce, MatchTally, ReducerCounter, TallySide } from '../gen/records';
import { TallyKind } from '../gen/wire';
import { count } from '../lib/counters';
import { RowPool } from '../lib/row-pool';
import { endOfChannel } from './channel-ends';
import { beginTallies, emitTally } from './emit';
import { coldFlowAt, endAt, flowAt } from './flow';
import { isConnectFailure } from './flow-key';
import { touchFlow } from './flow-table';

/** Of one window, per worker. */
export const TALLY_COUNT_MAX: u32 = 1 << 21;

@unmanaged
class WaitingTally {
  next: u32;
  /** The end, or the node of a host, which is retained. */
  subject: u32;
  kind: u16;
  pad0: u16;
  code: u32;
  /** Retained. */
  label: u32;
  pad1: u32;
  count: u64;
  sum: u64;
}

let pool: RowPool = changetype<RowPool>(0);
/** Rows in use. */
let waiting: u32 = 0;
let hostTallies: u32 = 0;

export function initWaitingTallies(): void {
  pool = RowPool.create(offsetof<WaitingTally>(), TALLY_COUNT_MAX);
}

export function receiveTally(from: u32, tally: MatchTally): void {
  const label = labelOfChannel(from, tally.label);
  if (tally.label !== 0 && label === 0) count(ReducerCounter.TallyLabelsDropped);
  if (tally.end === 0) {
    const node = nodeOfChannel(from, tally.node);
    const row = wait(hostTallies, node, tally.kind, tally.code, label, tally.count, tally.sum);
    if (row === 0) return;
    retainNode(node);
    hostTallies = row;
    return;
  }
  const end = endOfChannel(from, tally.end);
  if (end === 0 || endAt(end).flow === 0) count(ReducerCounter.TalliesIgnored);
  else waitForBooking(end, tally.kind, tally.code, label, tally.count, tally.sum);
}

/** How long a short-lived socket and its handshake took. Call when nobody told of its end before. */
export function keepDurations(end: u32, once: MatchOnce): void {
  if (once.durationNs !== 0) waitForBooking(end, TallyKind.Duration, once.reason, 0, 1, once.durationNs);
  if (once.handshakeNs === 0 || once.openRole === Role.Unknown) return;
  const kind = once.openRole === Role.Client ? TallyKind.HandshakeServer : TallyKind.HandshakeClient;
  waitForBooking(end, kind, 0, 0, 1, once.handshakeNs);
}

/**
 * Of a connect that failed what the application was told, and that all it sent again were SYNs; of a reset who sent it and when. `reason`:
 * kernel.CloseReason, `phase`: kernel.ConnectionPhase. Call when nobody told of its end before.
 */
export function keepEnding(end: u32, reason: u8, phase: u8, error: u16, totals: EndTotals): void {
  if (isConnectFailure(reason)) {
    if (error !== 0) waitForBooking(end, TallyKind.ConnectError, error, 0, 1, 0);
    if (totals.retransmits !== 0) {
      waitForBooking(end, TallyKind.Retransmit, RetransmitKind.Syn, 0, totals.retransmits, 0);
    }
  }
  if (totals.minRttUs !== 0) waitForBooking(end, TallyKind.RttMin, 0, 0, 1, <u64>totals.minRttUs * 1000);
  if (phase === ConnectionPhase.None) return;
  const kind = reason === CloseReason.ResetSent ? TallyKind.ResetSent : TallyKind.ResetReceived;
  waitForBooking(end, kind, phase, 0, 1, 0);
}

function waitForBooking(end: u32, kind: u16, code: u32, label: u32, count: u64, sum: u64): void {
  const flow = endAt(end).flow;
  const cold = coldFlowAt(flow);
  const row = wait(cold.tallies, end, kind, code, label, count, sum);
  if (row === 0) return;
  cold.tallies = row;
  touchFlow(flow);
}

/** A row before `next`; 0, and counted, when there is no room. */
function wait(next: u32, subject: u32, kind: u16, code: u32, label: u32, amount: u64, sum: u64): u32 {
  const address = pool.reach(waiting + 1);
  if (address === 0) {
    count(ReducerCounter.TalliesRefused);
    return 0;
  }
  waiting++;
  const tally = changetype<WaitingTally>(address);
  tally.next = next;
  tally.subject = subject;
  tally.kind = kind;
  tally.code = code;
  tally.label = label;
  tally.count = amount;
  tally.sum = sum;
  retainLabel(label);
  return waiting;
}

function waitingAt(row: u32): WaitingTally {
  return changetype<WaitingTally>(pool.at(row));
}

/** Sends all that waits for `flow`, which is booked and on `edge`. */
export function sendTallies(flow: u32, edge: u32): void {
  const cold = coldFlowAt(flow);
  const client = flowAt(flow).endAt(cold.clientSlot);
  let row = cold.tallies;
  cold.tallies = 0;
  beginTallies(edge);
  while (row !== 0) {
    const tally = waitingAt(row);
    const side = tally.subject === client ? TallySide.Client : TallySide.Server;
    emitTally(tally.kind, side, tally.code, tally.label, tally.count, tally.sum);
    releaseLabel(tally.label);
    row = tally.next;
  }
}

/** The end of a close: nothing of a flow waits any more. Adds what hosts counted, whose worker is this one. */
export function finishTallies(): void {
  for (let row = hostTallies; row !== 0; row = waitingAt(row).next) {
    const tally = waitingAt(row);
    const what = tallyIdentity(tally.kind, TallySide.None, tally.code);
    addHostTally(tally.subject, what, tally.label, tally.count, tally.sum);
    releaseNode(tally.subject);
    releaseLabel(tally.label);
  }
  hostTallies = 0;
  waiting = 0;
}

/** `end` lost its side of `flow`, and what it told leaves with it. */
export function dropTallies(flow: u32, end: u32): void {
  const cold = coldFlowAt(flow);
  let kept: u32 = 0;
  for (let row = cold.tallies; row !== 0; ) {
    const tally = waitingAt(row);
    const next = tally.next;
    if (tally.subject === end) {
      count(ReducerCounter.TalliesIgnored);
      releaseLabel(tally.label);
    } else {
      tally.next = kept;
      kept = row;
    }
    row = next;
  }
  cold.tallies = kept;
}

// What ends, and hosts, counted beyond totals, on its way through match. A tally of an end waits in a list of its flow until the flow is
// booked, because only then it is known on which edge the flow is and which of its ends is the client. Increments are told once, so
// nothing is compared with what came before. Endings are no increments: two agents that look at one socket both tell its ending, and one counts.
//
// A close sends all that waits, so rows are not given back one by one: each window begins with the first row again, and they are written and
// read one after another. What a flow ends with that is told and booked in one go does not wait.

import { addHostTally, tallyIdentity } from '../aggregate/tallies';
import { labelOfChannel } from '../enrich/label-channel';
import { nodeOfChannel } from '../enrich/node-channel';
import { releaseNode, retainNode } from '../enrich/nodes';
import { releaseLabel, retainLabel } from '../enrich/tally-labels';
import { CloseReason, ConnectionPhase, RetransmitKind, Role } from '../gen/kernel-events';
import { MatchClose, MatchOnce, MatchTally, ReducerCounter, TallySide } from '../gen/records';
import { TallyKind } from '../gen/wire';
import { count } from '../lib/counters';
import { RowPool } from '../lib/row-pool';
import { clearRow } from '../lib/words';
import { endOfChannel } from './channel-ends';
import { beginTallies, emitTally } from './emit';
import { coldEndAt, coldFlowAt, END_CLOSED, END_CLOSING, endAt, flowAt } from './flow';
import { isConnectFailure } from './flow-key';
import { touchFlow } from './flow-table';
import { WaitingOnce } from './onces';
import { viewpointAt } from './viewpoints';

/** Of one window, per worker. */
export const TALLY_COUNT_MAX: u32 = 1 << 21;

@unmanaged
class WaitingTally {
  next: u32;
  /** The end, or the node of a host, which is retained. */
  subject: u32;
  kind: u16;
  /** lib/teller.ts. */
  teller: u8;
  pad0: u8;
  code: u32;
  /** Retained. */
  label: u32;
  pad1: u32;
  count: u64;
  sum: u64;
}

/** A row whose `kind` is None: how the socket of an end ended, of which several tallies are made when the flow is booked. */
@unmanaged
class WaitingEnding {
  next: u32;
  end: u32;
  kind: u16;
  /** kernel.CloseReason, kernel.ConnectionPhase. */
  reason: u8;
  phase: u8;
  error: u16;
  role: u8;
  pad0: u8;
  handshakeUs: u32;
  minRttUs: u32;
  /** SYNs that were sent again by a connect that failed. */
  synsAgain: u64;
  durationNs: u64;

  /** The order of endings of one socket: what says nothing is the least. */
  saysMoreThan(other: WaitingEnding): bool {
    if (this.durationNs !== other.durationNs) return this.durationNs > other.durationNs;
    if (this.handshakeUs !== other.handshakeUs) return this.handshakeUs > other.handshakeUs;
    if (this.phase !== other.phase) return this.phase > other.phase;
    if (this.error !== other.error) return this.error > other.error;
    if (this.synsAgain !== other.synsAgain) return this.synsAgain > other.synsAgain;
    if (this.minRttUs !== other.minRttUs) return this.minRttUs > other.minRttUs;
    if (this.reason !== other.reason) return this.reason > other.reason;
    return this.role > other.role;
  }

  get isEmpty(): bool {
    return (
      (this.durationNs | this.synsAgain) === 0 && (this.handshakeUs | this.phase | this.error | this.minRttUs) === 0
    );
  }
}

if (offsetof<WaitingEnding>() !== offsetof<WaitingTally>()) ERROR('endings and tallies wait in rows of one pool');

let pool: RowPool = changetype<RowPool>(0);
const said: WaitingEnding = changetype<WaitingEnding>(memory.data(offsetof<WaitingEnding>(), 8));
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
    waitingAt(row).teller = tally.teller;
    retainNode(node);
    hostTallies = row;
    return;
  }
  const end = endOfChannel(from, tally.end);
  if (end === 0 || endAt(end).flow === 0) count(ReducerCounter.TalliesIgnored);
  else {
    const row = waitForBooking(end, tally.kind, tally.code, label, tally.count, tally.sum);
    if (row !== 0) waitingAt(row).teller = tally.teller;
  }
}

/** A socket that lived within one window is over: also tells how long it and its handshake took. */
export function keepOnce(end: u32, once: MatchOnce): void {
  fillEnding(once.reason, once.phase, once.error, once.totals.minRttUs, once.totals.retransmits);
  fillTimes(once.durationNs, once.openRole, <u32>(once.handshakeNs / 1000));
  keepEnding(end);
}

/** Of whose handshake it is, only a role says. */
function fillTimes(durationNs: u64, role: u8, handshakeUs: u32): void {
  said.durationNs = durationNs;
  if (role === Role.Unknown) return;
  said.role = role;
  said.handshakeUs = handshakeUs;
}

export function keepClose(end: u32, close: MatchClose): void {
  fillEnding(close.reason, close.phase, close.error, close.totals.minRttUs, close.totals.retransmits);
  keepEnding(end);
}

/**
 * Of a connect that failed what the application was told, and that all it sent again were SYNs; of a reset who sent it and when. `reason`:
 * kernel.CloseReason, `phase`: kernel.ConnectionPhase.
 */
function fillEnding(reason: u8, phase: u8, error: u16, minRttUs: u32, retransmits: u64): void {
  clearRow<WaitingEnding>(changetype<usize>(said));
  said.reason = reason;
  said.phase = phase;
  said.minRttUs = minRttUs;
  if (!isConnectFailure(reason)) return;
  said.error = error;
  said.synsAgain = retransmits;
}

/**
 * Keeps what is `said` unless the end had closed before the open window; of several in the window the one that says most, because which of
 * them comes first is chance. Call before END_CLOSED is set.
 */
function keepEnding(end: u32): void {
  const hot = endAt(end);
  const isClosed = (hot.flags & END_CLOSED) !== 0;
  if (isClosed && (hot.flags & END_CLOSING) === 0) return;
  hot.flags |= END_CLOSING;
  if (said.isEmpty) return;
  let kept = isClosed ? endingOf(end) : 0;
  if (kept === 0) {
    const row = waitForBooking(end, TallyKind.None, 0, 0, 0, 0);
    if (row === 0) return;
    kept = pool.at(row);
  } else if (!said.saysMoreThan(changetype<WaitingEnding>(kept))) return;
  said.next = changetype<WaitingEnding>(kept).next;
  said.end = end;
  memory.copy(kept, changetype<usize>(said), offsetof<WaitingEnding>());
}

/** Address of the ending of `end` that waits; 0 = there is none. */
function endingOf(end: u32): usize {
  for (let row = coldFlowAt(endAt(end).flow).tallies; row !== 0; row = waitingAt(row).next) {
    if (waitingAt(row).subject === end && waitingAt(row).kind === TallyKind.None) return pool.at(row);
  }
  return 0;
}

/** The row; 0, and counted, when there is no room. */
function waitForBooking(end: u32, kind: u16, code: u32, label: u32, count: u64, sum: u64): u32 {
  const flow = endAt(end).flow;
  const cold = coldFlowAt(flow);
  const row = wait(cold.tallies, end, kind, code, label, count, sum);
  if (row === 0) return 0;
  cold.tallies = row;
  touchFlow(flow);
  return row;
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
    if (tally.kind === TallyKind.None) {
      emitEnding(changetype<WaitingEnding>(pool.at(row)), side, <u8>coldEndAt(tally.subject).from.teller);
    } else {
      emitTally(tally.kind, side, tally.code, tally.label, tally.teller, tally.count, tally.sum);
      releaseLabel(tally.label);
    }
    row = tally.next;
  }
}

/** Sends how the socket of a Once ended whose flow is on the edge that `beginTallies` was told. `side`: records.TallySide. */
export function sendEnding(once: WaitingOnce, side: u8): void {
  fillEnding(once.reason, once.phase, once.error, once.minRttUs, once.retransmits);
  fillTimes(once.durationNs, once.role, once.handshakeUs);
  emitEnding(said, side, <u8>viewpointAt(once.viewpoint).teller);
}

function emitEnding(ending: WaitingEnding, side: u8, teller: u8): void {
  if (ending.durationNs !== 0) emitTally(TallyKind.Duration, side, ending.reason, 0, teller, 1, ending.durationNs);
  if (ending.handshakeUs !== 0) {
    const kind = ending.role === Role.Client ? TallyKind.HandshakeServer : TallyKind.HandshakeClient;
    emitTally(kind, side, 0, 0, teller, 1, <u64>ending.handshakeUs * 1000);
  }
  if (ending.error !== 0) emitTally(TallyKind.ConnectError, side, ending.error, 0, teller, 1, 0);
  if (ending.synsAgain !== 0) emitTally(TallyKind.Retransmit, side, RetransmitKind.Syn, 0, teller, ending.synsAgain, 0);
  if (ending.minRttUs !== 0) emitTally(TallyKind.RttMin, side, 0, 0, teller, 1, <u64>ending.minRttUs * 1000);
  if (ending.phase === ConnectionPhase.None) return;
  const kind = ending.reason === CloseReason.ResetSent ? TallyKind.ResetSent : TallyKind.ResetReceived;
  emitTally(kind, side, ending.phase, 0, teller, 1, 0);
}

/** The end of a close: nothing of a flow waits any more. Adds what hosts counted, whose worker is this one. */
export function finishTallies(): void {
  for (let row = hostTallies; row !== 0; row = waitingAt(row).next) {
    const tally = waitingAt(row);
    const what = tallyIdentity(tally.kind, TallySide.None, tally.code);
    addHostTally(tally.subject, what, tally.label, tally.teller, tally.count, tally.sum);
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
      if (tally.kind !== TallyKind.None) releaseLabel(tally.label);
    } else {
      tally.next = kept;
      kept = row;
    }
    row = next;
  }
  cold.tallies = kept;
}

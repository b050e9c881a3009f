// A Hello opens a session, or a new channel of a session that is known.

import { nodeOfHost } from '../enrich/labels';
import { retainNode } from '../enrich/nodes';
import { ReducerCounter, RefusalReason, SessionFlag } from '../gen/records';
import { FindingStatus, Hello, verifyHello } from '../gen/wire';
import { count, countRefusal } from '../lib/counters';
import { countOf } from '../lib/flatbuffer-read';
import { stableHashBytes, stableHashPair } from '../lib/hash';
import { WINDOW_AHEAD_MAX } from './limits';
import { findSession, isOver, SESSION_COUNT_MAX, Session, sessionAt, setFlag, takeSession } from './session';
import { openWindow, windowLengthNs } from './windows';

/** Findings about the machine, and hooks, each. */
const FACT_COUNT_MAX: u32 = 64;

/** The slot, or minus a RefusalReason. */
export function openSession(payload: usize, bytes: u32): i32 {
  if (!verifyHello(payload, bytes)) return refuse(RefusalReason.HelloStructure);
  const hello = Hello.root(payload);
  if (!areFactsWithin(hello)) return refuse(RefusalReason.HelloStructure);
  if (hello.windowNs === 0) return refuse(RefusalReason.WindowLength);
  const known = findSession(hello.session);
  if (known !== SESSION_COUNT_MAX && !isOver(sessionAt(known))) {
    reopenSession(sessionAt(known), hello);
    return known;
  }
  const slot = takeSession();
  if (slot === SESSION_COUNT_MAX) return refuse(RefusalReason.SessionLimit);
  fillSession(sessionAt(slot), hello);
  count(ReducerCounter.SessionsOpened);
  count(ReducerCounter.SessionsLive);
  return slot;
}

function areFactsWithin(hello: Hello): bool {
  const count = countOf(hello.findings);
  if (count > FACT_COUNT_MAX || countOf(hello.hooks) > FACT_COUNT_MAX) return false;
  for (let index: u32 = 0; index < count; index++)
    if (hello.findingsAt(index).status > FindingStatus.Unseen) return false;
  return true;
}

/** What the snapshot on the new channel tells may reach back to what is not committed. */
function reopenSession(session: Session, hello: Hello): void {
  session.state.lastSeq = 0;
  session.toldWindow = min(session.toldWindow, firstUntold(hello));
  setFlag(session, SessionFlag.SnapshotDone, false);
}

function refuse(reason: u8): i32 {
  countRefusal(reason);
  return -(<i32>reason);
}

function fillSession(session: Session, hello: Hello): void {
  session.session = hello.session;
  session.boot = stableHashPair(hello.nodeId, hello.bootId);
  session.identity = stableHashPair(session.boot, stableHashBytes(hello.scope, countOf(hello.scope)));
  session.host = nodeOfHost(hello.nodeName, countOf(hello.nodeName), hello.zone, countOf(hello.zone));
  retainNode(session.host);
  session.toldWindow = firstUntold(hello);
  session.state.session = session.session;
  session.state.identity = session.identity;
}

/** The window up to which earlier totals are known to somebody: what is told first may have moved since. */
function firstUntold(hello: Hello): u32 {
  const first = inOwnWindows(hello, hello.firstWindow);
  if (hello.committedWindow !== 0) return min(inOwnWindows(hello, hello.committedWindow), first);
  if (hello.incarnation !== 0) return 0;
  const latest = openWindow() + WINDOW_AHEAD_MAX;
  return first === 0 ? 0 : min(first, latest) - 1;
}

/** Before its first Welcome an agent counts in windows of its own length. */
function inOwnWindows(hello: Hello, window: u32): u32 {
  if (hello.windowNs === windowLengthNs()) return window;
  const scaled = (<f64>window * <f64>hello.windowNs) / <f64>windowLengthNs();
  return scaled < <f64>u32.MAX_VALUE ? <u32>scaled : u32.MAX_VALUE;
}

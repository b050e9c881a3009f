// What the windows themselves promise (docs/protocol.md, section 4): closed in order, neither early nor held back, and holding of each session
// what it told up to that window.
import { type Disturbance, type Fleet, type Incarnation, type Life, WINDOW_MS } from './fleet.ts';

const RECOVERY_MS = 3_000;
/** For ticks and turns after a window may close. */
const CLOSE_SLACK_MS = 400;
/** An agent tells a window this long after its end: its clock's offset, its tick, the link. */
const TELL_MS_MAX = 900;
const LATE_COUNT_MAX = 3;
/** Until the reducer has noticed. */
const GONE_MS = 200;
/** An agent that was not disturbed is back with a new reducer within so long: its back-off ends in the recovery period, a snapshot follows. */
export const RETURN_MS = RECOVERY_MS + 400;

/** A receipt each second, a tick of the reducer and the link later. */
const RECEIPT_MS_MAX = 1_500;

export function auditWindows(fleet: Fleet, broken: string[]): void {
  for (const life of fleet.lives) checkReceipts(fleet, life, broken);
  fleet.incarnations.forEach((incarnation, index) => {
    checkCloses(fleet, incarnation, broken);
    checkPrompt(fleet, incarnation, broken);
    checkHeld(fleet, incarnation, broken);
    checkAwaited(fleet, incarnation, broken);
    if (index > 0) checkReturn(fleet, incarnation, broken);
  });
}

/** Whoever is well hears of the reducer at least each second, whatever window its channel waits for. */
function checkReceipts(fleet: Fleet, { host, silences }: Life, broken: string[]): void {
  for (const { fromMs, toMs } of silences) {
    if (toMs - fromMs <= RECEIPT_MS_MAX) continue;
    const isKilled = fleet.incarnations.some(({ endMs }) => endMs > fromMs && endMs < toMs);
    const isDisturbed = fleet.disturbances.some((one) => one.host === host && one.fromMs < toMs && one.toMs > fromMs);
    if (!isKilled && !isDisturbed) broken.push(`${host.name} heard nothing for ${Math.round(toMs - fromMs)} ms`);
  }
}

function checkCloses(fleet: Fleet, incarnation: Incarnation, broken: string[]): void {
  const { id, startMs, closedAt } = incarnation;
  const { latenessMs, profile } = fleet.scenario;
  let before: number | undefined;
  for (const [window, { atMs, endMs, isLate }] of closedAt) {
    if (before !== undefined && window !== before + 1) broken.push(`window ${window} was closed after ${before}`);
    before = window;
    const dueMs = Math.max(endMs, startMs + RECOVERY_MS) + latenessMs;
    if (atMs < endMs) broken.push(`reducer ${id} closed window ${window} ${endMs - atMs} ms before its end`);
    if (atMs > dueMs + CLOSE_SLACK_MS)
      broken.push(`reducer ${id} closed window ${window} ${Math.round(atMs - dueMs)} ms after its lateness`);
    const isWarm = endMs > startMs + RETURN_MS;
    if (profile === 'calm' && isWarm && latenessMs > TELL_MS_MAX && isLate)
      broken.push(`reducer ${id} did not wait for an agent in window ${window}`);
  }
}

/**
 * Someone who sleeps for long is waited for three times, someone who is gone not at all: then windows close as soon as all others have told
 * them.
 */
function checkPrompt(fleet: Fleet, incarnation: Incarnation, broken: string[]): void {
  const { latenessMs } = fleet.scenario;
  if (latenessMs < 2 * TELL_MS_MAX) return;
  const firstCloseMs = incarnation.startMs + RECOVERY_MS + latenessMs;
  for (const sleep of fleet.disturbances) {
    // The third late window ends within four windows and closes after the lateness.
    const fromMs = Math.max(firstCloseMs, sleep.fromMs + (LATE_COUNT_MAX + 1) * WINDOW_MS + latenessMs);
    if (sleep.what === 'frozen' && isAlone(fleet, sleep.fromMs, sleep.toMs, sleep))
      expectPrompt(incarnation, fromMs, sleep.wakesMs - TELL_MS_MAX, broken);
  }
  for (const { host, endMs } of fleet.lives) {
    const next = fleet.lives.find((life) => life.host === host && life.startMs > endMs);
    const isOnlyDeath = !fleet.lives.some(
      (life) => life.host !== host && life.endMs > endMs - 5_000 && life.endMs < (next?.startMs ?? 0),
    );
    if (next !== undefined && isOnlyDeath && isAlone(fleet, endMs - 5_000, next.startMs, undefined))
      expectPrompt(incarnation, Math.max(firstCloseMs, endMs + GONE_MS), next.startMs, broken);
  }
}

function isAlone(fleet: Fleet, fromMs: number, toMs: number, sleep: Disturbance | undefined): boolean {
  return fleet.disturbances.every((other) => other === sleep || other.toMs < fromMs || other.fromMs > toMs);
}

/** Windows that end between `fromMs` and `toMs` close without the lateness. */
function expectPrompt(
  { id, endMs: diedMs, closedAt }: Incarnation,
  fromMs: number,
  toMs: number,
  broken: string[],
): void {
  for (const [window, { atMs, endMs }] of closedAt) {
    if (endMs < fromMs || Math.max(endMs, atMs) > Math.min(toMs, diedMs)) continue;
    if (atMs > endMs + TELL_MS_MAX)
      broken.push(
        `reducer ${id} closed window ${window} ${Math.round(atMs - endMs)} ms after its end and waited for nobody`,
      );
  }
}

/** What a session tells after the end of a window is not in it. */
function checkHeld(fleet: Fleet, { id, sealed }: Incarnation, broken: string[]): void {
  for (const [window, sessions] of sealed) {
    for (const [session, reached] of sessions) {
      if (reached <= window) continue;
      const told = fleet.lives.find((life) => life.session === session)?.toldWindows ?? [];
      if (told.some((channel) => channel.includes(reached) && channel.some((one) => one >= window && one < reached)))
        broken.push(`reducer ${id} holds in window ${window} what session ${session} told up to ${reached}`);
    }
  }
}

/** A window that waited for all holds the window of everyone who was well for a while, however late they were before. */
function checkAwaited(fleet: Fleet, { id, startMs, sealed, closedAt }: Incarnation, broken: string[]): void {
  if (fleet.scenario.latenessMs < 2 * TELL_MS_MAX) return;
  for (const [window, { atMs, endMs, isLate }] of closedAt) {
    if (isLate || endMs < startMs + 2 * RETURN_MS) continue;
    for (const { host, session, startMs: bornMs, endMs: diedMs } of fleet.lives) {
      if (bornMs > endMs - 2 * RETURN_MS || diedMs < atMs + RETURN_MS) continue;
      if (fleet.disturbances.some((one) => one.host === host && one.fromMs < atMs && one.toMs > endMs - RETURN_MS))
        continue;
      const reached = sealed.get(window)?.get(session) ?? 0;
      if (reached < window)
        broken.push(`reducer ${id} closed window ${window} with session ${session} at ${reached} and waited for all`);
    }
  }
}

/** Whoever was not disturbed is back before the first window closes. */
function checkReturn(fleet: Fleet, incarnation: Incarnation, broken: string[]): void {
  const { id, sealed, closedAt, toldBefore } = incarnation;
  if (fleet.scenario.mortals > 0) return;
  const [[firstWindow, first] = []] = sealed;
  // A kill may come between two workers.
  if (firstWindow === undefined || first === undefined || !closedAt.has(firstWindow)) return;
  for (const life of fleet.lives) {
    // Its first window is later if it told none before, and by the clock of the reducer before it may have told that window already.
    const told = toldBefore.get(life.session) ?? 0;
    const isDue = told > 0 && told < firstWindow && isFree(fleet, life, incarnation);
    if (isDue && (first.get(life.session) ?? 0) === 0)
      broken.push(`reducer ${id} closed its first window before session ${life.session} was back`);
  }
}

/** Nothing but its back-off keeps it from a reducer that has just started. */
export function isFree({ disturbances }: Fleet, life: Life, { startMs, endMs }: Incarnation): boolean {
  return (
    life.startMs < startMs - RETURN_MS &&
    life.endMs > Math.min(endMs, startMs + RETURN_MS) &&
    !disturbances.some(
      ({ host, fromMs, toMs }) => host === life.host && fromMs < startMs + RETURN_MS && toMs > startMs - RETURN_MS,
    )
  );
}

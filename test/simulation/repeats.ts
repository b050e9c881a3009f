/**
 * Which batches were exported twice, and to whom that belongs. A batch repeats for a session that made a snapshot for a later incarnation
 * without knowing that the batch was committed: what it told up to the window held in it is told, and exported, again. Of an agent that
 * could hear, only the last stored batch of a killed reducer may be so.
 */
import { addRow, noSums } from './audit.ts';
import type { StoredBatch } from './exporter.ts';
import type { Fleet, Snapshot } from './fleet.ts';
import { isFree } from './windows.ts';

type Sums = ReturnType<typeof noSums>;

export interface Repeats {
  count: number;
  /** What a port shows twice, and what it may show twice. */
  ofPort(port: number): { certain: Sums; possible: Sums };
}

/** The first snapshot with which a session repeats a batch. */
type Repeating = Map<bigint, Snapshot>;

/** An agent whose link was fine for so long before a kill has heard what the reducer said before. */
const HEARD_MS = 3_000;

export function findRepeats(fleet: Fleet, broken: string[]): Repeats {
  const repeated = new Map<StoredBatch, Repeating>();
  for (const batch of fleet.collector.batches) {
    const sessions: Repeating = new Map();
    for (const snapshot of fleet.snapshots) {
      if (!sessions.has(snapshot.session) && repeats(fleet, batch, snapshot)) sessions.set(snapshot.session, snapshot);
    }
    if (sessions.size > 0) repeated.set(batch, sessions);
  }
  for (const [batch, sessions] of repeated) checkAllowed(fleet, batch, sessions, broken);
  return { count: repeated.size, ofPort: (port) => sumOfPort(fleet, repeated, port) };
}

function repeats(fleet: Fleet, batch: StoredBatch, { session, incarnation, committedWindow }: Snapshot): boolean {
  return incarnation > batch.incarnation && held(fleet, batch, session) > committedWindow;
}

/** Of several windows that were exported as one, it may know that the first are committed. */
function repeatsAll(fleet: Fleet, batch: StoredBatch, snapshot: Snapshot | undefined): boolean {
  if (snapshot === undefined || batch.firstWindow === batch.lastWindow) return snapshot !== undefined;
  return snapshot.committedWindow <= held(fleet, { ...batch, lastWindow: batch.firstWindow - 1 }, snapshot.session);
}

/** The last window of the session that the batch, or one before it, holds; 0 = none. */
function held(fleet: Fleet, { incarnation, lastWindow }: StoredBatch, session: bigint): number {
  return (
    fleet.incarnations
      .find(({ id }) => id === incarnation)
      ?.sealed.get(lastWindow)
      ?.get(session) ?? 0
  );
}

function wasEverHeld(fleet: Fleet, { incarnation }: StoredBatch, session: bigint): boolean {
  const sealed = fleet.incarnations.find(({ id }) => id === incarnation)?.sealed.values() ?? [];
  return [...sealed].some((sessions) => (sessions.get(session) ?? 0) > 0);
}

function checkAllowed(fleet: Fleet, batch: StoredBatch, sessions: Repeating, broken: string[]): void {
  const { incarnation, lastWindow } = batch;
  const endMs = fleet.incarnations.find(({ id }) => id === incarnation)?.endMs ?? Infinity;
  // A request that was on its way is stored although its reducer is dead: then it is the last.
  const last = fleet.collector.batches.findLast((one) => one.incarnation === incarnation);
  if (last === batch) return checkRecovered(fleet, batch, sessions, broken);
  for (const session of sessions.keys()) {
    if (canHear(fleet, session, endMs))
      broken.push(`session ${session} repeats window ${lastWindow} of reducer ${incarnation}, which was not its last`);
  }
}

function canHear(fleet: Fleet, session: bigint, atMs: number): boolean {
  const life = fleet.lives.find((one) => one.session === session);
  if (life === undefined || atMs - life.startMs < HEARD_MS) return false;
  return !fleet.disturbances.some(
    ({ host, fromMs, toMs }) => host === life.host && fromMs < atMs && toMs > atMs - HEARD_MS,
  );
}

/** What an agent knows as committed that was there when the recovery period ended, or had to be, all know before they tell anything. */
function checkRecovered(fleet: Fleet, batch: StoredBatch, sessions: Repeating, broken: string[]): void {
  const endMs = fleet.incarnations.find(({ id }) => id === batch.incarnation)?.endMs ?? Infinity;
  const knownWindow = (snapshot: Snapshot): number => {
    const incarnation = fleet.incarnations.find(({ id }) => id === snapshot.incarnation);
    const life = fleet.lives.find(({ session }) => session === snapshot.session);
    if (incarnation === undefined || life === undefined) return 0;
    const isLate = !incarnation.recovered.sessions.has(snapshot.session) && !isFree(fleet, life, incarnation);
    return isLate ? 0 : (incarnation.recovered.sessions.get(snapshot.session) ?? snapshot.committedWindow);
  };
  // Its Hello tells of the incarnation that it spoke to last, so only the first one after it can pass the knowledge on.
  const knowing = fleet.lives
    .map(({ session }) => fleet.snapshots.find((one) => one.session === session && one.incarnation > batch.incarnation))
    .find((snapshot) => snapshot !== undefined && knowsCommit(fleet, batch, snapshot.session, knownWindow(snapshot)));
  for (const snapshot of sessions.values()) {
    if (knowing?.incarnation === snapshot.incarnation && canHear(fleet, snapshot.session, endMs))
      broken.push(
        `session ${snapshot.session} repeats window ${batch.lastWindow} of reducer ${batch.incarnation}, ` +
          `which session ${knowing.session} knew as committed`,
      );
  }
}

/** It told something that only this batch holds, and need not tell it again. */
function knowsCommit(fleet: Fleet, batch: StoredBatch, session: bigint, committedWindow: number): boolean {
  const told = held(fleet, batch, session);
  return (
    told > 0 && told > held(fleet, { ...batch, lastWindow: batch.firstWindow - 1 }, session) && committedWindow >= told
  );
}

function sumOfPort(
  fleet: Fleet,
  repeated: Map<StoredBatch, Repeating>,
  port: number,
): { certain: Sums; possible: Sums } {
  const certain = new Map<number, Sums>([[port, noSums()]]);
  const possible = new Map<number, Sums>([[port, noSums()]]);
  if (repeated.size === 0) return { certain: noSums(), possible: noSums() };
  const hosts = hostsOfPort(fleet, port);
  for (const [batch, sessions] of repeated) {
    const rows = [...batch.rows.values()].filter((row) => row.serverPort === port);
    if (rows.length === 0) continue;
    // An end that was heard only after this batch may know more of it than the one that repeats.
    const involved = fleet.lives.filter((life) => hosts.has(life.host) && wasEverHeld(fleet, batch, life.session));
    const repeating = involved.filter((life) => sessions.has(life.session));
    if (repeating.length === 0) continue;
    const isCertain =
      repeating.length === involved.length &&
      involved.every(({ endMs, session }) => endMs === Infinity && repeatsAll(fleet, batch, sessions.get(session)));
    for (const row of rows) addRow(fleet, isCertain ? certain : possible, row);
  }
  return { certain: certain.get(port) ?? noSums(), possible: possible.get(port) ?? noSums() };
}

function hostsOfPort(fleet: Fleet, port: number): Set<unknown> {
  const hosts = new Set<unknown>();
  for (const { client, server } of fleet.kernel.connections) {
    if (server.port !== port) continue;
    if (client.host !== undefined) hosts.add(client.host);
    if (server.host !== undefined) hosts.add(server.host);
  }
  for (const failed of fleet.kernel.failedConnects) if (failed.port === port) hosts.add(failed.host);
  return hosts;
}

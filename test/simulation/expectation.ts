/**
 * What the export may show of one connection. An end is watched whole when one life of its host's agent saw it open and told its end. Then
 * everything is exact, whatever happens to the reducer, to the link and to the other end, but for what no agent can know:
 *
 *   both agents come back to a new reducer in different windows   the first one's committed totals may lack what only the other had told:
 *                                                                 a moment's bytes, or all since the first one was last heard
 *   an adopted end is committed before the end that saw the opening is heard, then the reducer dies: its history was never traffic
 *   no life saw the whole                                         what was told before or after may be lost with it
 *   folds of several connections                                  sums cannot tell what was in flight when one end of a connection was
 *                                                                 committed from what another connection adds
 *   folds of adopted ends, one made before its first commit       its history is taken for what is not known to be exported
 */
import { SCAN_MS_MAX } from './agent-process.ts';
import { type Disturbance, EPOCH_NS, type Fleet, type Incarnation, type Life, WINDOW_MS } from './fleet.ts';
import { type Connection, type FailedConnect, type Host, IN_FLIGHT_MAX, type Socket } from './model-kernel.ts';

export interface Interval {
  least: number;
  most: number;
}

export interface Expectation {
  forwardBytes: Interval;
  reverseBytes: Interval;
  connections: Interval;
  failures: Interval;
  outOfOrder: Interval;
  handshakes: Interval;
  handshakeNs: Interval;
  durations: Interval;
  durationNs: Interval;
  story: string;
}

const ZERO: Interval = { least: 0, most: 0 };
export const NOTHING: Expectation = {
  forwardBytes: ZERO,
  reverseBytes: ZERO,
  connections: ZERO,
  failures: ZERO,
  outOfOrder: ZERO,
  handshakes: ZERO,
  handshakeNs: ZERO,
  durations: ZERO,
  durationNs: ZERO,
  story: '',
};
/** After its close a socket is told, exported and committed within so long, when nothing is wrong. */
const COMMIT_MS = 8_000;
/** Ticks, and an offset of the clock that was measured by an answer that arrived late. */
const LOOKS_APART_MS = 700;
const EPOCH_MS = Number(EPOCH_NS / 1_000_000n);
/** What began so long before the end of a reducer's last window that is committed may not be told and committed by both ends. */
const YOUNG_MS = 3_000;

export function addInterval(a: Expectation, b: Expectation): Expectation {
  const add = (left: Interval, right: Interval): Interval => ({
    least: left.least + right.least,
    most: left.most + right.most,
  });
  return {
    forwardBytes: add(a.forwardBytes, b.forwardBytes),
    reverseBytes: add(a.reverseBytes, b.reverseBytes),
    connections: add(a.connections, b.connections),
    failures: add(a.failures, b.failures),
    outOfOrder: add(a.outOfOrder, b.outOfOrder),
    handshakes: add(a.handshakes, b.handshakes),
    handshakeNs: add(a.handshakeNs, b.handshakeNs),
    durations: add(a.durations, b.durations),
    durationNs: add(a.durationNs, b.durationNs),
    story: b.story,
  };
}

/** Both directions as one: for a connection of which nobody may know who is the client. */
export function withoutDirection(expectation: Expectation): Expectation {
  const { forwardBytes, reverseBytes } = expectation;
  const bytes = { least: forwardBytes.least + reverseBytes.least, most: forwardBytes.most + reverseBytes.most };
  return { ...expectation, forwardBytes: bytes, reverseBytes: ZERO };
}

export function expectFailure(fleet: Fleet, { host, atMs }: FailedConnect): Expectation {
  const isSeen = watchOf(fleet, host, atMs, atMs) === 'whole';
  const mayBeSeen = isSeen || isWatched(fleet, host, atMs);
  return {
    ...NOTHING,
    failures: { least: isSeen ? 1 : 0, most: mayBeSeen ? 1 : 0 },
    story: `failed connect of ${host.name} at ${atMs.toFixed(0)}`,
  };
}

export function expectConnection(fleet: Fleet, connection: Connection): Expectation {
  const { client, server, clientSocket, serverSocket } = connection;
  const atClient = expectTallies(fleet, clientSocket, watchOfEnd(fleet, connection, clientSocket, client.host));
  const atServer = expectTallies(fleet, serverSocket, watchOfEnd(fleet, connection, serverSocket, server.host));
  return addInterval(addInterval(atClient, atServer), expectTotals(fleet, connection));
}

/**
 * Each end tells its own, once: exactly when it is watched whole. Of one that was watched in part some may have died with its agent, or been
 * counted before the agent looked; of one that was folded it may be gone.
 */
function expectTallies({ scenario }: Fleet, socket: Socket | undefined, watch: Watch): Expectation {
  if (socket === undefined || watch === 'none') return NOTHING;
  const isExact = watch === 'whole' && scenario.closedRetained === 0;
  const upTo = (most: number): Interval => ({ least: isExact ? most : 0, most });
  return {
    ...NOTHING,
    outOfOrder: upTo(socket.outOfOrder),
    handshakes: upTo(socket.handshakeUs === 0 ? 0 : 1),
    handshakeNs: upTo(socket.handshakeUs * 1_000),
    durations: upTo(socket.lifeNs === 0 ? 0 : 1),
    durationNs: upTo(socket.lifeNs),
  };
}

function expectTotals(fleet: Fleet, connection: Connection): Expectation {
  const client = watchOfEnd(fleet, connection, connection.clientSocket, connection.client.host);
  const server = watchOfEnd(fleet, connection, connection.serverSocket, connection.server.host);
  const story = tellStory(connection, client, server);
  const { forwardBytes, reverseBytes } = connection;
  if (client === 'whole' || server === 'whole') {
    const slack = slackOf(fleet, connection, client, server);
    return {
      ...NOTHING,
      forwardBytes: { least: Math.max(0, forwardBytes - slack.missing), most: forwardBytes + slack.bytes },
      reverseBytes: { least: Math.max(0, reverseBytes - slack.missing), most: reverseBytes + slack.bytes },
      connections: { least: 1, most: 1 + slack.connections },
      story,
    };
  }
  if (client === 'none' && server === 'none') return { ...NOTHING, story };
  if (client !== 'part' && server !== 'part') return expectAdopted(fleet, connection, client, server, story);
  const times = fleet.incarnations.length;
  return {
    ...NOTHING,
    forwardBytes: { least: 0, most: forwardBytes * times },
    reverseBytes: { least: 0, most: reverseBytes * times },
    connections: { least: 0, most: times },
    story,
  };
}

/** Every agent that saw it looked too late to see its opening: what passed before is history, and it is not counted. */
function expectAdopted(fleet: Fleet, connection: Connection, client: Watch, server: Watch, story: string): Expectation {
  const { clientSocket, serverSocket, forwardBytes, reverseBytes } = connection;
  const slack = slackOf(fleet, connection, client, server);
  const atClient = client === 'adopted' ? clientSocket?.adoptions.slice(0, 1) : undefined;
  const atServer = server === 'adopted' ? serverSocket?.adoptions.slice(0, 1) : undefined;
  const forward = [...(atClient ?? []).map(({ sent }) => sent), ...(atServer ?? []).map(({ received }) => received)];
  const reverse = [...(atClient ?? []).map(({ received }) => received), ...(atServer ?? []).map(({ sent }) => sent)];
  // A socket that closes while the sockets are scanned may be known by its last totals alone.
  const isScanned = [clientSocket, serverSocket].every((socket) => socket === undefined || outlivesScan(fleet, socket));
  const after = (bytes: number, history: number[]): Interval => ({
    least: isScanned ? bytes - Math.max(...history) : 0,
    most: bytes - Math.min(...history) + slack.bytes,
  });
  return { ...NOTHING, forwardBytes: after(forwardBytes, forward), reverseBytes: after(reverseBytes, reverse), story };
}

function outlivesScan(fleet: Fleet, { closedMs }: Socket): boolean {
  return !fleet.lives.some(({ startMs }) => closedMs >= startMs && closedMs < startMs + SCAN_MS_MAX + 1);
}

/** `adopted`: by one life that lasted to the end, and by no other. */
type Watch = 'none' | 'part' | 'adopted' | 'whole';

export function watchOfEnd(
  fleet: Fleet,
  { openedMs }: Connection,
  socket: Socket | undefined,
  host: Host | undefined,
): Watch {
  if (socket === undefined || host === undefined) return 'none';
  const watch = watchOf(fleet, host, openedMs, socket.closedMs);
  return watch === 'adopted' && socket.adoptions.length === 0 ? 'part' : watch;
}

function watchOf(fleet: Fleet, host: Host, openedMs: number, closedMs: number): Watch {
  const lives = fleet.lives.filter((life) => life.host === host);
  if (lives.some((life) => life.startMs < openedMs && hasTold(fleet, life, closedMs))) return 'whole';
  const seeing = lives.filter((life) => life.startMs <= closedMs && life.endMs >= openedMs);
  if (seeing.length === 0) return 'none';
  const isAdopted = seeing.length === 1 && seeing[0].startMs > openedMs && seeing[0].endMs === Infinity;
  return isAdopted ? 'adopted' : 'part';
}

function isWatched(fleet: Fleet, host: Host, atMs: number): boolean {
  return fleet.lives.some((life) => life.host === host && life.startMs <= atMs && life.endMs >= atMs);
}

/** Everything up to `closedMs` was told and committed while this life lasted. */
function hasTold(fleet: Fleet, life: Life, closedMs: number): boolean {
  if (life.endMs === Infinity) return true;
  const committedMs = closedMs + COMMIT_MS;
  const isCalm = !fleet.disturbances.some(
    ({ host, fromMs, toMs }) => host === life.host && fromMs < committedMs && toMs > closedMs,
  );
  const isReducerCalm = !fleet.incarnations.some(({ endMs }) => endMs > closedMs - COMMIT_MS && endMs < Infinity);
  return isCalm && isReducerCalm && life.endMs > committedMs;
}

interface Slack {
  /** More and less than the truth. */
  bytes: number;
  missing: number;
  connections: number;
}

/** How far off the export may be because the two ends came back to a new reducer apart. */
function slackOf(fleet: Fleet, connection: Connection, client: Watch, server: Watch): Slack {
  const slack = { bytes: 0, missing: 0, connections: 0 };
  if (client === 'none' || server === 'none') return slack;
  slack.bytes += foldedMax(fleet, connection);
  fleet.incarnations.forEach((incarnation, index) => {
    if (index === 0 || incarnation.startMs < connection.openedMs || incarnation.sealed.size === 0) return;
    const areHeard = isUndisturbed(fleet, connection, incarnation) && client === 'whole' && server === 'whole';
    if (!areHeard) slack.missing = historyMax(fleet, connection);
    if (cameTogether(fleet, connection, incarnation)) return;
    slack.bytes += aheadMax(connection);
    // Only one end may have told of the opening when the reducer before died.
    const isYoung = connection.openedMs > exportedMs(fleet, fleet.incarnations[index - 1]) - YOUNG_MS;
    if (isYoung || !isOpeningKnown(fleet, connection, incarnation)) slack.connections++;
    if (areHeard) return;
    slack.bytes += connection.forwardBytes + connection.reverseBytes;
    slack.connections++;
  });
  return slack;
}

/** Both agents knew that the opening was committed when they told this incarnation of it. */
function isOpeningKnown(fleet: Fleet, { client, server, openedMs }: Connection, { id }: Incarnation): boolean {
  return [client.host, server.host].every((host) => {
    const lives = fleet.lives.filter((life) => life.host === host);
    const snapshots = fleet.snapshots.filter(
      ({ session, incarnation }) => incarnation === id && lives.some((life) => life.session === session),
    );
    return snapshots.every(
      ({ committedWindow }) => (committedWindow + 1) * WINDOW_MS - EPOCH_MS > openedMs + LOOKS_APART_MS,
    );
  });
}

/** The end of the last window that it exported. */
function exportedMs({ collector }: Fleet, { id, startMs, closedAt }: Incarnation): number {
  const batches = collector.batches.filter(({ incarnation }) => incarnation === id);
  return Math.max(startMs, ...batches.map(({ lastWindow }) => closedAt.get(lastWindow)?.endMs ?? startMs));
}

/** How far off folds may be that a new reducer is told. */
function foldedMax({ scenario, kernel, incarnations }: Fleet, connection: Connection): number {
  const isRetold = incarnations.some(({ startMs }, index) => index > 0 && startMs > connection.openedMs);
  if (scenario.closedRetained === 0 || !isRetold) return 0;
  const { clientSocket, serverSocket, server } = connection;
  if ([clientSocket, serverSocket].some((socket) => socket !== undefined && socket.adoptions.length > 0))
    return aheadMax(connection);
  const isAlone = !kernel.connections.some((other) => other !== connection && other.server.port === server.port);
  return isAlone ? 0 : Math.max(0, ...connection.transfers.map(({ bytes }) => bytes)) * IN_FLIGHT_MAX;
}

/** What an end that was adopted left out, and cannot tell apart from what is committed when a new reducer asks. */
function historyMax(fleet: Fleet, { clientSocket, serverSocket }: Connection): number {
  const histories = [clientSocket, serverSocket].flatMap((socket) => {
    if (socket === undefined || socket.adoptions.length === 0) return [];
    return outlivesScan(fleet, socket) ? socket.adoptions : [socket];
  });
  return Math.max(0, ...histories.map(({ sent, received }) => Math.max(sent, received)));
}

/** The most that one end can have told and the other not, when both end a window: two agents look at somewhat different moments. */
function aheadMax({ transfers }: Connection): number {
  const within = (fromMs: number): number =>
    transfers.reduce(
      (sum, { atMs, bytes }) => (atMs >= fromMs && atMs <= fromMs + LOOKS_APART_MS ? sum + bytes : sum),
      0,
    );
  return Math.max(0, ...transfers.map(({ atMs }) => within(atMs)));
}

/** The sessions of both ends were first held in the same window, and they are those that told of it before. */
function cameTogether(fleet: Fleet, { client, server, openedMs }: Connection, incarnation: Incarnation): boolean {
  const [a, b] = [client.host, server.host].map((host) => firstHeld(fleet, host, incarnation));
  const [first] = incarnation.closedAt.values();
  const hasDied = fleet.lives.some(
    ({ host, endMs }) =>
      (host === client.host || host === server.host) && endMs > openedMs && endMs < (first?.atMs ?? Infinity),
  );
  return a === b && a !== undefined && !hasDied;
}

function firstHeld(fleet: Fleet, host: Host | undefined, { sealed }: Incarnation): number | undefined {
  for (const [window, sessions] of sealed) {
    for (const [session, reached] of sessions) {
      if (reached > 0 && fleet.lives.some((life) => life.session === session && life.host === host)) return window;
    }
  }
  return undefined;
}

/** Neither end was cut off before the incarnation began. */
function isUndisturbed(fleet: Fleet, { client, server, openedMs }: Connection, { startMs }: Incarnation): boolean {
  const disturbs = ({ host, fromMs, toMs }: Disturbance): boolean =>
    (host === client.host || host === server.host) && fromMs < startMs && toMs > openedMs;
  return !fleet.disturbances.some(disturbs);
}

function tellStory(
  { client, server, openedMs, clientSocket, serverSocket, joinKey }: Connection,
  a: Watch,
  b: Watch,
): string {
  const end = (host: Host | undefined, socket: Socket | undefined, watch: Watch): string =>
    `${host?.name ?? 'outside'} (${watch}${socket === undefined ? '' : `, closed ${socket.closedMs.toFixed(0)}`})`;
  const key = joinKey === 0n ? ', no join key' : '';
  return `${end(client.host, clientSocket, a)} to ${end(server.host, serverSocket, b)}, opened ${openedMs.toFixed(0)}${key}`;
}

// How the naive ledger books one flow: where counting starts, what both ends say together, and what is counted once.
import { CloseReason } from '../../host/wire/gen/kernel-events-layout.ts';
import { BaselineKind, type Totals } from '../../host/wire/gen/wire-layout.ts';
import type { NamedTally } from './planned-agent.ts';

export interface End {
  identity: bigint;
  boot: bigint;
  cookie: bigint;
  role: number;
  source: number;
  node: string;
  localAddress: string;
  remoteAddress: string;
  localPort: number;
  remotePort: number;
  ids: Set<number>;
  isHeld: boolean;
  isExisting: boolean;
  isCounted: boolean;
  isClosed: boolean;
  /** Before the open window. */
  wasClosed: boolean;
  isSettled: boolean;
  isReported: boolean;
  reason: number;
  totals: Totals;
  /** Totals that its own numbers have told; undefined before its first close. */
  own: Totals | undefined;
  rttUs: number;
  from: number | undefined;
  baselines: { kind: number; totals: Totals }[];
  /** Of the open window. */
  tallies: NamedTally[];
  endings: SocketEnding[];
}

/** `syns`: sent again by a connect that failed. */
export interface SocketEnding {
  durationNs: bigint;
  handshakeNs: bigint;
  error: number;
  syns: bigint;
  reason: number;
  role: number;
}

export interface Flow {
  key: string;
  isFailure: boolean;
  ends: [End | undefined, End | undefined];
  clientSlot: number | undefined;
  booked: bigint[];
  /** Left out at the start, because every end was adopted then. */
  history: bigint[] | undefined;
  edge: string | undefined;
  isActive: boolean;
  done: Set<string>;
}

/** Fields of an edge in one window, as in records.EdgePoint. */
export type EdgeSums = Map<string, bigint>;

export const TOTAL_FIELDS = ['bytesSent', 'bytesReceived', 'segmentsSent', 'segmentsReceived', 'retransmits'] as const;

/** [sender, its total, receiver, its total] of bytes and segments each way, then retransmits. */
export function pairs(
  client: End | undefined,
  server: End | undefined,
): [End | undefined, bigint, End | undefined, bigint][] {
  const c = client?.totals ?? zero();
  const s = server?.totals ?? zero();
  return [
    [client, c.bytesSent, server, s.bytesReceived],
    [server, s.bytesSent, client, c.bytesReceived],
    [client, c.segmentsSent, server, s.segmentsReceived],
    [server, s.segmentsSent, client, c.segmentsReceived],
    [client, c.retransmits, undefined, 0n],
    [server, s.retransmits, undefined, 0n],
  ];
}

export const TOTAL_NAMES = [
  'forwardBytes',
  'reverseBytes',
  'forwardPackets',
  'reversePackets',
  'forwardRetransmits',
  'reverseRetransmits',
];

/** Raises `booked` to where counting starts. Returns what was left out before and has turned out to be traffic. */
export function rebase(flow: Flow, client: End | undefined, server: End | undefined, isFirst: boolean): bigint[] {
  const known = [client, server].filter((end) => end !== undefined);
  const kindOf = (end: End) => (end.baselines.length === 0 ? 0 : Math.max(...end.baselines.map(({ kind }) => kind)));
  const base = (end: End | undefined, kind: number): End | undefined => {
    if (end === undefined || kindOf(end) !== kind) return undefined;
    const picked = zero();
    for (const field of TOTAL_FIELDS) {
      const values = end.baselines.filter((one) => one.kind === kind).map(({ totals }) => totals[field]);
      picked[field] = values.reduce((a, b) => (a > b === (kind === BaselineKind.Committed) ? a : b));
    }
    return { ...end, totals: picked };
  };
  const { history } = flow;
  const committed = pairs(base(client, BaselineKind.Committed), base(server, BaselineKind.Committed));
  // Whoever tells again what it told here before knows nothing of history.
  const [newClient, newServer] = [client, server].map((end) => (end?.own === undefined ? end : undefined));
  const news = pairs(base(newClient, BaselineKind.Committed), base(newServer, BaselineKind.Committed));
  const isKnown = [newClient, newServer].some((end) => end !== undefined && kindOf(end) === BaselineKind.Committed);
  if (history !== undefined && (isKnown || known.some((end) => !end.isExisting))) flow.history = undefined;
  if (isFirst && known.every((end) => end.isExisting && kindOf(end) === BaselineKind.Adopted)) {
    const [c, s] = [base(client, BaselineKind.Adopted), base(server, BaselineKind.Adopted)];
    pairs(c, s).forEach(([, sent, , received], index) => {
      const values =
        index > 3 ? [sent] : [...(index % 2 === 0 ? [c && sent, s && received] : [s && sent, c && received])];
      const told = values.filter((value) => value !== undefined);
      if (told.length > 0) flow.booked[index] = told.reduce(less);
    });
    if (flow.booked.slice(0, 4).some((value) => value > 0n)) flow.history = [...flow.booked];
  }
  committed.forEach(([, sent, , received], index) => {
    for (const value of [sent, received]) if (value > flow.booked[index]) flow.booked[index] = value;
  });
  if (history === undefined || flow.history !== undefined) return [];
  return history.map((value, index) => value - greater(news[index][1], news[index][3]));
}

/** What an end's own totals rose by: from its baseline when it is new. The end decides alone. */
export function addOwn(end: End | undefined, side: 'client' | 'server', news: EdgeSums): void {
  if (end === undefined) return;
  const from = end.own ?? startOf(end);
  for (const [field, name] of OWN_NAMES) {
    if (end.totals[field] > from[field]) add(news, `${side}${name}`, end.totals[field] - from[field]);
  }
  end.own = { ...end.totals };
}

const OWN_NAMES = [
  ['bytesSent', 'BytesSent'],
  ['bytesReceived', 'BytesReceived'],
  ['segmentsSent', 'PacketsSent'],
  ['segmentsReceived', 'PacketsReceived'],
] as const;

function startOf(end: End): Totals {
  const of = (kind: number) => end.baselines.filter((one) => one.kind === kind).map(({ totals }) => totals);
  const [committed, adopted] = [of(BaselineKind.Committed), end.isExisting ? of(BaselineKind.Adopted) : []];
  const start = zero();
  for (const [field] of OWN_NAMES) {
    if (committed.length > 0) start[field] = committed.map((one) => one[field]).reduce(greater);
    else if (adopted.length > 0) start[field] = adopted.map((one) => one[field]).reduce(less);
  }
  return start;
}

const FAILURE_FIELDS = ['refused', 'timedOut', 'abandoned', 'unreachable', 'failedOther'];

export function countAll(flow: Flow, client: End | undefined, server: End | undefined, news: EdgeSums): void {
  const ends = [client, server].filter((end) => end !== undefined);
  const once = (name: string): boolean => !flow.done.has(name) && flow.done.add(name) !== undefined;
  if (flow.isFailure) {
    if (once('failure')) add(news, FAILURE_FIELDS[client!.reason - CloseReason.ConnectRefused], 1n);
    return;
  }
  if (ends.some(({ isCounted }) => isCounted)) once('connection');
  else if (ends.some(({ isExisting }) => !isExisting) && once('connection')) add(news, 'connections', 1n);
  const isSettled = ends.some((end) => end.isSettled);
  if (ends.some(({ isClosed }) => isClosed)) {
    if (once('closed') && !isSettled) add(news, 'closed', 1n);
    const reasonOf = (end: End | undefined) => (end?.isClosed ? end.reason : 0);
    const byClient = reasonOf(client) === CloseReason.ResetSent || reasonOf(server) === CloseReason.ResetReceived;
    const byServer = reasonOf(server) === CloseReason.ResetSent || reasonOf(client) === CloseReason.ResetReceived;
    if ((byClient || byServer) && once('reset') && !isSettled)
      add(news, byClient ? 'resetsClient' : 'resetsServer', 1n);
  }
  if (isSettled || !client?.isClosed || !server?.isClosed || !once('judged')) return;
  for (const [, sent, , received] of pairs(client, server).slice(0, 2)) {
    if (sent !== received) add(news, 'residualBytes', sent > received ? sent - received : received - sent);
    if (sent !== 0n || received !== 0n) add(news, 'judgedBytes', greater(sent, received));
  }
}

export function zero(): Totals {
  return {
    bytesSent: 0n,
    bytesReceived: 0n,
    segmentsSent: 0n,
    segmentsReceived: 0n,
    retransmits: 0n,
    srttUs: 0,
    minRttUs: 0,
  };
}

export function add(sums: Map<string, bigint>, name: string, value: bigint): void {
  sums.set(name, (sums.get(name) ?? 0n) + value);
}

export function order(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function greater(a: bigint, b: bigint): bigint {
  return order(a, b) < 0 ? b : a;
}

export function less(a: bigint, b: bigint): bigint {
  return order(a, b) < 0 ? a : b;
}

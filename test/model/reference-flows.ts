/**
 * The reference model, second part: both ends of a connection are one flow, and its ledger books each byte once (docs/protocol.md, sections 3
 * and 5). Every function is a sentence of that page or a few.
 */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import type { Close, Once, Open, Settled, Totals } from '../../host/wire/gen/wire-layout.ts';
import { type Node, nodeOfAddress } from './reference-names.ts';
import { placeOf, type Teller } from './reference-sessions.ts';

const SIDES = ['client', 'server'] as const;
type Side = (typeof SIDES)[number];

/** What is booked, with the side that sends it and where the totals of the sender and of the receiver have it. */
const BOOKED = {
  forwardBytes: ['client', 'bytesSent', 'bytesReceived'],
  reverseBytes: ['server', 'bytesSent', 'bytesReceived'],
  forwardPackets: ['client', 'segmentsSent', 'segmentsReceived'],
  reversePackets: ['server', 'segmentsSent', 'segmentsReceived'],
  forwardRetransmits: ['client', 'retransmits', undefined],
  reverseRetransmits: ['server', 'retransmits', undefined],
} as const;
type Booked = keyof typeof BOOKED;
const BOOKED_FIELDS = Object.keys(BOOKED) as Booked[];
type Sums = Record<Booked, bigint>;

/** What each end says by itself. */
const OWN = {
  BytesSent: 'bytesSent',
  BytesReceived: 'bytesReceived',
  PacketsSent: 'segmentsSent',
  PacketsReceived: 'segmentsReceived',
} as const;
const RUNNING = ['bytesSent', 'bytesReceived', 'segmentsSent', 'segmentsReceived', 'retransmits'] as const;

// schemas/wire.fbs and schemas/kernel-events.fbs.
const UDP = 17;
const ROLE_SERVER = 2;
const EXISTING = 1;
const COUNTED = 2;
const ADOPTED = 1;
const COMMITTED = 2;
const RESET_SENT = 2;
const RESET_RECEIVED = 3;
const SYN = 3;
const FAILURES: Record<number, string> = {
  5: 'refused',
  6: 'timedOut',
  7: 'abandoned',
  8: 'unreachable',
  9: 'failedOther',
};
const TALLY = {
  handshakeServer: 1,
  handshakeClient: 2,
  duration: 3,
  retransmit: 4,
  resetSent: 5,
  resetReceived: 6,
  connectError: 9,
  rttMin: 10,
};

/** What an end counted beside its totals. `side`: 0 a host, 1 the client, 2 the server; `sum`: nanoseconds of samples. */
export interface Tallied {
  kind: number;
  side: number;
  code: number;
  label: string;
  count: bigint;
  sum: bigint;
}

/** One socket, whichever session tells of it. */
export interface End {
  flow: Flow;
  side: Side;
  teller: Teller;
  open: Open;
  /** Undefined of a settled one, which is named as if nobody told it. */
  node: Node | undefined;
  isSettled: boolean;
  /** What its host called the other end's address when it opened. */
  remoteName: string;
  /** Greatest totals, the last that its channel told, and what of them was shown as its own. */
  totals: Totals;
  told: Totals;
  shown: Totals;
  /** Totals of the end that was there before, which of datagrams go on. */
  carried: Totals;
  baseline: { kind: number; totals: Totals } | undefined;
  isOpen: boolean;
  /** Its own word, once it has closed; 0 before, and when its agent is gone instead. */
  closeReason: number;
  /** Was booked before the open window, and was open at its beginning. */
  isKnown: boolean;
  wasOpen: boolean;
  /** Told in the open window: since which window, and the greatest round trip. */
  isReported: boolean;
  from: number | undefined;
  srttUs: number;
}

export interface Flow {
  protocol: number;
  client?: End;
  server?: End;
  /** Undefined until the flow is first booked. */
  booked?: Sums;
  /** History that counting left out, until an end tells it after all. */
  leftOut: Partial<Sums>;
  /** What is counted once: its connection, failure, close, reset, residual. */
  counted: Set<string>;
  /** Something was told of it in the open window. */
  isTouched: boolean;
  tallies: Tallied[];
  /** Where it was shown as open at the last close. */
  openAt: Place | undefined;
}

/** An edge of the finest level. */
export interface Place {
  client: Node;
  server: Node;
  protocol: number;
  serverPort: number;
}

/** What a flow adds to its edge in one window. */
export interface FlowNews extends Place {
  fields: Record<string, bigint>;
  fromWindow: number;
  rttUs: number;
  isOpen: boolean;
  tallies: Tallied[];
}

export const ZERO: Totals = {
  ...{ bytesSent: 0n, bytesReceived: 0n, segmentsSent: 0n, segmentsReceived: 0n, retransmits: 0n },
  ...{ srttUs: 0, minRttUs: 0 },
};

/** What a settled socket does not say. */
const NO_OPEN: Open = {
  ...{ handle: 0, process: 0, joinKey: 0n, cookie: 0n, startTimeNs: 0n, addressSpace: 0, flags: 0 },
  ...{ localAddress: new Uint8Array(16), remoteAddress: new Uint8Array(16), localPort: 0, remotePort: 0 },
  ...{ role: 0, roleSource: 0, protocol: 6, ipVersion: 4 },
};

export class ReferenceFlows {
  readonly #tellers: ReadonlyMap<bigint, Teller>;
  readonly #byKey = new Map<string, Flow[]>();
  readonly #all = new Set<Flow>();

  constructor(tellers: ReadonlyMap<bigint, Teller>) {
    this.#tellers = tellers;
  }

  /** The end of a socket that is told as open; of one that another session of its agent told before, the same end. */
  claim(teller: Teller, open: Open, named: Pick<End, 'node' | 'remoteName'>): End {
    const side = sideOf(open);
    const flow = this.#flowOf(teller, open);
    const known = flow[side];
    const end: End = known ?? {
      ...{
        flow,
        side,
        teller,
        open,
        ...named,
        baseline: undefined,
        closeReason: 0,
        isKnown: false,
        wasOpen: false,
        isSettled: false,
      },
      ...{ totals: ZERO, told: ZERO, shown: ZERO, carried: ZERO },
      ...{ isOpen: true, isReported: true, from: undefined, srttUs: 0 },
    };
    // Of datagrams that go on the totals do, too; what passed while nobody looked is no loss.
    if (known !== undefined && !isSameSocket(known, teller, open)) {
      end.carried = end.totals;
      if (known.teller !== teller) flow.counted.add('residual');
    }
    Object.assign(end, { teller, open, ...named, told: ZERO, isOpen: true, closeReason: 0, isReported: true });
    flow[side] = end;
    flow.isTouched = true;
    return end;
  }

  /**
   * A join key is that of one connection: a third socket that claims a taken side is refused, and what it tells is in no flow that is booked.
   * Without one the tuple is the key, and connections of one tuple follow one another: the n-th of one end is the n-th of the other.
   */
  #flowOf(teller: Teller, open: Open): Flow {
    const flows = this.#flowsOf(open.joinKey !== 0n ? String(open.joinKey) : tupleOf(teller, open));
    const side = sideOf(open);
    const same = flows.find((flow) => isSameSocket(flow[side], teller, open));
    if (same !== undefined) return same;
    const last = flows.findLastIndex((flow) => flow[side] !== undefined);
    const taken = flows[last]?.[side];
    if (taken !== undefined && last === flows.length - 1 && goesOn(flows[last], taken, teller)) return flows[last];
    const isFollowed = open.joinKey === 0n && !taken?.isOpen;
    if (taken !== undefined && !isFollowed) return newFlow(open.protocol);
    const free = flows[last + 1] ?? newFlow(open.protocol);
    if (!flows.includes(free)) flows.push(free);
    this.#all.add(free);
    return free;
  }

  #flowsOf(key: string): Flow[] {
    const flows = this.#byKey.get(key) ?? [];
    this.#byKey.set(key, flows);
    return flows;
  }

  /** A closed socket that was committed to an earlier reducer: its flow is booked, and lingers for the other end. */
  settle(teller: Teller, { joinKey, role, counted, totals }: Settled): void {
    const open = { ...NO_OPEN, joinKey, role, flags: counted === 1 ? EXISTING | COUNTED : EXISTING };
    const end = this.claim(teller, open, { node: undefined, remoteName: '' });
    Object.assign(end, {
      totals,
      shown: totals,
      baseline: { kind: COMMITTED, totals },
      isOpen: false,
      isReported: false,
    });
    end.isSettled = true;
  }

  baseline(end: End, kind: number, totals: Totals): void {
    end.told = totals;
    // A session that takes a socket over continues where the end was, and of a known flow an adopted baseline is ignored.
    if (!end.isKnown) Object.assign(end, { baseline: { kind, totals }, shown: totals });
    else if (kind === COMMITTED) raiseBooked(end, totals);
    end.totals = greatest(end.totals, totals);
  }

  /** Running totals never fall. */
  report(end: End, totals: Totals, from: number): void {
    end.told = totals;
    end.totals = greatest(end.totals, sum(totals, end.carried));
    end.isReported = true;
    end.from = Math.min(end.from ?? from, from);
    end.srttUs = Math.max(end.srttUs, totals.srttUs);
    end.flow.isTouched = true;
  }

  /** The end's own word. A reset, an error and the least round trip are counted as tallies. */
  end(end: End, { reason, phase, error, totals }: Close | Once): void {
    end.isOpen = false;
    end.closeReason = reason;
    const count = (kind: number, code: number, sum = 0n): void =>
      this.tally(end, { kind, code, label: '', count: 1n, sum });
    if (reason === RESET_SENT && phase !== 0) count(TALLY.resetSent, phase);
    if (reason === RESET_RECEIVED && phase !== 0) count(TALLY.resetReceived, phase);
    if (reason in FAILURES) {
      count(TALLY.connectError, error);
      const { retransmits } = totals;
      if (retransmits > 0n)
        this.tally(end, { kind: TALLY.retransmit, code: SYN, label: '', count: retransmits, sum: 0n });
    }
    if (totals.minRttUs > 0) count(TALLY.rttMin, 0, BigInt(totals.minRttUs) * 1_000n);
  }

  /** A socket that lived inside one window carries its handshake and its duration. */
  endOnce(end: End, { handshakeUs, endTimeNs, open, reason }: Once): void {
    const handshake = end.side === 'client' ? TALLY.handshakeServer : TALLY.handshakeClient;
    const sample = (kind: number, code: number, sum: bigint): void =>
      this.tally(end, { kind, code, label: '', count: 1n, sum });
    if (handshakeUs > 0) sample(handshake, 0, BigInt(handshakeUs) * 1_000n);
    if (sawOpening(end) && open.startTimeNs > 0n && !(reason in FAILURES))
      sample(TALLY.duration, reason, endTimeNs - open.startTimeNs);
  }

  tally(end: End, tallied: Omit<Tallied, 'side'>): void {
    end.flow.tallies.push({ ...tallied, side: end.side === 'client' ? 1 : 2 });
    end.flow.isTouched = true;
  }

  /** Its agent is gone: it is not open any more, and has not closed. */
  lose(end: End): void {
    end.isOpen = false;
    end.flow.isTouched = true;
  }

  close(window: number): FlowNews[] {
    return [...this.#all].flatMap((flow) => this.#book(flow, window));
  }

  #book(flow: Flow, window: number): FlowNews[] {
    const { openAt, tallies } = flow;
    const nothing = { fields: {}, rttUs: 0, isOpen: false, tallies: [], fromWindow: window };
    // A flow of which nothing is told keeps its names.
    if (!flow.isTouched) return openAt === undefined ? [] : [{ ...openAt, ...nothing, isOpen: true }];
    if (endsOf(flow).every(({ isSettled }) => isSettled)) return [];
    const fields: Record<string, bigint> = {};
    const add: Add = (name, value) => {
      fields[name] = (fields[name] ?? 0n) + value;
    };
    const fromWindow = bookTotals(flow, window, add);
    count(flow, add);
    showOwn(flow, add);
    const rttUs = flow.client?.srttUs || flow.server?.srttUs || 0;
    const isMoved = rttUs > 0 || Object.entries(fields).some(([name, value]) => value > 0n && name !== 'residualBytes');
    const isOpen = endsOf(flow).some((end) => end.isOpen);
    const place = this.#placeOf(flow);
    const wasHere = openAt !== undefined && isDeepStrictEqual(openAt, place);
    const match = matchOf(flow);
    const isChanged = isMoved || isOpen !== (openAt !== undefined) || (isOpen && !wasHere);
    if (match !== undefined && isChanged) add(match, 1n);
    flow.openAt = isOpen ? place : undefined;
    flow.isTouched = false;
    flow.tallies = [];
    for (const end of endsOf(flow))
      Object.assign(end, { isKnown: true, wasOpen: end.isOpen, from: undefined, isReported: false, srttUs: 0 });
    const news: FlowNews[] = [];
    // An edge on which it was open says that it is there no more.
    if (openAt !== undefined && !wasHere) news.push({ ...openAt, ...nothing });
    if (isMoved || isOpen || openAt !== undefined || tallies.length > 0)
      news.push({ ...place, fields, rttUs, isOpen, tallies, fromWindow });
    return news;
  }

  /** The server's own word on its port comes first: on the way it may have been translated. */
  #placeOf(flow: Flow): Place {
    const { client, server, protocol } = flow;
    const told = (end: End | undefined): End | undefined => (end?.isSettled === true ? undefined : end);
    return {
      client: client?.node ?? this.#farNode(server),
      server: server?.node ?? this.#farNode(client),
      protocol,
      serverPort: told(server)?.open.localPort ?? told(client)?.open.remotePort ?? 0,
    };
  }

  /** Who is at the other end of one that nobody tells: the only host that has the address, else what it was asked for by, else the address. */
  #farNode(end: End | undefined): Node {
    assert(end !== undefined);
    const { open, teller, remoteName } = end;
    const place = placeOf(teller, open.addressSpace, open.remoteAddress);
    const hosts = [...this.#tellers.values()].filter(({ addresses }) => addresses.has(place)).map(({ host }) => host);
    const isOne = hosts.length > 0 && hosts.every((host) => isDeepStrictEqual(host, hosts[0]));
    return isOne ? hosts[0] : nodeOfAddress(open.remoteAddress, open.ipVersion, remoteName);
  }
}

function newFlow(protocol: number): Flow {
  return {
    ...{ protocol, leftOut: {}, counted: new Set<string>() },
    ...{ isTouched: true, tallies: [], openAt: undefined },
  };
}

type Add = (name: string, value: bigint) => void;
const greater = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const lesser = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/**
 * Datagrams have no handshake: one end may see a pause, or be looked at anew. As long as the other goes on it is the same flow, and also when its
 * agent began anew while it was open.
 */
function goesOn(flow: Flow, taken: End, teller: Teller): boolean {
  const other = flow[taken.side === 'client' ? 'server' : 'client'];
  if (flow.protocol !== UDP) return false;
  const isAnew = taken.teller !== teller;
  return (isAnew && taken.wasOpen) || (other?.wasOpen === true && (isAnew || !taken.isOpen));
}

function isSameSocket(end: End | undefined, teller: Teller, open: Open): boolean {
  return end?.open.cookie === open.cookie && end.teller.session.agent === teller.session.agent;
}

function tupleOf(teller: Teller, open: Open): string {
  const local = `${placeOf(teller, open.addressSpace, open.localAddress)}:${open.localPort}`;
  const remote = `${placeOf(teller, open.addressSpace, open.remoteAddress)}:${open.remotePort}`;
  return `${open.protocol} ${[local, remote].sort().join(' ')}`;
}

function sideOf({ role }: Open): Side {
  return role === ROLE_SERVER ? 'server' : 'client';
}

function endsOf(flow: Flow): End[] {
  return SIDES.map((side) => flow[side]).filter((end) => end !== undefined);
}

function greatest(a: Totals, b: Totals): Totals {
  const totals = { ...b };
  for (const field of RUNNING) totals[field] = greater(a[field], b[field]);
  return totals;
}

function sum(a: Totals, b: Totals): Totals {
  const totals = { ...a };
  for (const field of RUNNING) totals[field] = a[field] + b[field];
  return totals;
}

/** What the ends say of a field, as far as they say it: the sender what it sent, the receiver what it received. */
function wordsOf(flow: Flow, field: Booked, totalsOf: (end: End) => Totals | undefined): [bigint, End][] {
  const [sender, sent, received] = BOOKED[field];
  return endsOf(flow).flatMap((end): [bigint, End][] => {
    const name = end.side === sender ? sent : received;
    const totals = totalsOf(end);
    return name === undefined || totals === undefined ? [] : [[totals[name], end]];
  });
}

function mostOf(flow: Flow, field: Booked, totalsOf = (end: End): Totals | undefined => end.totals): bigint {
  return wordsOf(flow, field, totalsOf).reduce((most, [total]) => greater(most, total), 0n);
}

/** Books max(sender, receiver) − booked. Returns the first window that it covers. */
function bookTotals(flow: Flow, window: number, add: Add): number {
  flow.booked ??= startOf(flow);
  const history = historyTold(flow);
  for (const end of endsOf(flow)) if (!end.isKnown) raiseBooked(end, committedOf(end) ?? ZERO);
  let fromWindow = window;
  for (const field of BOOKED_FIELDS) {
    const total = greater(mostOf(flow, field), flow.booked[field]);
    const news = total - flow.booked[field];
    flow.booked[field] = total;
    add(field, news + (history[field] ?? 0n));
    if (news === 0n || !field.endsWith('Bytes')) continue;
    const from = firstCovered(flow, field, total);
    if (from < window) add('lateBytes', news);
    fromWindow = Math.min(fromWindow, from);
  }
  return fromWindow;
}

/** The end whose total is booked says from which window on; of two that say the same, the one that is less late. */
function firstCovered(flow: Flow, field: Booked, total: bigint): number {
  const windows = wordsOf(flow, field, ({ totals }) => totals).flatMap(([word, { from }]) =>
    word === total && from !== undefined ? [from] : [],
  );
  return windows.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...windows);
}

/**
 * The greatest committed baseline of the ends; else, when every known end is adopted, the least of the adopted totals, which is history that is
 * left out; else zero.
 */
function startOf(flow: Flow): Sums {
  const isAdopted = endsOf(flow).every(({ baseline }) => baseline?.kind === ADOPTED);
  const start = {} as Sums;
  for (const field of BOOKED_FIELDS) {
    start[field] = mostOf(flow, field, committedOf);
    if (!isAdopted) continue;
    const [first, ...others] = wordsOf(flow, field, ({ baseline }) => baseline?.totals).map(([total]) => total);
    start[field] = others.reduce(lesser, first ?? 0n);
    flow.leftOut[field] = start[field];
  }
  return start;
}

/**
 * When an end comes that saw the opening, or knows a committed total, what was left out above that is booked; nobody says of which windows. An end
 * that was there before knows nothing of it.
 */
function historyTold(flow: Flow): Partial<Sums> {
  const fresh = endsOf(flow).filter(({ isKnown }) => !isKnown);
  if (!fresh.some((end) => sawOpening(end) || end.baseline?.kind === COMMITTED)) return {};
  const told: Partial<Sums> = {};
  for (const field of BOOKED_FIELDS) {
    const known = mostOf(flow, field, (end) => (end.isKnown ? undefined : committedOf(end)));
    told[field] = greater(0n, (flow.leftOut[field] ?? 0n) - known);
  }
  flow.leftOut = {};
  return told;
}

function sawOpening({ open }: End): boolean {
  return (open.flags & EXISTING) === 0;
}

function committedOf({ baseline }: End): Totals | undefined {
  return baseline?.kind === COMMITTED ? baseline.totals : undefined;
}

/** A committed baseline raises what is booked, never lowers it. */
function raiseBooked(end: End, totals: Totals): void {
  const { booked } = end.flow;
  if (booked === undefined) return;
  for (const field of BOOKED_FIELDS)
    booked[field] = greater(
      booked[field],
      mostOf(end.flow, field, (each) => (each === end ? totals : undefined)),
    );
}

/** Connections, failures, closes, resets and residuals are counted once. */
function count(flow: Flow, add: Add): void {
  const { client, server, counted } = flow;
  const ends = endsOf(flow);
  const once = (what: string, name: string): void => {
    // An earlier reducer counted what a settled end brings.
    if (!counted.has(what) && (what === 'connection' || !ends.some(({ isSettled }) => isSettled))) add(name, 1n);
    counted.add(what);
  };
  const failed = ends.find(({ closeReason }) => closeReason in FAILURES);
  if (failed !== undefined) return once('failure', FAILURES[failed.closeReason]);
  if (ends.some(({ open }) => (open.flags & COUNTED) !== 0)) counted.add('connection');
  if (ends.some(sawOpening)) once('connection', 'connections');
  // A connection closes with the first of its ends.
  if (ends.some(({ closeReason }) => closeReason !== 0)) once('close', 'closed');
  if (client?.closeReason === RESET_SENT || server?.closeReason === RESET_RECEIVED) once('reset', 'resetsClient');
  if (server?.closeReason === RESET_SENT || client?.closeReason === RESET_RECEIVED) once('reset', 'resetsServer');
  const isOver = ends.length === 2 && ends.every(({ closeReason, isSettled }) => closeReason !== 0 && !isSettled);
  if (!isOver || counted.has('residual')) return;
  judge(flow, add);
}

/** When both ends have closed: what they differ by, of datagrams what was sent and not received, beside the bytes for which it was judged. */
function judge(flow: Flow, add: Add): void {
  // Of datagrams there is no history that could be asked for.
  const isWhole = (end: End): boolean => sawOpening(end) || (end.open.flags & COUNTED) !== 0;
  if (flow.protocol === UDP && !endsOf(flow).every(isWhole)) return;
  flow.counted.add('residual');
  for (const field of ['forwardBytes', 'reverseBytes'] as const) {
    const words = wordsOf(flow, field, ({ totals }) => totals);
    const [sent, received] = BOOKED[field][0] === 'client' ? words : words.toReversed();
    const difference = sent[0] - received[0];
    const isLoss = flow.protocol === UDP;
    add('residualBytes', difference > 0n ? difference : isLoss ? 0n : -difference);
    add('judgedBytes', greater(sent[0], received[0]));
  }
}

/** What each end's totals rose by, whatever was booked. */
function showOwn(flow: Flow, add: Add): void {
  for (const end of endsOf(flow)) {
    for (const [name, field] of Object.entries(OWN)) add(`${end.side}${name}`, end.totals[field] - end.shown[field]);
    end.shown = end.totals;
  }
}

/** By which ends a flow is seen: those that told of it in this window, or have closed, so that their totals are known. */
function matchOf({ client, server }: Flow): string | undefined {
  const isSeen = (end: End | undefined): boolean =>
    end !== undefined && (end.isReported || end.isSettled || end.closeReason !== 0);
  if (isSeen(client)) return isSeen(server) ? 'flowsBoth' : 'flowsClient';
  return isSeen(server) ? 'flowsServer' : undefined;
}

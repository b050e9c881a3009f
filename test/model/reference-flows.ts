/**
 * The reference model, first half: what agents tell becomes flows, and flows become news of a window (docs/protocol.md, sections 3 to 5).
 * Written from docs/ alone, with maps and bigint, one statement for each sentence. `close` ends a window and returns what moved or is open.
 */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import type { Close, Once, Open, Totals } from '../../host/wire/gen/wire-layout.ts';
import { nodeOfAddress, nodeOfOwner, type Owner } from './reference-names.ts';
import type { Frame, Session, Step } from './script.ts';

export const DIRECTIONS = ['forward', 'reverse'] as const;
/** What the ledger keeps of a flow, each with the total of the sender and that of the receiver. */
const BOOKED = {
  forwardBytes: ['client', 'bytesSent', 'bytesReceived'],
  reverseBytes: ['server', 'bytesSent', 'bytesReceived'],
  forwardPackets: ['client', 'segmentsSent', 'segmentsReceived'],
  reversePackets: ['server', 'segmentsSent', 'segmentsReceived'],
  forwardRetransmits: ['client', 'retransmits', undefined],
  reverseRetransmits: ['server', 'retransmits', undefined],
} as const;
type BookedField = keyof typeof BOOKED;
const BOOKED_FIELDS = Object.keys(BOOKED) as BookedField[];
type Sums = Record<BookedField, bigint>;

const OWN = {
  BytesSent: 'bytesSent',
  BytesReceived: 'bytesReceived',
  PacketsSent: 'segmentsSent',
  PacketsReceived: 'segmentsReceived',
} as const;

const SIDES = ['client', 'server'] as const;

const EXISTING = 1;
const COUNTED = 2;
const ADOPTED = 1;
const COMMITTED = 2;
const ROLE_SERVER = 2;
const RESET_SENT = 2;
const RESET_RECEIVED = 3;
/** wire.TallyKind. */
const TALLY = { resetSent: 5, resetReceived: 6, connectError: 9, rttMin: 10 };
const FAILURES: Record<number, string> = {
  5: 'refused',
  6: 'timedOut',
  7: 'abandoned',
  8: 'unreachable',
  9: 'failedOther',
};

interface End {
  teller: Teller;
  open: Open;
  owner: Owner | undefined;
  totals: Totals;
  /** Where its own numbers begin, and what of them has been told. */
  ownTold: Totals;
  baseline: { kind: number; totals: Totals } | undefined;
  isOpen: boolean;
  /** Its own word, once it has closed; 0 before, and when its agent is gone instead. */
  closeReason: number;
  /** Was booked before. */
  isKnown: boolean;
  /** Told since the last close, with the greatest of the round trips. */
  isReported: boolean;
  srttUs: number;
  /** First window that its reports since the last close cover; undefined without one. */
  from: number | undefined;
}

interface Flow {
  key: string;
  protocol: number;
  client?: End;
  server?: End;
  /** Undefined until the flow is first booked. */
  booked?: Sums;
  /** History that was left out, until an end tells it after all. */
  leftOut: Partial<Sums>;
  isCounted: boolean;
  isFailureCounted: boolean;
  isResetCounted: boolean;
  isJudged: boolean;
  isClosed: boolean;
  /** Where it was shown as open at the last close. */
  openAt: Place | undefined;
  news: News | undefined;
}

/** What was told of a flow since the last close. */
interface News {
  newEnds: End[];
  tallies: Tallied[];
}

/** What an end counted beside its totals (docs/metrics.md, tallies). `sum`: nanoseconds of samples. */
export interface Tallied {
  kind: number;
  side: number;
  code: number;
  label: string;
  count: bigint;
  sum: bigint;
}

export interface Place {
  client: Owner;
  server: Owner;
  protocol: number;
  serverPort: number;
}

/** What a flow adds to the edge of its two nodes in one window. */
export interface FlowNews extends Place {
  fields: Record<string, bigint>;
  fromWindow: number;
  rttUs: number;
  isOpen: boolean;
  tallies: Tallied[];
}

/** One session as the reducer mirrors it. */
interface Teller {
  session: Session;
  isGone: boolean;
  processes: Map<number, Owner>;
  spaces: Map<number, string>;
  addresses: Set<string>;
  sockets: Map<number, { flow: Flow; end: End }>;
  /** Heard, but not yet followed by a WindowEnd. */
  heard: Frame[];
  /** Batches that end with a WindowEnd, in order. */
  batches: Frame[][];
}

const ZERO: Totals = {
  bytesSent: 0n,
  bytesReceived: 0n,
  segmentsSent: 0n,
  segmentsReceived: 0n,
  retransmits: 0n,
  srttUs: 0,
  minRttUs: 0,
};
const greater = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const lesser = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export class ReferenceFlows {
  readonly #tellers = new Map<bigint, Teller>();
  readonly #flows = new Map<string, Flow>();

  run(step: Exclude<Step, { step: 'close' }>): void {
    const { session } = step;
    const known = this.#tellers.get(session.session);
    if (step.step === 'connect') {
      if (known === undefined) this.#tellers.set(session.session, newTeller(session));
      return;
    }
    assert(known !== undefined);
    if (step.step === 'tell') {
      for (const frame of step.frames) {
        known.heard.push(frame);
        if (frame.kind === 'windowEnd') known.batches.push(known.heard.splice(0));
      }
    } else if (step.step === 'goodbye') known.batches.push([]);
  }

  /** Everything that was told for `window` and before is booked. */
  close(window: number): FlowNews[] {
    for (const teller of this.#tellers.values()) this.#hear(teller, window);
    const news = [...this.#flows.values()].flatMap((flow) => this.#book(flow, window));
    // The window in which an agent leaves still knows its addresses.
    for (const teller of this.#tellers.values()) if (teller.isGone) teller.addresses.clear();
    return news;
  }

  /** A channel is read up to its WindowEnd of the open window. */
  #hear(teller: Teller, window: number): void {
    while (teller.batches.length > 0) {
      const [batch] = teller.batches;
      const end = batch.at(-1);
      if (end?.kind !== 'windowEnd') {
        teller.batches.shift();
        this.#leave(teller);
        continue;
      }
      if (end.window > window) return;
      teller.batches.shift();
      for (const frame of batch) this.#apply(teller, frame, end.fromWindow);
      if (end.window === window) return;
    }
  }

  #apply(teller: Teller, frame: Frame, from: number): void {
    switch (frame.kind) {
      case 'announce':
        for (const process of frame.announce.processes ?? [])
          teller.processes.set(process.handle, nodeOfOwner(process, teller.session));
        for (const { handle, name } of frame.announce.addressSpaces ?? []) teller.spaces.set(handle, name);
        for (const { address } of frame.announce.hostAddresses ?? []) teller.addresses.add(hex(address));
        break;
      case 'open':
        for (const open of frame.items) this.#open(teller, open);
        break;
      case 'baseline':
        for (const { handle, kind, totals } of frame.items) {
          const { flow, end } = socketOf(teller, handle);
          if (end.isKnown && kind === COMMITTED) raiseBooked(flow, totals, end);
          // A session that takes a socket over continues where the end was.
          if (!end.isKnown) Object.assign(end, { baseline: { kind, totals }, ownTold: totals, totals });
          else end.totals = greatest(end.totals, totals);
        }
        break;
      case 'once':
        for (const once of frame.items) this.#once(teller, once, from);
        break;
      case 'narrow':
        for (const update of frame.items) {
          const { flow, end } = socketOf(teller, update.handle);
          const { totals } = end;
          report(flow, end, from, {
            bytesSent: totals.bytesSent + BigInt(update.bytesSent),
            bytesReceived: totals.bytesReceived + BigInt(update.bytesReceived),
            segmentsSent: totals.segmentsSent + BigInt(update.segmentsSent),
            segmentsReceived: totals.segmentsReceived + BigInt(update.segmentsReceived),
            retransmits: totals.retransmits + BigInt(update.retransmits),
            srttUs: update.srttUs,
            minRttUs: totals.minRttUs,
          });
        }
        break;
      case 'wide':
        for (const { handle, totals } of frame.items) {
          const { flow, end } = socketOf(teller, handle);
          report(flow, end, from, totals);
        }
        break;
      case 'close':
        for (const close of frame.items) {
          const { flow, end } = socketOf(teller, close.handle);
          report(flow, end, from, close.totals);
          endOf(flow, end, close);
          teller.sockets.delete(close.handle);
        }
        break;
      case 'snapshotEnd':
        this.#takeOver(teller);
        break;
    }
  }

  #open(teller: Teller, open: Open): { flow: Flow; end: End } {
    const flow = this.#flowOf(teller, open);
    const side = open.role === ROLE_SERVER ? 'server' : 'client';
    const known = flow[side];
    const owner = teller.processes.get(open.process);
    let end: End;
    if (known === undefined) {
      end = {
        ...{ teller, open, owner, totals: ZERO, ownTold: ZERO, baseline: undefined },
        ...{ isOpen: true, closeReason: 0, isKnown: false, from: undefined, isReported: false, srttUs: 0 },
      };
      flow[side] = end;
    } else {
      // A new session of the same agent takes its old sockets over; their totals go on.
      assert.equal(known.open.cookie, open.cookie);
      end = known;
      Object.assign(end, { teller, open, owner, isOpen: true, closeReason: 0 });
    }
    flow.news ??= { newEnds: [], tallies: [] };
    flow.news.newEnds.push(end);
    end.isReported = true;
    if (open.handle !== 0) teller.sockets.set(open.handle, { flow, end });
    return { flow, end };
  }

  #once(teller: Teller, once: Once, from: number): void {
    const { flow, end } = this.#open(teller, once.open);
    report(flow, end, from, once.totals);
    endOf(flow, end, once);
  }

  /** TCP joins by its own sequence numbers; without a join key a flow is keyed by its tuple within its address space. */
  #flowOf(teller: Teller, open: Open): Flow {
    const key = open.joinKey !== 0n ? `key ${open.joinKey}` : tupleOf(teller, open);
    const known = this.#flows.get(key);
    if (known !== undefined) return known;
    const flow: Flow = {
      ...{ key, protocol: open.protocol, leftOut: {}, news: undefined },
      ...{
        isCounted: false,
        isFailureCounted: false,
        isResetCounted: false,
        isJudged: false,
        isClosed: false,
        openAt: undefined,
      },
    };
    this.#flows.set(key, flow);
    return flow;
  }

  /** What the snapshot of a new session of a known agent lacks is closed. */
  #takeOver(teller: Teller): void {
    for (const other of this.#tellers.values()) {
      if (other === teller || other.session.agent !== teller.session.agent) continue;
      this.#leave(other);
    }
  }

  #leave(teller: Teller): void {
    for (const { flow, end } of teller.sockets.values()) {
      if (end.teller !== teller) continue;
      end.isOpen = false;
      flow.news ??= { newEnds: [], tallies: [] };
    }
    teller.sockets.clear();
    teller.isGone = true;
  }

  /** Closing a window books max(sender, receiver) − booked. */
  #book(flow: Flow, window: number): FlowNews[] {
    const ends = SIDES.map((side) => flow[side]).filter((end) => end !== undefined);
    const { news, openAt } = flow;
    const nothing = { fields: {}, rttUs: 0, isOpen: false, tallies: [], fromWindow: window };
    // A flow of which nothing is told keeps its names.
    if (news === undefined) return openAt === undefined ? [] : [{ ...openAt, ...nothing, isOpen: true }];
    const isOpen = ends.some((end) => end.isOpen);
    const fields: Record<string, bigint> = {};
    const add = (name: string, value: bigint): void => {
      fields[name] = (fields[name] ?? 0n) + value;
    };
    const match = matchOf(flow);
    let fromWindow = window;
    flow.booked ??= startOf(flow, ends);
    const history = historyTold(flow, news);
    for (const field of BOOKED_FIELDS) {
      const due = greater(totalOf(flow, field), flow.booked[field]);
      const bytes = due - flow.booked[field];
      flow.booked[field] = due;
      add(field, bytes + (history[field] ?? 0n));
      const from = field.endsWith('Bytes') && bytes > 0n ? firstCovered(flow, field) : window;
      if (from < window) add('lateBytes', bytes);
      fromWindow = Math.min(fromWindow, from);
    }
    countOf(flow, ends, add);
    ownNumbers(flow, add);
    judge(flow, add);
    const rttUs = flow.client?.srttUs || flow.server?.srttUs || 0;
    flow.news = undefined;
    for (const end of ends) Object.assign(end, { isKnown: true, from: undefined, isReported: false, srttUs: 0 });
    const [client, server] = this.#nodesOf(flow);
    const place = { client, server, protocol: flow.protocol, serverPort: portOf(flow) };
    flow.openAt = isOpen ? place : undefined;
    const isMoved = rttUs > 0 || Object.entries(fields).some(([name, value]) => value > 0n && name !== 'residualBytes');
    const isThere = openAt !== undefined && isDeepStrictEqual(openAt, place);
    if (match !== undefined && (isMoved || isOpen !== isThere)) add(match, 1n);
    const told: FlowNews[] = [];
    // An edge on which it was open says that it is there no more.
    if (openAt !== undefined && !isThere) told.push({ ...openAt, ...nothing });
    if (isMoved || isOpen || isThere || news.tallies.length > 0)
      told.push({ ...place, fields, rttUs, isOpen, tallies: news.tallies, fromWindow });
    return told;
  }

  #nodesOf(flow: Flow): [Owner, Owner] {
    const { client, server } = flow;
    const far = (end: End | undefined): Owner => {
      assert(end !== undefined);
      return nodeOfAddress(end.open.remoteAddress, end.open.ipVersion, this.#hostsOf(end.open.remoteAddress));
    };
    const near = (end: End): Owner => end.owner ?? nodeOfOwner(undefined, end.teller.session);
    return [client === undefined ? far(server) : near(client), server === undefined ? far(client) : near(server)];
  }

  /** The hosts that claim an address. */
  #hostsOf(address: Uint8Array): Session[] {
    const sessions = [...this.#tellers.values()].filter(({ addresses }) => addresses.has(hex(address)));
    return [...new Map(sessions.map(({ session }) => [session.agent, session])).values()];
  }
}

function newTeller(session: Session): Teller {
  return {
    ...{ session, isGone: false, heard: [], batches: [] },
    ...{ processes: new Map(), spaces: new Map(), addresses: new Set(), sockets: new Map() },
  };
}

function socketOf(teller: Teller, handle: number): { flow: Flow; end: End } {
  const socket = teller.sockets.get(handle);
  assert(socket !== undefined, `handle ${handle} is not open`);
  return socket;
}

function tupleOf(teller: Teller, open: Open): string {
  const ends = [`${hex(open.localAddress)}:${open.localPort}`, `${hex(open.remoteAddress)}:${open.remotePort}`].sort();
  return `tuple ${teller.spaces.get(open.addressSpace)} ${open.protocol} ${ends.join(' ')}`;
}

function greatest(a: Totals, b: Totals): Totals {
  return {
    bytesSent: greater(a.bytesSent, b.bytesSent),
    bytesReceived: greater(a.bytesReceived, b.bytesReceived),
    segmentsSent: greater(a.segmentsSent, b.segmentsSent),
    segmentsReceived: greater(a.segmentsReceived, b.segmentsReceived),
    retransmits: greater(a.retransmits, b.retransmits),
    srttUs: b.srttUs,
    minRttUs: b.minRttUs,
  };
}

/** A committed baseline raises what is booked, never lowers it. */
function raiseBooked(flow: Flow, totals: Totals, of: End): void {
  for (const field of BOOKED_FIELDS) {
    const value = totalOf(flow, field, (end) => (end === of ? totals : undefined));
    if (flow.booked !== undefined) flow.booked[field] = greater(flow.booked[field], value);
  }
}

/** Running totals never fall. */
function report(flow: Flow, end: End, from: number, totals: Totals): void {
  end.totals = greatest(end.totals, totals);
  flow.news ??= { newEnds: [], tallies: [] };
  end.isReported = true;
  end.srttUs = Math.max(end.srttUs, totals.srttUs);
  end.from = Math.min(end.from ?? from, from);
}

/** A reset, an error and the least round trip are told by the end of a socket, and counted as tallies. */
function endOf(flow: Flow, end: End, { reason, phase, error, totals }: Close | Once): void {
  end.isOpen = false;
  end.closeReason = reason;
  const side = flow.client === end ? 1 : 2;
  const tally = (kind: number, code: number, sum = 0n): void => {
    flow.news?.tallies.push({ kind, side, code, label: '', count: 1n, sum });
  };
  if (reason === RESET_SENT && phase !== 0) tally(TALLY.resetSent, phase);
  if (reason === RESET_RECEIVED && phase !== 0) tally(TALLY.resetReceived, phase);
  if (reason in FAILURES) tally(TALLY.connectError, error);
  if (totals.minRttUs > 0) tally(TALLY.rttMin, 0, BigInt(totals.minRttUs) * 1_000n);
}

/** The greater of what the sender and the receiver say; retransmits are the sender's. */
function totalOf(flow: Flow, field: BookedField, of = (end: End): Totals | undefined => end.totals): bigint {
  return valuesOf(flow, field, of).reduce(greater, 0n);
}

function valuesOf(flow: Flow, field: BookedField, of: (end: End) => Totals | undefined): bigint[] {
  const [sender, sent, received] = BOOKED[field];
  const receiver = sender === 'client' ? 'server' : 'client';
  const values: bigint[] = [];
  const sending = flow[sender] === undefined ? undefined : of(flow[sender]);
  const receiving = flow[receiver] === undefined ? undefined : of(flow[receiver]);
  if (sending !== undefined) values.push(sending[sent]);
  if (receiving !== undefined && received !== undefined) values.push(receiving[received]);
  return values;
}

/** The end whose total is booked says from which window on it counts; of two that say the same, the one that is less late. */
function firstCovered(flow: Flow, field: BookedField): number {
  const due = totalOf(flow, field);
  const [sender, sent, received] = BOOKED[field];
  const { client, server } = flow;
  const windows = [client, server].map((end, index) => {
    const total = end?.totals[(sender === 'client') === (index === 0) ? sent : (received ?? sent)];
    return total === due ? end?.from : undefined;
  });
  const known = windows.filter((from) => from !== undefined);
  return known.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...known);
}

/**
 * The greatest committed baseline of the ends; else, when every known end is adopted, the least of the adopted totals, which is history
 * that is left out; else zero.
 */
function startOf(flow: Flow, ends: readonly End[]): Sums {
  const start = {} as Sums;
  const isCommitted = ends.some(({ baseline }) => baseline?.kind === COMMITTED);
  const isAdopted = ends.every(({ baseline }) => baseline?.kind === ADOPTED);
  for (const field of BOOKED_FIELDS) {
    if (isCommitted) {
      start[field] = totalOf(flow, field, ({ baseline }) =>
        baseline?.kind === COMMITTED ? baseline.totals : undefined,
      );
    } else if (isAdopted) {
      start[field] = valuesOf(flow, field, ({ baseline }) => baseline?.totals).reduce(
        (least, value) => (least < 0n ? value : lesser(least, value)),
        -1n,
      );
      if (start[field] < 0n) start[field] = 0n;
      flow.leftOut[field] = start[field];
    } else start[field] = 0n;
  }
  return start;
}

/** When an end comes later that saw the opening, what was left out is booked then; of which windows nobody says. */
function historyTold(flow: Flow, news: News): Partial<Sums> {
  if (!news.newEnds.some(({ baseline }) => baseline === undefined)) return {};
  const told = flow.leftOut;
  flow.leftOut = {};
  return told;
}

function countOf(flow: Flow, ends: readonly End[], add: (name: string, value: bigint) => void): void {
  const failed = ends.find(({ closeReason }) => closeReason in FAILURES);
  if (failed !== undefined) {
    if (!flow.isFailureCounted) add(FAILURES[failed.closeReason], 1n);
    flow.isFailureCounted = true;
    return;
  }
  if (ends.some(({ open }) => (open.flags & COUNTED) !== 0)) flow.isCounted = true;
  if (!flow.isCounted && ends.some(({ open }) => (open.flags & EXISTING) === 0)) {
    add('connections', 1n);
    flow.isCounted = true;
  }
  const [client, server] = [flow.client?.closeReason, flow.server?.closeReason];
  const byClient = client === RESET_SENT || server === RESET_RECEIVED;
  const byServer = server === RESET_SENT || client === RESET_RECEIVED;
  if ((byClient || byServer) && !flow.isResetCounted) {
    add(byClient ? 'resetsClient' : 'resetsServer', 1n);
    flow.isResetCounted = true;
  }
  // A connection closes with the first of its ends.
  if (ends.some(({ closeReason }) => closeReason !== 0) && !flow.isClosed) {
    add('closed', 1n);
    flow.isClosed = true;
  }
}

/** What each end's own totals rose by. */
function ownNumbers(flow: Flow, add: (name: string, value: bigint) => void): void {
  for (const side of SIDES) {
    const end = flow[side];
    if (end === undefined) continue;
    for (const [name, field] of Object.entries(OWN)) add(`${side}${name}`, end.totals[field] - end.ownTold[field]);
    end.ownTold = end.totals;
  }
}

/** When both ends have closed, what they differ by, beside the bytes for which it was judged. */
function judge(flow: Flow, add: (name: string, value: bigint) => void): void {
  const { client, server } = flow;
  if (client === undefined || server === undefined || flow.isJudged) return;
  if (client.closeReason === 0 || server.closeReason === 0) return;
  flow.isJudged = true;
  const differ = (a: bigint, b: bigint): bigint => (a > b ? a - b : b - a);
  add(
    'residualBytes',
    differ(client.totals.bytesSent, server.totals.bytesReceived) +
      differ(server.totals.bytesSent, client.totals.bytesReceived),
  );
  add('judgedBytes', totalOf(flow, 'forwardBytes') + totalOf(flow, 'reverseBytes'));
}

/** By which ends a flow is seen: those that told in this window, or closed, so that their totals are known. */
function matchOf({ client, server }: Flow): string | undefined {
  const isSeen = (end: End | undefined): boolean => end !== undefined && (end.isReported || end.closeReason !== 0);
  if (isSeen(client)) return isSeen(server) ? 'flowsBoth' : 'flowsClient';
  return isSeen(server) ? 'flowsServer' : undefined;
}

function portOf({ client, server }: Flow): number {
  if (server !== undefined) return server.open.localPort;
  return client?.open.remotePort ?? 0;
}

// What match must say of each window, the slow way: everything told in a window is collected first, then claims are decided, then totals are
// taken, then each flow is booked. Nothing here is incremental, so no order of arrival can matter.
import { CloseReason, RetransmitKind, Role, RoleSource } from '../../host/wire/gen/kernel-events-layout.ts';
import { TallySide } from '../../host/wire/gen/records-layout.ts';
import { BaselineKind, type Open, OpenFlags, TallyKind, type Totals } from '../../host/wire/gen/wire-layout.ts';
import {
  add,
  addOwn,
  countAll,
  type EdgeSums,
  type End,
  type Flow,
  greater,
  order,
  pairs,
  rebase,
  type SocketEnding,
  TOTAL_FIELDS,
  TOTAL_NAMES,
  zero,
} from './naive-flow.ts';
import type { Ending, NamedTally } from './planned-agent.ts';
import { tallyKey } from './window-output.ts';

/** Who tells: hashes as in the module, because the least identity keeps a contested slot. */
export interface Teller {
  identity: bigint;
  boot: bigint;
  session: bigint;
}

/** `id` names the channel end; a Once has one of its own. `node`: id of the owner. */
export type Told =
  | { kind: 'open'; id: number; teller: Teller; open: Open; node: string }
  | {
      kind: 'once';
      id: number;
      teller: Teller;
      open: Open;
      node: string;
      totals: Totals;
      reason: number;
      from: number;
      ending: Ending;
    }
  | { kind: 'tally'; id: number; tally: NamedTally }
  | { kind: 'host'; node: string; tally: NamedTally }
  | { kind: 'baseline'; id: number; baseline: number; totals: Totals }
  | { kind: 'update'; id: number; totals: Totals; from: number }
  | { kind: 'close'; id: number; totals: Totals; reason: number; from: number }
  | { kind: 'settled'; joinKey: bigint; role: number; isCounted: boolean; totals: Totals };

export class NaiveLedger {
  readonly #flows = new Map<string, Flow>();
  readonly #endOf = new Map<number, End>();
  readonly #active = new Map<string, bigint>();
  /** Claims that were refused, of either sort. */
  refused = 0;

  /** The lines of a window: those edges that moved or have open flows. */
  close(window: number, told: Told[]): Map<string, EdgeSums> {
    const touched = this.#claim(told);
    for (const item of told) this.#take(item, touched);
    const edges = new Map<string, EdgeSums>();
    for (const item of told) if (item.kind === 'host') addTally(edgeOf(edges, `host ${item.node}`), 0, item.tally);
    for (const flow of touched) this.#book(flow, window, edges);
    for (const [edge, active] of this.#active) if (active !== 0n) add(edgeOf(edges, edge, window), 'active', active);
    return edges;
  }

  #claim(told: Told[]): Set<Flow> {
    const touched = new Set<Flow>();
    const claims = new Map<string, (Told & { kind: 'open' | 'once' })[]>();
    for (const item of told) {
      if (item.kind !== 'open' && item.kind !== 'once') continue;
      const { key, slot } = keyOf(item.teller, item.open, item.kind === 'once' ? item.reason : 0);
      const place = `${key} ${slot}`;
      claims.set(place, [...(claims.get(place) ?? []), item]);
    }
    for (const [place, items] of claims) {
      const [key, slot] = [place.slice(0, -2), Number(place.slice(-1))];
      const flow = this.#flowOf(key);
      const winners = this.#decide(flow, slot, items);
      this.refused += items.length - winners.length;
      for (const item of winners) this.#seat(flow, slot, item);
      const identities = winners.map(({ teller }) => teller.identity).sort(order);
      if (winners.length > 0) flow.ends[slot]!.identity = identities[0];
      if (winners.length > 0) touched.add(flow);
    }
    for (const item of told) {
      if (item.kind !== 'settled') continue;
      const flow = this.#flowOf(`join ${item.joinKey}`);
      touched.add(flow);
      const slot = item.role === Role.Server ? 1 : 0;
      if (flow.ends[slot] === undefined) flow.ends[slot] = settledEnd(item);
    }
    return touched;
  }

  /** Those of the claims on one slot that get it. */
  #decide(flow: Flow, slot: number, items: (Told & { kind: 'open' | 'once' })[]): (Told & { kind: 'open' | 'once' })[] {
    const sitting = flow.ends[slot];
    if (sitting !== undefined && !sitting.isSettled) {
      return items.filter(
        ({ teller, open }) =>
          teller.boot === sitting.boot &&
          open.cookie === sitting.cookie &&
          (teller.identity === sitting.identity || !sitting.isHeld),
      );
    }
    if (sitting !== undefined) flow.ends[slot] = undefined;
    const first = [...items].sort(
      (a, b) => order(a.teller.identity, b.teller.identity) || order(a.open.cookie, b.open.cookie),
    )[0];
    return items.filter(
      ({ teller, open }) => teller.identity === first.teller.identity && open.cookie === first.open.cookie,
    );
  }

  #seat(flow: Flow, slot: number, item: Told & { kind: 'open' | 'once' }): void {
    const { open, teller } = item;
    let end = flow.ends[slot];
    const isExisting = (open.flags & OpenFlags.Existing) !== 0;
    if (end === undefined) {
      end = {
        ...teller,
        cookie: open.cookie,
        role: open.role,
        source: open.roleSource,
        node: item.node,
        localAddress: address(open.localAddress),
        remoteAddress: address(open.remoteAddress),
        localPort: open.localPort,
        remotePort: open.remotePort,
        ids: new Set(),
        isHeld: false,
        isExisting,
        isCounted: false,
        isClosed: false,
        wasClosed: false,
        isSettled: false,
        isReported: true,
        reason: 0,
        totals: zero(),
        own: undefined,
        rttUs: 0,
        from: undefined,
        baselines: [],
        tallies: [],
        endings: [],
      };
      flow.ends[slot] = end;
    }
    end.isReported = true;
    end.isExisting &&= isExisting;
    end.isCounted ||= (open.flags & OpenFlags.Counted) !== 0;
    if (item.kind === 'open') end.ids.add(item.id);
    this.#endOf.set(item.id, end);
    this.#flowByEnd.set(end, flow);
  }

  readonly #flowByEnd = new Map<End, Flow>();

  #take(item: Told, touched: Set<Flow>): void {
    if (item.kind === 'settled' || item.kind === 'open' || item.kind === 'host') return;
    const end = this.#endOf.get(item.id);
    if (end === undefined) return;
    touched.add(this.#flowByEnd.get(end)!);
    if (item.kind === 'tally') {
      end.tallies.push(item.tally);
      return;
    }
    raise(end, item.totals);
    if (item.kind === 'baseline') {
      end.baselines.push({ kind: item.baseline, totals: item.totals });
      return;
    }
    if (item.kind !== 'update') {
      end.ids.delete(item.id);
      this.#endOf.delete(item.id);
      if (item.reason >= CloseReason.AgentRestart) return;
      if (!end.wasClosed) end.endings.push(endingOf(item));
      end.isClosed = true;
      end.reason = Math.max(end.reason, item.reason);
    }
    end.isReported = true;
    end.rttUs = Math.max(end.rttUs, item.totals.srttUs);
    end.from = Math.min(end.from ?? item.from, item.from);
  }

  #book(flow: Flow, window: number, edges: Map<string, EdgeSums>): void {
    if (flow.clientSlot === undefined) flow.clientSlot = orient(flow);
    const [client, server] = [flow.ends[flow.clientSlot], flow.ends[1 - flow.clientSlot]];
    const isFirst = !flow.done.has('booked');
    flow.done.add('booked');
    const returned = rebase(flow, client, server, isFirst);
    const news = new Map<string, bigint>();
    this.#bookTotals(flow, client, server, window, news);
    for (const [index, value] of returned.entries()) if (value > 0n) add(news, TOTAL_NAMES[index], value);
    countAll(flow, client, server, news);
    addOwn(client, 'client', news);
    addOwn(server, 'server', news);
    const isActive = [client, server].some((end) => end !== undefined && end.ids.size > 0);
    this.#send(flow, client, server, isActive, window, news, edges);
    const edge = nameEdge(client, server);
    for (const end of [client, server]) if (end !== undefined) end.tallies.push(...endTallies(end));
    for (const [end, side] of [[client, TallySide.Client] as const, [server, TallySide.Server] as const])
      for (const tally of end?.tallies.splice(0) ?? []) addTally(edgeOf(edges, edge!, window), side, tally);
    for (const end of [client, server]) {
      if (end === undefined) continue;
      end.isHeld = end.ids.size > 0;
      end.wasClosed = end.isClosed;
      end.endings = [];
      end.isReported = false;
      end.rttUs = 0;
      end.from = undefined;
      end.baselines = [];
    }
  }

  #bookTotals(flow: Flow, client: End | undefined, server: End | undefined, window: number, news: EdgeSums): void {
    pairs(client, server).forEach(([sender, sent, receiver, received], index) => {
      const total = greater(sent, received);
      const delta = total - flow.booked[index];
      if (delta <= 0n) return;
      flow.booked[index] = total;
      add(news, TOTAL_NAMES[index], delta);
      if (index > 1) return;
      const froms = [sent >= received ? sender?.from : undefined, received >= sent ? receiver?.from : undefined];
      const from = Math.max(...froms.map((value) => value ?? 0));
      if (from === 0 || from >= window) return;
      add(news, 'lateBytes', delta);
      const known = news.get('fromWindow') ?? BigInt(window);
      news.set('fromWindow', known < BigInt(from) ? known : BigInt(from));
    });
  }

  #send(
    flow: Flow,
    client: End | undefined,
    server: End | undefined,
    isActive: boolean,
    window: number,
    news: EdgeSums,
    edges: Map<string, EdgeSums>,
  ): void {
    const rtt = BigInt(client?.rttUs || server?.rttUs || 0);
    const edge = nameEdge(client, server);
    if (edge === undefined) return;
    if (flow.isActive) add(this.#active, flow.edge!, -1n);
    if (isActive) add(this.#active, edge, 1n);
    const isMoved = flow.isActive !== isActive || (isActive && flow.edge !== edge);
    if (flow.isActive && flow.edge !== edge) edgeOf(edges, flow.edge!, window);
    flow.isActive = isActive;
    flow.edge = edge;
    if (news.size === 0 && rtt === 0n && !isMoved) return;
    const row = edgeOf(edges, edge, window);
    const from = news.get('fromWindow');
    if (from !== undefined && from < row.get('fromWindow')!) row.set('fromWindow', from);
    for (const [name, value] of news) if (name !== 'fromWindow') add(row, name, value);
    if (rtt !== 0n) {
      add(row, 'rttCount', 1n);
      add(row, 'rttSumUs', rtt);
    }
    const seen = [client, server].map((end) => end !== undefined && (end.isReported || end.isClosed));
    const match = seen[0] ? (seen[1] ? 'flowsBoth' : 'flowsClient') : seen[1] ? 'flowsServer' : undefined;
    if (match !== undefined) add(row, match, 1n);
  }

  #flowOf(key: string): Flow {
    const known = this.#flows.get(key);
    if (known !== undefined) return known;
    const flow: Flow = {
      key,
      isFailure: key.startsWith('socket'),
      ends: [undefined, undefined],
      clientSlot: undefined,
      booked: [0n, 0n, 0n, 0n, 0n, 0n],
      history: undefined,
      edge: undefined,
      isActive: false,
      done: new Set(),
    };
    this.#flows.set(key, flow);
    return flow;
  }
}

/** What a session says of a socket that ended. Nobody here tells phases of resets or a least round trip. */
function endingOf(item: Told & { kind: 'once' | 'close' }): SocketEnding {
  const { durationNs, handshakeNs, error } = item.kind === 'once' ? item.ending : NO_ENDING;
  const role = item.kind === 'once' ? item.open.role : Role.Unknown;
  const { reason } = item;
  const syns = isFailure(reason) ? item.totals.retransmits : 0n;
  return { durationNs, handshakeNs: role === Role.Unknown ? 0n : handshakeNs, error, syns, reason, role };
}

/** As wire.TallyKind says, of the ending that says most. */
function endTallies({ endings }: End): NamedTally[] {
  const ending = [...endings].sort(compareEndings).pop();
  if (ending === undefined) return [];
  const { durationNs, handshakeNs, error, syns, reason, role } = ending;
  const told: NamedTally[] = [];
  const tell = (kind: number, code: number, count: bigint, sum = 0n) =>
    told.push({ kind, code, label: '', count, sum });
  if (durationNs > 0n) tell(TallyKind.Duration, reason, 1n, durationNs);
  const handshake = role === Role.Client ? TallyKind.HandshakeServer : TallyKind.HandshakeClient;
  if (handshakeNs > 0n) tell(handshake, 0, 1n, handshakeNs);
  if (error !== 0) tell(TallyKind.ConnectError, error, 1n);
  if (syns > 0n) tell(TallyKind.Retransmit, RetransmitKind.Syn, syns);
  return told;
}

function compareEndings(a: SocketEnding, b: SocketEnding): number {
  const times = order(a.durationNs, b.durationNs) || order(a.handshakeNs, b.handshakeNs);
  return times || a.error - b.error || order(a.syns, b.syns) || a.reason - b.reason || a.role - b.role;
}

const NO_ENDING = { durationNs: 0n, handshakeNs: 0n, error: 0 };

function addTally(row: EdgeSums, side: number, { kind, code, label, count, sum }: NamedTally): void {
  const key = tallyKey(kind, side, code, label);
  add(row, `tally ${key}`, count);
  if (sum > 0n) add(row, `tally ${key} ns`, sum);
}

function keyOf(teller: Teller, open: Open, reason: number): { key: string; slot: number } {
  const local = `${address(open.localAddress)}:${String(open.localPort).padStart(5, '0')}`;
  const remote = `${address(open.remoteAddress)}:${String(open.remotePort).padStart(5, '0')}`;
  if (isFailure(reason)) return { key: `socket ${teller.boot} ${open.cookie} ${local} ${remote}`, slot: 0 };
  if (open.joinKey !== 0n) return { key: `join ${open.joinKey}`, slot: open.role === Role.Server ? 1 : 0 };
  return local < remote ? { key: `tuple ${local} ${remote}`, slot: 0 } : { key: `tuple ${remote} ${local}`, slot: 1 };
}

const isFailure = (reason: number) => reason >= CloseReason.ConnectRefused && reason <= CloseReason.ConnectOther;

function settledEnd({ role, isCounted, totals }: Told & { kind: 'settled' }): End {
  const texts = { node: '', localAddress: '', remoteAddress: '' };
  const flags = {
    isHeld: false,
    isExisting: true,
    isCounted,
    isClosed: true,
    wasClosed: true,
    isSettled: true,
    isReported: false,
  };
  const numbers = {
    identity: 0n,
    boot: 0n,
    cookie: 0n,
    localPort: 0,
    remotePort: 0,
    reason: 0,
    rttUs: 0,
    from: undefined,
  };
  const baselines = [{ kind: BaselineKind.Committed, totals }];
  return {
    ...texts,
    ...flags,
    ...numbers,
    role,
    source: RoleSource.Kernel,
    ids: new Set(),
    totals: { ...totals },
    own: undefined,
    baselines,
    tallies: [],
    endings: [],
  };
}

function orient(flow: Flow): number {
  const said = flow.ends.flatMap((end, slot) =>
    end === undefined || end.role === Role.Unknown ? [] : [{ end, slot }],
  );
  const best = said.sort((a, b) => b.end.source - a.end.source || a.slot - b.slot)[0];
  if (best !== undefined) return best.end.role === Role.Client ? best.slot : 1 - best.slot;
  const slot = flow.ends[0] === undefined ? 1 : 0;
  const { localPort, remotePort } = flow.ends[slot]!;
  if (localPort < 32768 === remotePort < 32768) return 0;
  return localPort < 32768 ? 1 - slot : slot;
}

function nameEdge(client: End | undefined, server: End | undefined): string | undefined {
  const [c, s] = [client, server].map((end) => (end === undefined || end.isSettled ? undefined : end));
  if (c === undefined && s === undefined) return undefined;
  const port = s?.localPort ?? c!.remotePort;
  return `${c?.node ?? s!.remoteAddress} -> ${s?.node ?? c!.remoteAddress} :${port}`;
}

function raise(end: End, told: Totals): void {
  for (const field of TOTAL_FIELDS) if (told[field] > end.totals[field]) end.totals[field] = told[field];
}

function address(bytes: Uint8Array): string {
  return [...bytes.subarray(12)].join('.');
}

/** Without `window` it is of a host. */
function edgeOf(edges: Map<string, EdgeSums>, edge: string, window?: number): EdgeSums {
  const known = edges.get(edge);
  if (known !== undefined) return known;
  const sums: EdgeSums = window === undefined ? new Map() : new Map([['fromWindow', BigInt(window)]]);
  edges.set(edge, sums);
  return sums;
}

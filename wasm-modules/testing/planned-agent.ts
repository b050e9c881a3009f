// One agent of a random fleet: what it says of its sockets, when, and when that counts as told.
import { CloseReason } from '../../host/wire/gen/kernel-events-layout.ts';
import {
  BaselineKind,
  FrameKind,
  type Open,
  OpenFlags,
  type Tally,
  TallyKind,
  type Totals,
} from '../../host/wire/gen/wire-layout.ts';
import type { Hello } from '../../host/wire/gen/wire-tables.ts';
import { hello } from '../../host/wire/testing/hello.ts';
import type { Random } from '../../schemas/testing/random.ts';
import {
  announceFrame,
  baselineFrame,
  close,
  closeFrame,
  narrowFrame,
  once,
  onceFrame,
  openFrame,
  process,
  SPACE,
  settledFrame,
  snapshotMark,
  tallyFrame,
  totals,
  wideFrame,
  windowEnd,
} from './agent-frames.ts';

/** What happens to one session within one window, in order. */
export type Step =
  | { kind: 'hello'; hello: Hello }
  | { kind: 'frames'; bytes: Uint8Array }
  | { kind: 'detach'; reason: number };

export interface PlannedWindow {
  window: number;
  steps: Map<bigint, Step[]>;
  told: PlannedTold[];
}

/** As naive-ledger.Told, with the session in place of the teller. */
export type PlannedTold =
  | { kind: 'open'; id: number; session: bigint; open: Open; node: string }
  | {
      kind: 'once';
      id: number;
      session: bigint;
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

/** What a Once says besides, of which tallies are made; nanoseconds. */
export interface Ending {
  durationNs: bigint;
  handshakeNs: bigint;
  error: number;
}

export interface NamedTally {
  kind: number;
  code: number;
  label: string;
  count: bigint;
  sum: bigint;
}

export interface Socket {
  id: number;
  open: Open;
  node: string;
  now: Totals;
  told: Totals;
  windowsLeft: number;
  baseline: { kind: number; totals: Totals } | undefined;
}

/** On each host. */
export const PROCESSES = 3;
const START_NS = 1_000_000_000n;
/** By handle. */
const LABELS = ['', 'TCP_RESET tcp_v4_rcv', 'a.example', 'zürich.example'];
const TOTAL_STEP_MAX = 900_000_000_000;
export const FIELDS = ['bytesSent', 'bytesReceived', 'segmentsSent', 'segmentsReceived', 'retransmits'] as const;
const CLOSES = [
  CloseReason.Closed,
  CloseReason.Closed,
  CloseReason.ResetSent,
  CloseReason.ResetReceived,
  CloseReason.TimedOut,
];

export class PlannedAgent {
  readonly #random: Random;
  readonly #host: number;
  readonly #scope: string;
  readonly #nextId: () => number;
  #session: bigint;
  #sockets: Socket[] = [];
  #begun: Socket[] = [];
  #ended: { socket: Socket; reason: number }[] = [];
  #steps: Step[] = [];
  #told: PlannedTold[] = [];
  #handles = 1;
  #fromWindow: number;
  #isHelloDue = true;

  constructor(random: Random, host: number, scope: string, session: bigint, window: number, nextId: () => number) {
    this.#random = random;
    this.#host = host;
    this.#scope = scope;
    this.#session = session;
    this.#fromWindow = window;
    this.#nextId = nextId;
  }

  begin(socket: Socket): void {
    this.#begun.push(socket);
  }

  live(planned: PlannedWindow, window: number, isEnding: boolean, nextSession: () => bigint): void {
    const random = this.#random;
    if (this.#isHelloDue) this.#greet(window);
    else if (!isEnding && random.chance(0.04)) this.#restart(planned, window, nextSession());
    else if (!isEnding && random.chance(0.05)) this.#snapshot(window);
    this.#tellSockets(isEnding);
    const isStalled = !isEnding && random.chance(0.2);
    if (!isStalled) this.#endWindow(planned, window);
    else if (random.chance(0.5)) this.#flush(planned);
  }

  /** Hands the steps over without a WindowEnd: what they tell is told later. */
  #flush(planned: PlannedWindow): void {
    if (this.#steps.length === 0) return;
    planned.steps.set(this.#session, [...(planned.steps.get(this.#session) ?? []), ...this.#steps]);
    this.#steps = [];
  }

  #endWindow(planned: PlannedWindow, window: number): void {
    const isLate = this.#fromWindow < window && this.#random.chance(0.3);
    const end = isLate ? window - 1 : window;
    this.#steps.push({ kind: 'frames', bytes: windowEnd(end, this.#fromWindow) });
    this.#settle(planned, this.#fromWindow);
    this.#fromWindow = end + 1;
    this.#flush(planned);
  }

  /** What was said becomes told. */
  #settle(planned: PlannedWindow, from: number): void {
    for (const item of this.#told) planned.told.push('from' in item ? { ...item, from } : item);
    this.#told = [];
  }

  #hello(window: number): Hello {
    const identity = {
      nodeId: BigInt(this.#host + 1),
      bootId: 99n,
      nodeName: `host-${this.#host}`,
      scope: this.#scope,
    };
    return hello({ ...identity, session: this.#session, firstWindow: window - 40 });
  }

  #greet(window: number): void {
    this.#isHelloDue = false;
    this.#steps.push({ kind: 'hello', hello: this.#hello(window) });
    this.#send(snapshotMark(FrameKind.SnapshotBegin, window), this.#announcement());
  }

  #announcement(): Uint8Array {
    const processes = Array.from({ length: PROCESSES }, (_, index) =>
      process(index + 1, { unit: `unit-${index + 1}` }),
    );
    const labels = LABELS.slice(1).map((text, index) => ({ handle: index + 1, text }));
    return announceFrame({ addressSpaces: [{ handle: SPACE, name: 'default' }], processes, labels });
  }

  #send(...frames: Uint8Array[]): void {
    for (const bytes of frames) this.#steps.push({ kind: 'frames', bytes });
  }

  /** The process dies and another takes its sockets over; what ended meanwhile it does not know. */
  #restart(planned: PlannedWindow, window: number, session: bigint): void {
    const random = this.#random;
    const gone = this.#sockets;
    this.#steps.push({ kind: 'detach', reason: CloseReason.AgentRestart });
    for (const { id, told } of gone)
      this.#told.push({ kind: 'close', id, totals: { ...told, srttUs: 0 }, reason: CloseReason.AgentRestart, from: 0 });
    this.#settle(planned, window);
    this.#flush(planned);
    this.#session = session;
    this.#sockets = [];
    this.#handles = 1;
    this.#fromWindow = window;
    this.#greet(window);
    for (const socket of gone) {
      if (random.chance(0.2)) continue;
      this.#grow(socket);
      const baseline = { kind: BaselineKind.Adopted, totals: { ...socket.now, srttUs: 0 } };
      this.#begun.push({
        ...socket,
        id: this.#nextId(),
        open: { ...socket.open, flags: OpenFlags.Existing },
        baseline,
        told: { ...socket.now },
      });
    }
    this.#sayOpens();
    this.#send(snapshotMark(FrameKind.SnapshotEnd, window));
  }

  /** The channel is lost, the session and the reducer are not. */
  #snapshot(window: number): void {
    const random = this.#random;
    const before = this.#sockets;
    // Increments that no WindowEnd has followed would be told again by the agent, and the reducer forgets them.
    this.#told = this.#told.filter(({ kind }) => kind !== 'tally' && kind !== 'host');
    this.#steps.push({ kind: 'hello', hello: this.#hello(window) });
    this.#send(snapshotMark(FrameKind.SnapshotBegin, window), this.#announcement());
    for (const { id, told } of before)
      this.#told.push({ kind: 'close', id, totals: { ...told, srttUs: 0 }, reason: CloseReason.AgentRestart, from: 0 });
    this.#sockets = [];
    this.#handles = 1;
    const settled = this.#ended.filter(({ socket }) => socket.open.joinKey !== 0n && random.chance(0.3));
    for (const { socket } of settled) {
      this.#told.push({
        kind: 'settled',
        joinKey: socket.open.joinKey,
        role: socket.open.role,
        isCounted: true,
        totals: socket.now,
      });
    }
    if (settled.length > 0) {
      this.#send(
        settledFrame(
          settled.map(({ socket }) => ({
            joinKey: socket.open.joinKey,
            pair: 0n,
            role: socket.open.role,
            counted: 1,
            window,
            totals: socket.now,
          })),
        ),
      );
    }
    for (const socket of before) {
      const id = this.#nextId();
      if (random.chance(0.5)) {
        const flags = OpenFlags.Existing | OpenFlags.Counted;
        const baseline = { kind: BaselineKind.Committed, totals: { ...socket.told, srttUs: 0 } };
        this.#begun.push({ ...socket, id, open: { ...socket.open, flags }, baseline, told: { ...baseline.totals } });
      } else this.#begun.push({ ...socket, id, told: { ...(socket.baseline?.totals ?? totals()) } });
    }
    const again = this.#ended.filter(({ socket }) => socket.baseline === undefined && random.chance(0.3));
    this.#sayOpens();
    this.#sayOnces(again.map(({ socket, reason }) => ({ socket: { ...socket, id: this.#nextId() }, reason })));
    this.#send(snapshotMark(FrameKind.SnapshotEnd, window));
  }

  #tellSockets(isEnding: boolean): void {
    const onces = this.#begun.filter(({ windowsLeft }) => windowsLeft <= 0);
    this.#begun = this.#begun.filter(({ windowsLeft }) => windowsLeft > 0);
    for (const socket of onces) {
      socket.baseline = undefined;
      for (const field of FIELDS) socket.now[field] = 0n;
      this.#grow(socket);
    }
    this.#sayOpens();
    this.#sayOnces(
      onces.map((socket) => ({
        socket,
        reason: socket.windowsLeft < 0 ? CloseReason.ConnectRefused + this.#random.below(5) : this.#random.pick(CLOSES),
      })),
    );
    this.#sayMoves(isEnding);
  }

  #sayOpens(): void {
    const begun = this.#begun.filter(({ windowsLeft }) => windowsLeft > 0);
    this.#begun = this.#begun.filter(({ windowsLeft }) => windowsLeft <= 0);
    if (begun.length === 0) return;
    for (const socket of begun) {
      socket.open = { ...socket.open, handle: this.#handles++ };
      this.#told.push({ kind: 'open', id: socket.id, session: this.#session, open: socket.open, node: socket.node });
      if (socket.baseline !== undefined)
        this.#told.push({
          kind: 'baseline',
          id: socket.id,
          baseline: socket.baseline.kind,
          totals: socket.baseline.totals,
        });
      this.#sockets.push(socket);
    }
    this.#send(openFrame(begun.map((socket) => socket.open)));
    const based = begun.filter(({ baseline }) => baseline !== undefined);
    if (based.length > 0)
      this.#send(baselineFrame(based.map(({ open, baseline }) => ({ handle: open.handle, ...baseline! }))));
  }

  #sayOnces(items: { socket: Socket; reason: number }[]): void {
    if (items.length === 0) return;
    const shapes = items.map(({ socket }) => ({ ...socket.open, handle: 0, flags: 0, startTimeNs: START_NS }));
    const endings = items.map(({ socket, reason }) => endingOf(socket, reason));
    items.forEach(({ socket, reason }, index) => {
      const { id, node, now } = socket;
      this.#told.push({
        kind: 'once',
        id,
        session: this.#session,
        open: shapes[index],
        node,
        totals: { ...now },
        reason,
        from: 0,
        ending: endings[index],
      });
      this.#ended.push({ socket, reason });
    });
    this.#send(
      onceFrame(
        items.map(({ socket, reason }, index) => {
          const { durationNs, handshakeNs, error } = endings[index];
          const times = { endTimeNs: START_NS + durationNs, handshakeUs: Number(handshakeNs / 1000n) };
          return once({ open: shapes[index], totals: { ...socket.now }, reason, error, ...times });
        }),
      ),
    );
  }

  #sayMoves(isEnding: boolean): void {
    const random = this.#random;
    const narrow: Socket[] = [];
    const wide: Socket[] = [];
    const closing: { socket: Socket; reason: number }[] = [];
    this.#sayTallies();
    for (const socket of this.#sockets) {
      this.#grow(socket);
      socket.windowsLeft--;
      if (socket.windowsLeft <= 0 || (isEnding && random.chance(0.6)))
        closing.push({ socket, reason: random.pick(CLOSES) });
      else if (random.chance(0.7)) (isNarrow(socket) && random.chance(0.7) ? narrow : wide).push(socket);
    }
    if (narrow.length > 0) this.#send(narrowFrame(narrow.map(narrowOf)));
    if (wide.length > 0)
      this.#send(wideFrame(wide.map(({ open, now }) => ({ handle: open.handle, totals: { ...now } }))));
    for (const socket of [...narrow, ...wide]) {
      socket.told = { ...socket.now };
      this.#dropUpdate(socket);
      this.#told.push({ kind: 'update', id: socket.id, totals: { ...socket.now }, from: 0 });
    }
    if (closing.length === 0) return;
    this.#send(closeFrame(closing.map(({ socket, reason }) => close(socket.open.handle, { ...socket.now }, reason))));
    for (const { socket, reason } of closing) {
      this.#dropUpdate(socket);
      this.#told.push({ kind: 'close', id: socket.id, totals: { ...socket.now }, reason, from: 0 });
      this.#sockets.splice(this.#sockets.indexOf(socket), 1);
      this.#ended.push({ socket, reason });
    }
  }

  #sayTallies(): void {
    const random = this.#random;
    const items: Tally[] = [];
    const say = (handle: number): NamedTally => {
      const isSample = random.chance(0.3);
      const count = BigInt(1 + random.below(50));
      const tally = {
        kind: isSample ? TallyKind.DnsLookup : random.pick([TallyKind.Retransmit, TallyKind.Drop]),
        code: random.below(3),
        count,
        sum: isSample ? count * BigInt(1 + random.below(2 ** random.below(31))) : 0n,
      };
      const label = random.below(LABELS.length);
      items.push({ handle, label, ...tally });
      return { ...tally, label: LABELS[label] };
    };
    for (const { id, open } of this.#sockets)
      while (random.chance(0.2)) this.#told.push({ kind: 'tally', id, tally: say(open.handle) });
    if (random.chance(0.2)) this.#told.push({ kind: 'host', node: `host-${this.#host}`, tally: say(0) });
    if (items.length > 0) this.#send(tallyFrame(items));
  }

  /** Only the last report of a window leaves ingest. */
  #dropUpdate({ id }: Socket): void {
    this.#told = this.#told.filter((item) => item.kind !== 'update' || item.id !== id);
  }

  #grow({ now }: Socket): void {
    const random = this.#random;
    const isHuge = random.chance(0.1);
    for (const field of FIELDS) {
      const step = random.chance(0.3) ? 0 : isHuge ? (random.uint32() * 200) % TOTAL_STEP_MAX : random.below(60000);
      now[field] += BigInt(step);
    }
    now.srttUs = random.chance(0.7) ? 1 + random.below(100000) : 0;
  }
}

/** The same whenever it is told. */
function endingOf({ id, now }: Socket, reason: number): Ending {
  const isFailure = reason >= CloseReason.ConnectRefused && reason <= CloseReason.ConnectOther;
  if (isFailure) return { durationNs: 0n, handshakeNs: 0n, error: 100 + (id % 3) };
  return { durationNs: now.bytesSent * 7n + 1n, handshakeNs: BigInt(now.srttUs) * 1000n, error: 0 };
}

function isNarrow({ now, told }: Socket): boolean {
  const steps = FIELDS.map((field) => now[field] - told[field]);
  return steps.slice(0, 2).every((step) => step < 2n ** 32n) && steps.slice(2).every((step) => step < 2n ** 16n);
}

function narrowOf({ open, now, told }: Socket) {
  const step = (field: (typeof FIELDS)[number]) => Number(now[field] - told[field]);
  return {
    handle: open.handle,
    bytesSent: step('bytesSent'),
    bytesReceived: step('bytesReceived'),
    srttUs: now.srttUs,
    segmentsSent: step('segmentsSent'),
    segmentsReceived: step('segmentsReceived'),
    retransmits: step('retransmits'),
  };
}

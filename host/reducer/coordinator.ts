/**
 * Decides for all workers of a reducer (docs/protocol.md, sections 4 and 6): which session is whose, when a window is sealed, when it is
 * committed. No thread, socket, timer or clock: what happened goes in, what to do comes out.
 *
 *   sessions tell k, or time runs out ──▶ seal k ──▶ every worker's output of k ──▶ closed k ──exporters──▶ commit k
 *                                          one window at a time ◀───────┘
 */
import { strict as assert } from 'node:assert';
import type { Instant } from '../lib/clock.ts';
import { CloseReason } from '../wire/gen/kernel-events-layout.ts';
import { GoodbyeReason, type Listener } from '../wire/gen/wire-layout.ts';
import type { Hello } from '../wire/gen/wire-tables.ts';
import { KnownCommits } from '../wire/known-commits.ts';
import { SessionRegistry } from '../wire/session-registry.ts';
import { acceptorOf, type ConnectionId, type FromWorker, type Origin, type ToWorker, type TwinId } from './messages.ts';
import { SealTimes } from './seal-times.ts';
import { Watermark } from './watermark.ts';

/** Longer than the longest back-off of an agent and a connect, shorter than its patience with silence (docs/decisions/recovery-period.md). */
export const RECOVERY_MS = 3_000;
/** A session that left without Goodbye keeps its twin this long. */
export const SESSION_GRACE_MS = 300_000;
export const SESSION_COUNT_MAX = 4_096;
/** A worker keeps the agents that it accepts until it has this share more than another. */
const SPREAD_SHARE_MAX = 1 / 8;

export type CoordinatorAction =
  | { kind: 'tell'; worker: number; message: ToWorker }
  | { kind: 'tell_all'; message: ToWorker }
  /** `isLate`: a session was not waited for any longer. */
  | { kind: 'closed'; window: number; outputs: Uint8Array[]; isLate: boolean }
  /** All agents were told. */
  | { kind: 'committed'; window: number }
  | { kind: 'joined'; hello: Hello; resume: boolean; worker: number; origin: Origin | undefined }
  | { kind: 'refused'; hello: Hello; reason: GoodbyeReason; origin: Origin | undefined }
  | { kind: 'parted'; session: bigint; reason: 'goodbye' | 'disconnected' | 'expired' | 'rejected' | 'quarantined' };

export interface CoordinatorOptions {
  workers: number;
  windowNs: bigint;
  latenessNs: bigint;
  incarnation: bigint;
  start: Instant;
  /** How long a fresh reducer holds its Welcome back; 0 where no agent can have spoken to an earlier one. */
  recoveryMs?: number;
  sessionCountMax?: number;
  /** An agent with a certificate has to call its node by one of the certificate's names. */
  verifyNodeNames?: boolean;
  /**
   * Without this, windows close by time. With it, they close as far as sessions have told them, whatever the time. All sessions are known
   * beforehand, each with its first window, which is not closed before the session has come.
   */
  replay?: { openWindow: number; sessions: ReadonlyMap<bigint, number> };
}

type WaitingHello = Omit<FromWorker & { kind: 'hello' }, 'kind'> & { sinceMs: number };

/** A session that is known: one whose connection broke stays so for SESSION_GRACE_MS. */
export interface SessionState {
  /** As it was said last. */
  hello: Hello;
  isConnected: boolean;
  /** The last window that it has told whole; 0 = none yet. */
  toldWindow: number;
  /** Of its host, as told last, and how many more there are. */
  listeners: readonly Listener[];
  listenersOmitted: number;
}

interface Twin {
  id: TwinId;
  hello: Hello;
  session: bigint;
  worker: number;
  connection: ConnectionId | undefined;
  firstWindow: number;
  toldWindow: number;
  listeners: readonly Listener[];
  listenersOmitted: number;
  /** Twins of the same agent that end when this one has told its first window: until then their sockets may be its sockets. */
  succeeds: TwinId[];
  /** It began anew and has not told the window of its snapshot yet. */
  retelling: Retelling | undefined;
}

/** A snapshot tells again what its agent did not know as committed, whatever has been committed by the time it is told. */
interface Retelling {
  /** The snapshot belongs to this window of the session or a later one; what older channels told belongs to earlier ones. */
  firstWindow: number;
  /** What has closed up to this window is not told again. */
  committedWindow: number;
}

interface Sealing {
  window: number;
  isLate: boolean;
  outputs: (Uint8Array | undefined)[];
}

export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #times: SealTimes;
  readonly #registry: SessionRegistry;
  readonly #commits = new KnownCommits();
  readonly #watermark: Watermark;
  readonly #twins = new Map<TwinId, Twin>();
  readonly #twinOfSession = new Map<bigint, Twin>();
  #nextTwin = 1;
  #waitingHellos: WaitingHello[] = [];
  #sealing: Sealing | undefined;
  #committedWindow = 0;
  /** By worker: the last window that its agents know as committed. */
  readonly #toldCommits: number[];
  #toldWindowMax = 0;
  /** The window in which the reducer was asked to stop. */
  #stopWindow: number | undefined;
  #actions: CoordinatorAction[] = [];

  constructor(options: CoordinatorOptions) {
    const { windowNs, latenessNs, start, incarnation, replay, sessionCountMax = SESSION_COUNT_MAX } = options;
    this.#options = options;
    const recoveryMs = replay === undefined ? (options.recoveryMs ?? RECOVERY_MS) : 0;
    this.#times = new SealTimes({ windowNs, latenessNs, recoveryMs, start });
    this.#toldCommits = new Array<number>(options.workers).fill(0);
    this.#watermark = new Watermark(replay?.openWindow ?? Number(start.unixNs / windowNs));
    const silenceMs = Math.max(5_000, (2 * Number(windowNs)) / 1e6);
    // In a replay the next recording of an agent may come before the end of the last one has been noticed.
    this.#registry = new SessionRegistry({
      incarnation,
      sessionCountMax,
      silenceMs: replay === undefined ? silenceMs : 0,
    });
  }

  get openWindow(): number {
    return this.#watermark.openWindow;
  }

  /** No window is on its way through the workers, or about to be. */
  get isIdle(): boolean {
    return this.#sealing === undefined && !this.#hasLastWords;
  }

  /** A replay has closed every window that any session told of, and nobody is left to tell more. */
  get isFinished(): boolean {
    return this.isIdle && this.#watermark.memberCount === 0 && this.openWindow > this.#toldWindowMax;
  }

  receive(worker: number, message: FromWorker, now: Instant): CoordinatorAction[] {
    switch (message.kind) {
      case 'hello':
        this.#hello(message, now);
        break;
      case 'told':
        this.#told(message, now);
        break;
      case 'left':
        this.#left(message, now);
        break;
      case 'rejected':
        this.#end(message.twin, 'rejected');
        break;
      case 'quarantined':
        this.#quarantine(message.twin, now);
        break;
      case 'closed':
        this.#output(worker, message.window, message.output);
        break;
      case 'committed':
        this.#committed(worker, message.window);
        break;
    }
    this.#sealWhatIsReady(now);
    return this.#take();
  }

  /** Without those whose place a newer one has taken. */
  sessions(): SessionState[] {
    return Array.from(
      this.#twinOfSession.values(),
      ({ hello, connection, toldWindow, listeners, listenersOmitted }) => ({
        ...{ hello, isConnected: connection !== undefined, toldWindow, listeners, listenersOmitted },
      }),
    );
  }

  /** To be called a few times a second. */
  tick(now: Instant): CoordinatorAction[] {
    if (!this.#times.isRecovering(now)) this.#answerHellos(now);
    for (const session of this.#registry.abandoned(now.ms, SESSION_GRACE_MS)) {
      const twin = this.#twinOfSession.get(session);
      if (twin !== undefined) this.#detach(twin, CloseReason.AgentLost, 'expired');
    }
    this.#sealWhatIsReady(now);
    return this.#take();
  }

  /** Every push exporter has succeeded for the closed `window` and all before it. */
  exported(window: number): CoordinatorAction[] {
    assert(window < this.openWindow, `window ${window} was exported, ${this.openWindow} is open`);
    if (window > this.#committedWindow) {
      this.#committedWindow = window;
      this.#commits.note(this.#options.incarnation, window);
      this.#actions.push({ kind: 'tell_all', message: { kind: 'commit', window } });
    }
    return this.#take();
  }

  /**
   * From now on nobody is admitted and no window is sealed but what agents told that all said goodbye: they end their open window early, and
   * nobody would tell it to the next incarnation. A window that is under way closes.
   */
  stop(now: Instant): void {
    this.#stopWindow = this.#windowAt(now);
  }

  /**
   * While true no window is sealed, whatever the time: who exports has not taken the last ones. Agents wait with the next window, and put together
   * what they cannot send. A window that is under way closes, and a stop does not wait. Once the hold has ended nobody is late before the lateness
   * has passed again: of several windows that a session told, the second is read when the first has closed.
   */
  hold(isHeld: boolean, now: Instant): void {
    this.#times.hold(isHeld, now);
  }

  /** The first agents may come before `listening` says that all can: they wait. */
  beginListening(): void {
    this.#times.beginListening();
  }

  /** The recovery period begins. A busy machine may take longer than that to get so far. */
  listening(now: Instant): void {
    this.#times.listening(now);
  }

  #hello({ connection, hello, payload, origin }: FromWorker & { kind: 'hello' }, now: Instant): void {
    this.#waitingHellos.push({ connection, hello, payload, origin, sinceMs: now.ms });
    if (!this.#times.isRecovering(now)) this.#answerHellos(now);
  }

  #windowAt(now: Instant): number {
    return Number(now.unixNs / this.#options.windowNs);
  }

  #answerHellos(now: Instant): void {
    const waiting = this.#waitingHellos;
    this.#waitingHellos = [];
    // No window of the future is committed, whoever says so.
    const currentWindow = this.#windowAt(now);
    const { incarnation } = this.#options;
    for (const { hello } of waiting)
      if (hello.committedClosedWindow < currentWindow) this.#commits.noteHello(hello, incarnation);
    for (const each of waiting) this.#answerHello(each, now);
  }

  #answerHello(waiting: WaitingHello, now: Instant): void {
    const { connection, hello, payload, origin, sinceMs } = waiting;
    if (this.#isStopping) return this.#refuse(waiting, GoodbyeReason.ReducerStopping);
    if (this.#options.verifyNodeNames && !isNamed(hello.nodeName, origin))
      return this.#refuse(waiting, GoodbyeReason.NodeName);
    const known = this.#twinOfSession.get(hello.session);
    // A twin cannot move, so a session that comes back on another worker's connection is handed to the worker of its twin.
    const place = known?.worker ?? this.#placeFor(acceptorOf(connection));
    const verdict = this.#registry.arrive(hello, { connection, place }, now.ms);
    if (verdict.kind === 'refuse') return this.#refuse(waiting, verdict.reason);
    const succeeded = verdict.kind === 'open' && verdict.succeeds !== undefined ? verdict.succeeds : hello.session;
    const predecessor = this.#twinOfSession.get(succeeded);
    if (verdict.replaces !== undefined && predecessor !== undefined) {
      this.#tell(predecessor.worker, { kind: 'disconnect', connection: verdict.replaces });
    }
    const twin = known ?? this.#open(hello, place, predecessor, now);
    twin.connection = connection;
    twin.hello = hello;
    this.#watermark.join(twin.id, twin.firstWindow, twin.toldWindow);
    const resume = verdict.kind === 'resume';
    if (!resume && known !== undefined) this.#beginRetelling(twin, hello, now);
    const admission = {
      ...{ twin: twin.id, connection, hello: payload, resume, heldMs: now.ms - sinceMs },
      ...{ firstWindow: twin.firstWindow, openWindow: this.openWindow },
      committedClosedWindow: this.#commits.of(hello.incarnation),
    };
    this.#tell(twin.worker, { kind: 'admit', admission });
    this.#actions.push({ kind: 'joined', hello, resume, worker: twin.worker, origin });
  }

  #open(hello: Hello, worker: number, predecessor: Twin | undefined, now: Instant): Twin {
    const succeeds = predecessor === undefined ? [] : [predecessor.id, ...predecessor.succeeds.splice(0)];
    if (predecessor !== undefined) {
      predecessor.connection = undefined;
      this.#watermark.leave(predecessor.id);
      this.#twinOfSession.delete(predecessor.session);
    }
    const { session } = hello;
    // An agent whose clock is ahead learns of that from Welcome; nobody waits for its idea of the future.
    const isReplay = this.#options.replay !== undefined;
    const firstWindow = isReplay ? hello.firstWindow : Math.min(hello.firstWindow, this.#windowAt(now));
    const id = this.#nextTwin++;
    const twin: Twin = {
      ...{ id, hello, session, worker, connection: undefined },
      ...{ firstWindow, toldWindow: 0, listeners: [], listenersOmitted: 0, succeeds, retelling: undefined },
    };
    this.#twins.set(id, twin);
    this.#twinOfSession.set(session, twin);
    // What a replay awaited has come.
    this.#watermark.leave(session);
    return twin;
  }

  /** Of a snapshot that was cut off, the twin may hold a part that it tells with the next one. */
  #beginRetelling(twin: Twin, hello: Hello, now: Instant): void {
    const firstWindow = Math.min(hello.firstWindow, this.#windowAt(now) + 1);
    const committedWindow = twin.retelling?.committedWindow ?? this.#committedWindow;
    twin.retelling = { firstWindow, committedWindow };
  }

  /** What has closed up to this window, no agent tells again. */
  get #forgottenWindow(): number {
    let window = this.#committedWindow;
    for (const { retelling } of this.#twins.values()) window = Math.min(window, retelling?.committedWindow ?? window);
    return window;
  }

  /** The accepting worker, unless the spread is uneven: with TLS all bytes of an agent that is handed over go from thread to thread. */
  #placeFor(acceptor: number): number {
    const loads = new Array<number>(this.#options.workers).fill(0);
    for (const twin of this.#twins.values()) loads[twin.worker]++;
    const least = Math.min(...loads);
    return loads[acceptor] <= least * (1 + SPREAD_SHARE_MAX) ? acceptor : loads.indexOf(least);
  }

  #told({ twin: id, window, listeners, listenersOmitted }: FromWorker & { kind: 'told' }, now: Instant): void {
    const twin = this.#twins.get(id);
    if (twin === undefined) return;
    twin.toldWindow = window;
    twin.listeners = listeners ?? twin.listeners;
    twin.listenersOmitted = listenersOmitted ?? twin.listenersOmitted;
    if (twin.retelling !== undefined && window >= twin.retelling.firstWindow) twin.retelling = undefined;
    this.#toldWindowMax = Math.max(this.#toldWindowMax, window);
    this.#registry.heard(twin.session, now.ms);
    this.#watermark.reach(id, window);
    this.#endPredecessors(twin);
  }

  #left(
    { twin: id, connection, goodbye }: { twin: TwinId; connection: ConnectionId; goodbye: boolean },
    now: Instant,
  ): void {
    if (goodbye) return this.#end(id, 'goodbye');
    const twin = this.#twins.get(id);
    if (twin === undefined || twin.connection !== connection) return;
    twin.connection = undefined;
    this.#registry.left(twin.session, connection, now.ms);
    this.#watermark.leave(id);
    this.#actions.push({ kind: 'parted', session: twin.session, reason: 'disconnected' });
  }

  #quarantine(id: TwinId, now: Instant): void {
    const twin = this.#twins.get(id);
    if (twin === undefined) return;
    this.#registry.quarantine(twin.session, now.ms);
    twin.retelling = undefined;
    this.#watermark.leave(id);
    this.#actions.push({ kind: 'parted', session: twin.session, reason: 'quarantined' });
  }

  #detach(twin: Twin, reason: CloseReason, why: 'expired'): void {
    this.#tell(twin.worker, { kind: 'detach', twin: twin.id, reason });
    this.#end(twin.id, why);
  }

  /** The twin does not exist any more. */
  #end(id: TwinId, reason: 'goodbye' | 'expired' | 'rejected'): void {
    const twin = this.#twins.get(id);
    if (twin === undefined) return;
    this.#endPredecessors(twin);
    this.#twins.delete(id);
    this.#watermark.leave(id);
    if (this.#twinOfSession.get(twin.session) === twin) {
      this.#twinOfSession.delete(twin.session);
      this.#registry.remove(twin.session);
    }
    this.#actions.push({ kind: 'parted', session: twin.session, reason });
  }

  /** The snapshot of the successor is told: what it lacks is nobody's. */
  #endPredecessors(twin: Twin): void {
    for (const id of twin.succeeds.splice(0)) {
      const old = this.#twins.get(id);
      if (old === undefined) continue;
      this.#tell(old.worker, { kind: 'detach', twin: id, reason: CloseReason.AgentRestart });
      this.#twins.delete(id);
    }
  }

  #refuse({ connection, hello, origin }: WaitingHello, reason: GoodbyeReason): void {
    this.#tell(acceptorOf(connection), { kind: 'refuse', connection, reason });
    this.#actions.push({ kind: 'refused', hello, reason, origin });
  }

  #sealWhatIsReady(now: Instant): void {
    if (this.#sealing !== undefined || !(this.#isStopping ? this.#hasLastWords : this.#isReady(now))) return;
    const { workers } = this.#options;
    const window = this.openWindow;
    this.#sealing = { window, isLate: this.#watermark.awaitedCount > 0, outputs: new Array(workers).fill(undefined) };
    this.#watermark.advance(this.#times.couldBeTold(window));
    this.#actions.push({ kind: 'tell_all', message: { kind: 'seal', window, forgotten: this.#forgottenWindow } });
  }

  get #hasLastWords(): boolean {
    if (this.#stopWindow === undefined || this.#twins.size > 0) return false;
    return this.openWindow <= Math.min(this.#toldWindowMax, this.#stopWindow);
  }

  get #isStopping(): boolean {
    return this.#stopWindow !== undefined;
  }

  #isReady(now: Instant): boolean {
    const isComplete = this.#watermark.awaitedCount === 0;
    if (this.#options.replay === undefined) return this.#times.isDue(this.openWindow, isComplete, now);
    const isAwaited = this.#watermark.memberCount > 0 || this.openWindow <= this.#toldWindowMax;
    return !this.#times.isHeld && isComplete && isAwaited;
  }

  /** Committed is what every worker has told its agents. */
  #committed(worker: number, window: number): void {
    const before = Math.min(...this.#toldCommits);
    this.#toldCommits[worker] = window;
    const now = Math.min(...this.#toldCommits);
    if (now > before) this.#actions.push({ kind: 'committed', window: now });
  }

  #output(worker: number, window: number, output: Uint8Array): void {
    const sealing = this.#sealing;
    assert(
      sealing?.window === window && sealing.outputs[worker] === undefined,
      `worker ${worker} closed window ${window}`,
    );
    sealing.outputs[worker] = output;
    const outputs = sealing.outputs.filter((each) => each !== undefined);
    if (outputs.length < this.#options.workers) return;
    this.#sealing = undefined;
    this.#actions.push({ kind: 'closed', window, outputs, isLate: sealing.isLate });
  }

  #tell(worker: number, message: ToWorker): void {
    this.#actions.push({ kind: 'tell', worker, message });
  }

  #take(): CoordinatorAction[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }
}

/** Over plaintext and unix sockets nothing proves a name. Host names do not differ by case. */
function isNamed(nodeName: string, origin: Origin | undefined): boolean {
  const names = origin?.certificate?.names;
  return names === undefined || names.some((name) => name.toLowerCase() === nodeName.toLowerCase());
}

/**
 * What one worker does between its connections, its stages and the coordinator. No socket, thread, timer or clock: what happened goes in,
 * what to do comes out; `work` does one bounded turn of whatever is due. A connection may have been accepted by another worker: its bytes
 * then come from there and actions for it go there.
 */
import type { Instant } from '../lib/clock.ts';
import { RULES, type Rules } from '../lib/rules.ts';
import { encodeFrame } from '../wire/frame.ts';
import { CloseReason } from '../wire/gen/kernel-events-layout.ts';
import { FrameKind, GoodbyeReason } from '../wire/gen/wire-layout.ts';
import { decodeHello } from '../wire/gen/wire-tables.ts';
import { type ReducerAction, ReducerChannel } from '../wire/reducer-channel.ts';
import { ReducerSession } from '../wire/reducer-session.ts';
import type { Mesh } from './mesh.ts';
import type { Admission, ConnectionId, FromWorker, ToWorker, TwinId } from './messages.ts';
import { addRefusals, addSession, noWireTotals, type WireTotals } from './wire-totals.ts';
import type { ReducerWorkerCore } from './worker-core.ts';

/** Bytes of frames that an agent may have sent and not seen received; what a held channel can cost. */
export const CREDIT_BYTES = 4 << 20;
/** Sessions that are offered in one turn, so that windows close under load. */
const OFFERS_PER_TURN = 64;

export type WorkerAction =
  | { kind: 'send'; connection: ConnectionId; bytes: Uint8Array }
  | { kind: 'close'; connection: ConnectionId }
  | { kind: 'tell'; message: FromWorker };

interface Connection {
  id: ConnectionId;
  channel: ReducerChannel;
  twin: Twin | undefined;
}

interface Twin {
  id: TwinId;
  slot: number;
  session: ReducerSession;
  connection: Connection | undefined;
  firstWindow: number;
  toldWindow: number;
  isReady: boolean;
  isQuarantined: boolean;
}

export interface WorkerNodeOptions {
  incarnation: bigint;
  windowNs: bigint;
  latenessNs: bigint;
  openWindow: number;
  /** Granted to each agent; CREDIT_BYTES unless a test wants it to run out. */
  creditBytes?: number;
  rules?: Rules;
}

export interface WorkerNodeDependencies {
  core: ReducerWorkerCore;
  mesh: Mesh;
}

export class WorkerNode {
  readonly #options: WorkerNodeOptions;
  readonly #core: ReducerWorkerCore;
  readonly #mesh: Mesh;
  readonly #rules: Rules;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #twins = new Map<TwinId, Twin>();
  /** Twins with queued frames that may be taken, in turn. */
  #ready: Twin[] = [];
  /** Twins in the middle of shipping a window; none may be sealed or detached meanwhile. */
  #shipping = new Set<Twin>();
  /** Twins whose agent said goodbye: they end once the last window that they told has closed, whenever the Goodbye came. */
  #departing = new Set<Twin>();
  /** Slots whose sockets are being closed. */
  #detaching = new Set<number>();
  #openWindow: number;
  /** Seals and detaches, in the order of the coordinator. */
  #orders: (ToWorker & { kind: 'seal' | 'detach' })[] = [];
  #actions: WorkerAction[] = [];
  /** Of connections and sessions that have ended. */
  readonly #past = noWireTotals();

  constructor(options: WorkerNodeOptions, { core, mesh }: WorkerNodeDependencies) {
    this.#options = options;
    this.#core = core;
    this.#mesh = mesh;
    this.#rules = options.rules ?? RULES;
    this.#openWindow = options.openWindow;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get twinCount(): number {
    return this.#twins.size;
  }

  /** Since the start. */
  wireTotals(): WireTotals {
    const totals = { ...this.#past, refused: { ...this.#past.refused } };
    for (const { session } of this.#twins.values()) addSession(totals, session);
    for (const { channel } of this.#connections.values()) addRefusals(totals, channel.refused);
    return totals;
  }

  /** This worker has accepted a connection. */
  accepted(id: ConnectionId, now: Instant): void {
    this.#connections.set(id, { id, channel: new ReducerChannel(now, this.#rules), twin: undefined });
  }

  /** Another worker speaks for the connection from now on. */
  handOver(id: ConnectionId): void {
    this.#connections.delete(id);
  }

  bytes(id: ConnectionId, piece: Uint8Array, now: Instant): WorkerAction[] {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#perform(connection, connection.channel.bytes(piece, now), now);
    return this.#take();
  }

  disconnected(id: ConnectionId, now: Instant): WorkerAction[] {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#perform(connection, connection.channel.disconnected(), now);
    return this.#take();
  }

  /** The transport takes no more. */
  blocked(id: ConnectionId, now: Instant): void {
    this.#connections.get(id)?.channel.blocked(now);
  }

  drained(id: ConnectionId, now: Instant): WorkerAction[] {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#perform(connection, connection.channel.drained(now), now);
    return this.#take();
  }

  receive(message: ToWorker, now: Instant): WorkerAction[] {
    switch (message.kind) {
      case 'admit':
        this.#admit(message.admission, now);
        break;
      case 'refuse':
        this.#sayGoodbye(this.#connections.get(message.connection), message.reason, now);
        break;
      case 'disconnect':
        this.#drop(this.#connections.get(message.connection), now);
        break;
      case 'commit':
        this.#commit(message.window, now);
        break;
      case 'seal':
      case 'detach':
        this.#orders.push(message);
        break;
    }
    return this.#take();
  }

  /** To be called a few times a second. */
  tick(now: Instant): WorkerAction[] {
    for (const connection of [...this.#connections.values()])
      this.#perform(connection, connection.channel.tick(now), now);
    return this.#take();
  }

  /** One bounded turn. `isBusy`: call again soon; otherwise wait for the next event. */
  work(now: Instant): { actions: WorkerAction[]; isBusy: boolean } {
    const received = this.#mesh.receive();
    const offered = this.#ship(now) || this.#offerReady(now);
    const closed = this.#obey(now) || this.#closeStep();
    // A full outbox gets empty only when its last records leave too, however few they are.
    if (this.#core.isCongested) this.#mesh.flush();
    const sent = this.#mesh.send();
    return { actions: this.#take(), isBusy: received || offered || closed || sent };
  }

  /** Says goodbye to everybody. */
  stop(now: Instant): WorkerAction[] {
    for (const connection of [...this.#connections.values()])
      this.#sayGoodbye(connection, GoodbyeReason.ReducerStopping, now);
    return this.#take();
  }

  #admit(admission: Admission, now: Instant): void {
    const connection = this.#connectionOf(admission, now);
    const twin = admission.resume ? this.#twins.get(admission.twin) : this.#openTwin(admission);
    if (twin === undefined) {
      this.#tell({ kind: 'rejected', twin: admission.twin });
      return this.#sayGoodbye(connection, GoodbyeReason.AgentLimit, now);
    }
    this.#drop(twin.connection, now);
    twin.connection = connection;
    connection.twin = twin;
    const { openWindow, committedClosedWindow, resume } = admission;
    const { incarnation, windowNs, latenessNs } = this.#options;
    const terms = {
      incarnation,
      windowNs,
      latenessNs,
      openWindow,
      committedClosedWindow,
      resume,
      session: twin.session,
    };
    this.#perform(connection, connection.channel.welcome(terms, now), now);
  }

  /** The connection that said Hello; when another worker accepted it, its end here, as if the Hello had come here. */
  #connectionOf({ connection: id, hello }: Admission, now: Instant): Connection {
    const known = this.#connections.get(id);
    if (known !== undefined) return known;
    const connection: Connection = { id, channel: new ReducerChannel(now, this.#rules), twin: undefined };
    connection.channel.bytes(encodeFrame({ kind: FrameKind.Hello, seq: 0, payload: hello }), now);
    this.#connections.set(id, connection);
    return connection;
  }

  /** A channel that starts anew. A session that this worker knows keeps its slot: its snapshot says what has become of its sockets. */
  #openTwin({ twin: id, hello: payload, firstWindow }: Admission): Twin | undefined {
    const hello = decodeHello(payload);
    const slot = this.#core.openSession(payload);
    if (slot < 0 || hello === undefined) return undefined;
    const session = new ReducerSession({
      hello,
      creditBytes: this.#options.creditBytes ?? CREDIT_BYTES,
      rules: this.#rules,
    });
    const twin = this.#twins.get(id);
    if (twin !== undefined) {
      addSession(this.#past, twin.session);
      twin.slot = slot;
      twin.session = session;
      twin.isQuarantined = false;
      return twin;
    }
    const opened: Twin = {
      ...{ id, slot, session, firstWindow, connection: undefined, toldWindow: 0 },
      ...{ isReady: false, isQuarantined: false },
    };
    this.#twins.set(id, opened);
    return opened;
  }

  #perform(connection: Connection, actions: readonly ReducerAction[], now: Instant): void {
    for (const action of actions) {
      switch (action.kind) {
        case 'send':
          this.#actions.push({ kind: 'send', connection: connection.id, bytes: action.bytes });
          break;
        case 'hello':
          this.#tell({ kind: 'hello', connection: connection.id, hello: action.hello, payload: action.payload });
          break;
        case 'frames':
          if (connection.twin !== undefined) this.#queued(connection.twin, now);
          break;
        case 'close':
          this.#closed(connection, action.reason === 'quarantined');
          break;
      }
    }
  }

  #queued(twin: Twin, now: Instant): void {
    if (twin.session.hasQueued) this.#makeReady(twin);
    else if (!this.#shipping.has(twin)) this.#progressed(twin, now);
  }

  #makeReady(twin: Twin): void {
    if (twin.isReady || twin.isQuarantined || twin.firstWindow > this.#openWindow) return;
    twin.isReady = true;
    this.#ready.push(twin);
  }

  #closed(connection: Connection, isQuarantined: boolean): void {
    this.#connections.delete(connection.id);
    addRefusals(this.#past, connection.channel.refused);
    this.#actions.push({ kind: 'close', connection: connection.id });
    const { twin } = connection;
    if (twin?.connection !== connection) return;
    twin.connection = undefined;
    this.#tell({ kind: 'left', twin: twin.id, connection: connection.id, goodbye: false });
    if (isQuarantined) this.#quarantine(twin);
  }

  #drop(connection: Connection | undefined, now: Instant): void {
    if (connection !== undefined) this.#perform(connection, connection.channel.disconnected(), now);
  }

  #sayGoodbye(connection: Connection | undefined, reason: GoodbyeReason, now: Instant): void {
    if (connection !== undefined) this.#perform(connection, connection.channel.goodbye(reason), now);
  }

  /** Windows that are on their way to match go on first: a seal never splits them. True when there was something to do. */
  #ship(now: Instant): boolean {
    if (!this.#core.takesFrames) return false;
    const [slot] = this.#detaching;
    if (slot !== undefined) {
      if (!this.#core.finishDetach(slot)) this.#detaching.delete(slot);
      return true;
    }
    const [twin] = this.#shipping;
    if (twin === undefined) return false;
    this.#offer(twin, now);
    return true;
  }

  #offerReady(now: Instant): boolean {
    let offers = 0;
    while (offers < OFFERS_PER_TURN && this.#ready.length > 0 && this.#core.takesFrames && this.#shipping.size === 0) {
      // An order waits only for what is being shipped, not for frames that nobody has read.
      if (this.#orders.length > 0) break;
      const batch = this.#ready.splice(0, OFFERS_PER_TURN - offers);
      for (const twin of batch) {
        twin.isReady = false;
        if (this.#core.takesFrames && this.#shipping.size === 0) this.#offer(twin, now);
        else this.#makeReady(twin);
        offers++;
      }
    }
    return offers > 0;
  }

  #offer(twin: Twin, now: Instant): void {
    if (this.#twins.get(twin.id) !== twin || twin.isQuarantined) return;
    const result = this.#core.offer(twin.slot, twin.session);
    this.#shipping.delete(twin);
    // What is half shipped has not been told yet, so nobody hears of it: neither the agent as received nor the coordinator as its end.
    if (result === 'shipping') return void this.#shipping.add(twin);
    if (result === 'more') this.#makeReady(twin);
    else if (result === 'quarantined') {
      this.#quarantine(twin);
      this.#sayGoodbye(twin.connection, GoodbyeReason.Quarantined, now);
    }
    this.#progressed(twin, now);
  }

  #progressed(twin: Twin, now: Instant): void {
    const toldWindow = this.#core.toldWindow(twin.slot);
    if (toldWindow > twin.toldWindow) {
      twin.toldWindow = toldWindow;
      this.#tell({ kind: 'told', twin: twin.id, window: toldWindow });
    }
    const { connection } = twin;
    if (connection !== undefined) this.#perform(connection, connection.channel.report(now), now);
    if (twin.session.goodbyeReason !== undefined) this.#depart(twin, now);
  }

  /** The agent closed its books: nobody looks at its sockets any more. */
  #depart(twin: Twin, now: Instant): void {
    if (this.#departing.has(twin)) return;
    this.#departing.add(twin);
    const { connection } = twin;
    twin.connection = undefined;
    this.#tell({ kind: 'left', twin: twin.id, connection: connection?.id ?? 0, goodbye: true });
    this.#drop(connection, now);
  }

  #detach(twin: Twin, reason: number): void {
    this.#twins.delete(twin.id);
    addSession(this.#past, twin.session);
    this.#departing.delete(twin);
    if (this.#core.detach(twin.slot, reason)) this.#detaching.add(twin.slot);
  }

  /** Nothing more is believed of this agent; its sockets are nobody's. */
  #quarantine(twin: Twin): void {
    if (twin.isQuarantined) return;
    twin.isQuarantined = true;
    this.#tell({ kind: 'quarantined', twin: twin.id });
    this.#orders.push({ kind: 'detach', twin: twin.id, reason: CloseReason.AgentLost });
  }

  /** Carries out the next order once no window is half shipped or half closed. True when there was one. */
  #obey(now: Instant): boolean {
    if (this.#shipping.size > 0 || this.#detaching.size > 0 || this.#core.isMatching) return false;
    for (const twin of this.#departing) {
      if (twin.toldWindow >= this.#openWindow) continue;
      this.#detach(twin, CloseReason.AgentLost);
      return true;
    }
    const [order] = this.#orders;
    if (order === undefined || (order.kind === 'seal' && this.#core.isSealed)) return false;
    this.#orders.shift();
    if (order.kind === 'seal') this.#seal(order.window, now);
    else this.#detachById(order.twin, order.reason, now);
    return true;
  }

  #seal(window: number, now: Instant): void {
    for (const { session, toldWindow, connection } of this.#twins.values()) {
      if (toldWindow > 0) session.sealed.seal({ window: toldWindow, closedWindow: window });
      if (connection !== undefined) this.#perform(connection, connection.channel.report(now), now);
    }
    this.#core.seal(window);
    this.#mesh.flush();
  }

  #detachById(id: TwinId, reason: number, now: Instant): void {
    const twin = this.#twins.get(id);
    if (twin === undefined) return;
    const { connection } = twin;
    twin.connection = undefined;
    this.#drop(connection, now);
    this.#detach(twin, reason);
  }

  #commit(window: number, now: Instant): void {
    this.#core.commit(window);
    for (const { session, connection } of this.#twins.values()) {
      if (session.commit(window) && connection !== undefined)
        this.#perform(connection, connection.channel.report(now), now);
    }
  }

  #closeStep(): boolean {
    const step = this.#core.closeStep();
    if (step.kind === 'waiting') return false;
    this.#mesh.flush();
    if (step.kind === 'matched') this.#resumeSessions(step.window);
    if (step.kind !== 'working') this.#mesh.resume();
    if (step.kind === 'closed') this.#tell({ kind: 'closed', window: step.window, output: step.output });
    return true;
  }

  #resumeSessions(matchedWindow: number): void {
    this.#openWindow = matchedWindow + 1;
    for (const twin of this.#twins.values()) if (twin.session.hasQueued) this.#makeReady(twin);
  }

  #tell(message: FromWorker): void {
    this.#actions.push({ kind: 'tell', message });
  }

  #take(): WorkerAction[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }
}

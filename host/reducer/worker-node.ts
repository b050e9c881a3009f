/**
 * What one worker does between its connections, its stages and the coordinator. No socket, thread, timer or clock: what happened goes in,
 * what to do comes out; `work` does one bounded turn of whatever is due. A connection may have been accepted by another worker: its bytes
 * then come from there and actions for it go there, until the thread has taken it.
 */
import type { Instant } from '../lib/clock.ts';
import { encodeFrame, FRAME_BYTES_MAX } from '../wire/frame.ts';
import { FrameMemory } from '../wire/frame-memory.ts';
import { FrameKind, GoodbyeReason } from '../wire/gen/wire-layout.ts';
import { decodeHello } from '../wire/gen/wire-tables.ts';
import { type ReducerAction, ReducerChannel } from '../wire/reducer-channel.ts';
import { ReducerSession } from '../wire/reducer-session.ts';
import type { Mesh } from './mesh.ts';
import type { Admission, ConnectionId, FromWorker, ToWorker } from './messages.ts';
import { StagePump, type Twin } from './stage-pump.ts';
import { addRefusals, addSession, noWireTotals, type WireTotals } from './wire-totals.ts';
import type { ReducerWorkerCore } from './worker-core.ts';

/** Bytes of frames that an agent may have sent and not seen received; what a held channel can cost. With less, the greatest frame could never be sent. */
export const CREDIT_BYTES = FRAME_BYTES_MAX;

export type WorkerAction =
  | { kind: 'send'; connection: ConnectionId; bytes: Uint8Array }
  | { kind: 'close'; connection: ConnectionId }
  | { kind: 'tell'; message: FromWorker };

interface Connection {
  id: ConnectionId;
  channel: ReducerChannel;
  twin: Twin | undefined;
}

export interface WorkerNodeOptions {
  incarnation: bigint;
  windowNs: bigint;
  latenessNs: bigint;
  openWindow: number;
  /** Granted to each agent; CREDIT_BYTES unless a test wants it to run out. */
  creditBytes?: number;
}

export interface WorkerNodeDependencies {
  core: ReducerWorkerCore;
  mesh: Mesh;
}

export class WorkerNode {
  readonly #options: WorkerNodeOptions;
  readonly #core: ReducerWorkerCore;
  readonly #connections = new Map<ConnectionId, Connection>();
  /** The connection of each twin that has one. */
  readonly #speakers = new Map<Twin, Connection>();
  readonly #pump: StagePump;
  readonly #memory = new FrameMemory();
  #actions: WorkerAction[] = [];
  /** Of connections and sessions that have ended. */
  readonly #past = noWireTotals();

  constructor(options: WorkerNodeOptions, { core, mesh }: WorkerNodeDependencies) {
    this.#options = options;
    this.#core = core;
    this.#pump = new StagePump(options.openWindow, {
      core,
      mesh,
      events: {
        told: ({ id, toldWindow, session }) =>
          this.#tell({
            ...{ kind: 'told', twin: id, window: toldWindow, listeners: session.takeListeners() },
            listenersOmitted: session.takeListenersOmitted(),
          }),
        progressed: (twin, now) => this.#progressed(twin, now),
        quarantined: (twin, now) => this.#quarantined(twin, now),
        detached: (twin, now) => this.#detached(twin, now),
        sealing: (window, now) => this.#sealing(window, now),
        closed: (window, output) => this.#tell({ kind: 'closed', window, output }),
      },
    });
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get twinCount(): number {
    return this.#pump.twins.size;
  }

  /** Since the start. */
  wireTotals(): WireTotals {
    const totals = { ...this.#past, refused: { ...this.#past.refused } };
    for (const { session } of this.#pump.twins.values()) addSession(totals, session);
    for (const { channel } of this.#connections.values()) addRefusals(totals, channel.refused);
    return totals;
  }

  /** This worker has accepted a connection. */
  accepted(id: ConnectionId, now: Instant): void {
    this.#connections.set(id, { id, channel: new ReducerChannel(now, this.#memory), twin: undefined });
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
        this.#pump.order(message);
        break;
    }
    return this.#take();
  }

  /** To be called about twice a second. */
  tick(now: Instant): WorkerAction[] {
    for (const connection of [...this.#connections.values()])
      this.#perform(connection, connection.channel.tick(now), now);
    return this.#take();
  }

  /** One bounded turn. `isBusy`: call again soon; otherwise wait for the next event. */
  work(now: Instant): { actions: WorkerAction[]; isBusy: boolean } {
    const isBusy = this.#pump.work(now);
    return { actions: this.#take(), isBusy };
  }

  /** Says goodbye to everybody. */
  stop(now: Instant): WorkerAction[] {
    for (const connection of [...this.#connections.values()])
      this.#sayGoodbye(connection, GoodbyeReason.ReducerStopping, now);
    return this.#take();
  }

  #admit(admission: Admission, now: Instant): void {
    const connection = this.#connectionOf(admission, now);
    const twin = admission.resume ? this.#pump.twins.get(admission.twin) : this.#openTwin(admission);
    if (twin === undefined) {
      this.#tell({ kind: 'rejected', twin: admission.twin });
      return this.#sayGoodbye(connection, GoodbyeReason.AgentLimit, now);
    }
    this.#drop(this.#speakers.get(twin), now);
    this.#speakers.set(twin, connection);
    connection.twin = twin;
    const { openWindow, committedClosedWindow, heldMs, resume } = admission;
    const { incarnation, windowNs, latenessNs } = this.#options;
    const terms = {
      incarnation,
      windowNs,
      latenessNs,
      openWindow,
      committedClosedWindow,
      heldMs,
      resume,
      session: twin.session,
    };
    this.#perform(connection, connection.channel.welcome(terms, now), now);
  }

  /** The connection that said Hello; when another worker accepted it, its end here, as if the Hello had come here. */
  #connectionOf({ connection: id, hello }: Admission, now: Instant): Connection {
    const known = this.#connections.get(id);
    if (known !== undefined) return known;
    const connection: Connection = { id, channel: new ReducerChannel(now, this.#memory), twin: undefined };
    connection.channel.bytes(encodeFrame({ kind: FrameKind.Hello, seq: 0, payload: hello }), now);
    this.#connections.set(id, connection);
    return connection;
  }

  /** A channel that starts anew. A session that this worker knows keeps its slot: its snapshot says what has become of its sockets. */
  #openTwin({ twin: id, hello: payload, firstWindow }: Admission): Twin | undefined {
    const hello = decodeHello(payload);
    const twin = this.#pump.twins.get(id);
    const takenWindow = twin === undefined ? undefined : this.#core.takenWindow(twin.slot);
    const slot = this.#core.openSession(payload);
    if (slot < 0 || hello === undefined) return undefined;
    const session = new ReducerSession({
      hello,
      creditBytes: this.#options.creditBytes ?? CREDIT_BYTES,
      memory: this.#memory,
    });
    if (twin !== undefined) {
      addSession(this.#past, twin.session);
      session.inherit(twin.session, takenWindow ?? 0);
      twin.slot = slot;
      twin.session = session;
      twin.isQuarantined = false;
      return twin;
    }
    const opened = { id, slot, session, firstWindow, toldWindow: 0, isReady: false, isQuarantined: false };
    this.#pump.add(opened);
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
    if (twin.session.hasQueued) this.#pump.queued(twin);
    else if (!this.#pump.isShipping(twin)) this.#progressed(twin, now);
  }

  #closed(connection: Connection, isQuarantined: boolean): void {
    this.#connections.delete(connection.id);
    addRefusals(this.#past, connection.channel.refused);
    this.#actions.push({ kind: 'close', connection: connection.id });
    const { twin } = connection;
    if (twin === undefined || this.#speakers.get(twin) !== connection) return;
    this.#speakers.delete(twin);
    this.#tell({ kind: 'left', twin: twin.id, connection: connection.id, goodbye: false });
    if (isQuarantined && this.#pump.quarantine(twin)) this.#tell({ kind: 'quarantined', twin: twin.id });
  }

  #drop(connection: Connection | undefined, now: Instant): void {
    if (connection !== undefined) this.#perform(connection, connection.channel.disconnected(), now);
  }

  #sayGoodbye(connection: Connection | undefined, reason: GoodbyeReason, now: Instant): void {
    if (connection !== undefined) this.#perform(connection, connection.channel.goodbye(reason), now);
  }

  #report(twin: Twin, now: Instant): void {
    const connection = this.#speakers.get(twin);
    if (connection !== undefined) this.#perform(connection, connection.channel.report(now), now);
  }

  #progressed(twin: Twin, now: Instant): void {
    this.#report(twin, now);
    if (twin.session.goodbyeReason === undefined || !this.#pump.depart(twin)) return;
    const connection = this.#speakers.get(twin);
    this.#speakers.delete(twin);
    this.#tell({ kind: 'left', twin: twin.id, connection: connection?.id ?? 0, goodbye: true });
    this.#drop(connection, now);
  }

  #quarantined(twin: Twin, now: Instant): void {
    this.#tell({ kind: 'quarantined', twin: twin.id });
    this.#sayGoodbye(this.#speakers.get(twin), GoodbyeReason.Quarantined, now);
  }

  #detached(twin: Twin, now: Instant): void {
    addSession(this.#past, twin.session);
    const connection = this.#speakers.get(twin);
    this.#speakers.delete(twin);
    this.#drop(connection, now);
  }

  #sealing(window: number, now: Instant): void {
    for (const twin of this.#pump.twins.values()) {
      const { session, toldWindow } = twin;
      if (toldWindow > 0) session.sealed.seal({ window: toldWindow, closedWindow: window });
      this.#report(twin, now);
    }
  }

  #commit(window: number, now: Instant): void {
    for (const twin of this.#pump.twins.values()) if (twin.session.commit(window)) this.#report(twin, now);
    this.#tell({ kind: 'committed', window });
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

// A worker thread: owns the listening sockets, connections, ports and timers of one WorkerNode and carries out its actions. Between events
// it sleeps on its doorbell and uses no processor time.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { startClock } from '../lib/clock.ts';
import { UsageError } from '../lib/usage-error.ts';
import type { Credentials } from '../tls/credentials.ts';
import type { RefusedConnection } from '../tls/refusal.ts';
import type { ListenAddress } from '../wire/transport/address.ts';
import { Connection, type ConnectionEvents } from '../wire/transport/connection.ts';
import { freePiece, ownPiece } from '../wire/transport/free-piece.ts';
import { Listener } from '../wire/transport/tcp.ts';
import { type Addon, loadAddon } from './addon.ts';
import { Doorbells } from './doorbell.ts';
import { Elsewhere, type Utterance } from './elsewhere.ts';
import { countHandshake, type HandshakeCounts } from './handshake-counts.ts';
import { openHugePages } from './huge-pages.ts';
import { Mesh, type MeshMemory } from './mesh.ts';
import { acceptorOf, type ConnectionId, connectionId, type FromWorker, type ToWorker } from './messages.ts';
import type { WireTotals } from './wire-totals.ts';
import { ReducerWorkerCore } from './worker-core.ts';
import { type WorkerAction, WorkerNode } from './worker-node.ts';

/** Twice in a heartbeat, the shortest time that a channel waits for; each wakes a thread that may have nothing to do. */
const TICK_MS = 500;
/** Received in one go, after which the stages have a turn: so much is still in the core's cache then, and what came after it is not copied before. */
const BYTES_PER_TURN = 1 << 18;
/** For how long such turns may go on while more is received: what agents are told, and timers, wait meanwhile. */
const RECEIVING_MS_MAX = 20;
/** Refused connections that are told one by one, in a tick; the others are counted. */
const REFUSALS_TOLD_MAX = 8;

export interface WorkerThreadOptions {
  worker: number;
  workers: number;
  module: WebAssembly.Module;
  hashSeed: bigint;
  incarnation: bigint;
  windowNs: bigint;
  latenessNs: bigint;
  openWindow: number;
  idHistograms: boolean;
  seriesBudget: number | undefined;
  mesh: MeshMemory;
  /** Ports to the other workers, by their number. */
  peers: (MessagePort | undefined)[];
}

export interface ListenOptions {
  address: ListenAddress;
  insecure: boolean;
  /** With them a TCP address is one for TLS. */
  credentials: Credentials | undefined;
  reusePort: boolean;
}

export type ToThread =
  | { kind: 'order'; message: ToWorker }
  | ({ kind: 'listen' } & ListenOptions)
  /** For connections from now on. */
  | { kind: 'renew'; credentials: Credentials }
  /** The main thread speaks for a connection, as acceptor number `workers`. */
  | { kind: 'relay'; message: RelayMessage }
  | { kind: 'count' }
  /** Says goodbye to everybody and ends. */
  | { kind: 'stop' };

export type FromThread =
  | { kind: 'news'; messages: FromWorker[] }
  | { kind: 'relay'; message: RelayMessage }
  /** A connection, before it could say anything. */
  | { kind: 'refused'; refused: RefusedConnection }
  | { kind: 'listening'; address: ListenAddress }
  | { kind: 'not_listening'; code: string; message: string }
  | { kind: 'counters'; stages: BigUint64Array; wire: WireTotals; counts: WorkerCounts }
  | { kind: 'stopped' };

/** What the thread counts itself; the stages' counters are records.ReducerCounter. */
export interface WorkerCounts {
  connections: number;
  /** Connections that another worker had accepted and has given since the start. */
  connectionsTaken: number;
  sessions: number;
  meshBlocksSent: number;
  meshBytesSent: number;
  meshRingsFull: number;
  /** Connections that were accepted with a certificate, and refused ones by reason. */
  handshakes: HandshakeCounts;
}

/**
 * Between the worker that accepted a connection and the one that has its session, which asks for the connection as soon as it speaks for it. One with TLS
 * is kept, and where there is no addon nobody asks; all that is received and sent then goes from thread to thread.
 */
export type RelayMessage =
  | { kind: 'bytes'; connection: ConnectionId; piece: Uint8Array }
  | { kind: 'gone' | 'blocked' | 'drained'; connection: ConnectionId }
  | { kind: 'send'; connection: ConnectionId; bytes: Uint8Array }
  | { kind: 'close'; connection: ConnectionId }
  | { kind: 'give' | 'kept'; connection: ConnectionId }
  | { kind: 'given'; connection: ConnectionId; descriptor: number };

interface Accepted {
  connection: Connection;
  /** The worker that speaks for it, when it is another. */
  owner: number | undefined;
}

class WorkerThread {
  readonly #options: WorkerThreadOptions;
  readonly #port: MessagePort;
  readonly #clock = startClock();
  readonly #mesh: Mesh;
  readonly #core: ReducerWorkerCore;
  readonly #node: WorkerNode;
  /** Those that this worker reads, whoever accepted them. */
  readonly #accepted = new Map<ConnectionId, Accepted>();
  readonly #elsewhere = new Elsewhere({
    relay: (message) => this.#relay(acceptorOf(message.connection), message),
    // The main thread, which speaks for the connections of a replay, is nobody's peer.
    mayAsk: (id) => this.#duplicate !== undefined && acceptorOf(id) < this.#options.workers,
  });
  #connectionsTaken = 0;
  /** Undefined where there is no addon. */
  readonly #duplicate = duplicator();
  /** Once it stops: resolved when no connection is left. */
  #left: PromiseWithResolvers<void> | undefined;
  /** What a peer is told until the event loop has gone round leaves in one piece. */
  readonly #corked = new Set<Connection>();
  readonly #listeners: Listener[] = [];
  #nextSerial = 1;
  readonly #handshakes: HandshakeCounts = {};
  #refusalsTold = 0;
  /** Since the last turn of the stages. */
  #receivedBytes = 0;
  /** When the first piece came after the event loop had gone round; Infinity = none did. */
  #receivingSinceMs = Infinity;
  #isScheduled = false;
  #ticker: NodeJS.Timeout | undefined;

  constructor(options: WorkerThreadOptions, port: MessagePort) {
    this.#options = options;
    this.#port = port;
    const { worker, mesh: memory } = options;
    this.#core = new ReducerWorkerCore({ ...options, prepareMemory: openHugePages().advise });
    const doorbells = new Doorbells(memory.doorbells);
    this.#mesh = new Mesh({ worker, memory, doorbells, ends: this.#core, wake: () => this.#schedule() });
    this.#node = new WorkerNode(options, { core: this.#core, mesh: this.#mesh });
  }

  start(): void {
    this.#port.on('message', (message: ToThread) => this.#receive(message));
    for (const [peer, port] of this.#options.peers.entries())
      port?.on('message', (message: RelayMessage) => this.#relayed(peer, message));
    this.#ticker = setInterval(() => {
      this.#refusalsTold = 0;
      this.#perform(this.#node.tick(this.#clock()));
    }, TICK_MS);
    this.#schedule();
  }

  #receive(message: ToThread): void {
    switch (message.kind) {
      case 'order':
        return this.#perform(this.#node.receive(message.message, this.#clock()));
      case 'listen':
        return void this.#listen(message);
      case 'renew':
        for (const listener of this.#listeners) listener.renew(message.credentials);
        return;
      case 'relay':
        return this.#relayed(this.#options.workers, message.message);
      case 'count':
        return this.#count();
      case 'stop':
        return void this.#stop();
    }
  }

  async #listen(options: ListenOptions): Promise<void> {
    const listener = new Listener(options, {
      accept: (connection) => this.#accept(connection),
      refused: (refused) => this.#refused(refused),
    });
    try {
      await listener.start();
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      return this.#post({ kind: 'not_listening', code: error.code, message: error.message });
    }
    this.#listeners.push(listener);
    this.#post({ kind: 'listening', address: listener.address });
  }

  #accept(connection: Connection): ConnectionEvents {
    const id = connectionId(this.#options.worker, this.#nextSerial++);
    if (connection.certificate !== undefined) countHandshake(this.#handshakes, 'accepted');
    this.#node.accepted(id, this.#clock());
    return this.#read(id, connection);
  }

  #read(id: ConnectionId, connection: Connection): ConnectionEvents {
    const accepted: Accepted = { connection, owner: undefined };
    this.#accepted.set(id, accepted);
    return {
      bytes: (piece) => {
        if (accepted.owner === undefined) return this.#take(id, piece);
        const own = ownPiece(piece);
        this.#relay(accepted.owner, { kind: 'bytes', connection: id, piece: own }, [own.buffer]);
      },
      drained: () => {
        if (accepted.owner === undefined) this.#perform(this.#node.drained(id, this.#clock()));
        else this.#relay(accepted.owner, { kind: 'drained', connection: id });
      },
      closed: () => {
        this.#accepted.delete(id);
        if (accepted.owner === undefined) this.#perform(this.#node.disconnected(id, this.#clock()));
        else this.#relay(accepted.owner, { kind: 'gone', connection: id });
        this.#seeWhetherLeft();
      },
    };
  }

  #take(id: ConnectionId, piece: Uint8Array): void {
    const now = this.#clock();
    this.#receivedBytes += piece.length;
    this.#receivingSinceMs = Math.min(this.#receivingSinceMs, now.ms);
    this.#perform(this.#node.bytes(id, piece, now));
    freePiece(piece);
    if (this.#receivedBytes >= BYTES_PER_TURN && now.ms - this.#receivingSinceMs < RECEIVING_MS_MAX) this.#work();
  }

  #refused(refused: RefusedConnection): void {
    countHandshake(this.#handshakes, refused.refusal);
    if (this.#refusalsTold++ < REFUSALS_TOLD_MAX) this.#post({ kind: 'refused', refused });
  }

  #relayed(peer: number, message: RelayMessage): void {
    const { connection: id } = message;
    switch (message.kind) {
      case 'bytes':
        return this.#take(id, message.piece);
      case 'gone':
        this.#elsewhere.gone(id);
        this.#perform(this.#node.disconnected(id, this.#clock()));
        return this.#seeWhetherLeft();
      case 'blocked':
        return this.#node.blocked(id, this.#clock());
      case 'drained':
        return this.#perform(this.#node.drained(id, this.#clock()));
      case 'send':
        return this.#sendFor(peer, id, message.bytes);
      case 'close':
        return this.#accepted.get(id)?.connection.close();
      case 'give':
        return this.#give(peer, id);
      case 'given':
        return this.#takeOver(id, message.descriptor);
      case 'kept':
        return this.#elsewhere.kept(id);
    }
  }

  /** To the worker that speaks for it. When it is gone that was said already. */
  #give(owner: number, id: ConnectionId): void {
    const connection = this.#accepted.get(id)?.connection;
    if (connection === undefined) return;
    if (this.#corked.delete(connection)) connection.uncork();
    const descriptor = this.#duplicate === undefined ? undefined : connection.give(this.#duplicate);
    if (descriptor === undefined) return this.#relay(owner, { kind: 'kept', connection: id });
    this.#accepted.delete(id);
    this.#relay(owner, { kind: 'given', connection: id, descriptor });
  }

  #takeOver(id: ConnectionId, descriptor: number): void {
    const connection = Connection.taken(descriptor);
    connection.listen(this.#read(id, connection));
    this.#connectionsTaken++;
    for (const utterance of this.#elsewhere.given(id)) this.#say(utterance);
    if (this.#left !== undefined) connection.close();
  }

  /** The first message of the session's worker is the sign that it speaks for the connection. */
  #sendFor(owner: number, id: ConnectionId, bytes: Uint8Array): void {
    const accepted = this.#accepted.get(id);
    if (accepted === undefined) return this.#relay(owner, { kind: 'gone', connection: id });
    if (accepted.owner === undefined) {
      accepted.owner = owner;
      this.#node.handOver(id);
    }
    if (!this.#write(accepted.connection, bytes)) this.#relay(owner, { kind: 'blocked', connection: id });
  }

  /** News first: whoever hears on a connection that something was received finds the coordinator informed of it. */
  #perform(actions: readonly WorkerAction[]): void {
    const messages = actions.flatMap((action) => (action.kind === 'tell' ? [this.#withOrigin(action.message)] : []));
    if (messages.length > 0) this.#post({ kind: 'news', messages }, outputsOf(messages));
    for (const action of actions) if (action.kind !== 'tell') this.#say(action);
    this.#schedule();
  }

  #say(utterance: Utterance): void {
    const { connection: id } = utterance;
    if (acceptorOf(id) !== this.#options.worker && !this.#accepted.has(id)) this.#elsewhere.say(utterance);
    else if (utterance.kind === 'send') this.#send(id, utterance.bytes);
    else this.#accepted.get(id)?.connection.close();
  }

  #withOrigin(message: FromWorker): FromWorker {
    const connection = message.kind === 'hello' ? this.#accepted.get(message.connection)?.connection : undefined;
    if (message.kind !== 'hello' || connection === undefined) return message;
    return { ...message, origin: { peer: connection.peer, certificate: connection.certificate } };
  }

  /** A peer that hung up while its Hello waited for an answer is gone when the answer comes. */
  #send(id: ConnectionId, bytes: Uint8Array): void {
    const accepted = this.#accepted.get(id);
    if (accepted === undefined) this.#perform(this.#node.disconnected(id, this.#clock()));
    else if (!this.#write(accepted.connection, bytes)) this.#node.blocked(id, this.#clock());
  }

  #write(connection: Connection, bytes: Uint8Array): boolean {
    if (!this.#corked.has(connection)) {
      this.#corked.add(connection);
      connection.cork();
      this.#schedule();
    }
    return connection.send(bytes);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#turn());
  }

  /** True when another turn may have something to do. */
  #work(): boolean {
    this.#receivedBytes = 0;
    const { actions, isBusy } = this.#node.work(this.#clock());
    if (actions.length > 0) this.#perform(actions);
    return isBusy;
  }

  #turn(): void {
    this.#isScheduled = false;
    this.#receivingSinceMs = Infinity;
    const isBusy = this.#work();
    for (const connection of this.#corked) connection.uncork();
    this.#corked.clear();
    if (isBusy) this.#schedule();
    else if (!this.#isScheduled) this.#mesh.sleep();
  }

  #count(): void {
    const { blocksSent, bytesSent, ringsFull } = this.#mesh;
    const counts: WorkerCounts = {
      connections: this.#node.connectionCount,
      connectionsTaken: this.#connectionsTaken,
      sessions: this.#node.twinCount,
      meshBlocksSent: blocksSent,
      meshBytesSent: bytesSent,
      meshRingsFull: ringsFull,
      handshakes: this.#handshakes,
    };
    this.#post({ kind: 'counters', stages: this.#core.counters(), wire: this.#node.wireTotals(), counts });
  }

  async #stop(): Promise<void> {
    const left = Promise.withResolvers<void>();
    this.#left = left;
    const stopped = this.#listeners.map((listener) => listener.stop());
    this.#perform(this.#node.stop(this.#clock()));
    // That have not said Hello. Who speaks for one elsewhere says goodbye there.
    for (const { connection, owner } of this.#accepted.values()) if (owner === undefined) connection.close();
    await Promise.all(stopped);
    this.#seeWhetherLeft();
    await left.promise;
    clearInterval(this.#ticker);
    this.#post({ kind: 'stopped' });
  }

  /** Those that were taken are no connections of a listener. */
  #seeWhetherLeft(): void {
    if (this.#accepted.size + this.#elsewhere.size === 0) this.#left?.resolve();
  }

  #relay(to: number, message: RelayMessage, transfer: ArrayBuffer[] = []): void {
    if (to === this.#options.workers) this.#post({ kind: 'relay', message }, transfer);
    else this.#options.peers[to]?.postMessage(message, transfer);
  }

  #post(message: FromThread, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }
}

/** Another descriptor of the same socket; undefined when there are too many. */
function duplicator(): ((descriptor: number) => number | undefined) | undefined {
  let addon: Addon;
  try {
    addon = loadAddon();
  } catch {
    return undefined;
  }
  return (descriptor) => {
    try {
      return addon.duplicate(descriptor);
    } catch {
      return undefined;
    }
  };
}

function outputsOf(messages: readonly FromWorker[]): ArrayBuffer[] {
  return messages.flatMap((message) => (message.kind === 'closed' ? [message.output.buffer] : []));
}

if (parentPort !== null) new WorkerThread(workerData as WorkerThreadOptions, parentPort).start();

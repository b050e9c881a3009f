// The worker threads of a reducer: the mesh and the ports between them, orders to them, news from them. An error in a thread is the end of
// the process (docs/protocol.md, section 9), so it is handed on and nothing is tried again.
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { UsageError } from '../lib/usage-error.ts';
import type { Credentials } from '../tls/credentials.ts';
import type { RefusedConnection } from '../tls/refusal.ts';
import type { ListenAddress } from '../wire/transport/address.ts';
import type { Connection, ConnectionEvents } from '../wire/transport/connection.ts';
import { Listener } from '../wire/transport/tcp.ts';
import { allocateDoorbells } from './doorbell.ts';
import { allocateRings } from './mesh.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import type { WireTotals } from './wire-totals.ts';
import type { FromThread, ListenOptions, RelayMessage, ToThread, WorkerCounts, WorkerThreadOptions } from './worker.ts';

const STOP_TIMEOUT_MS = 3_000;

export type WorkerPoolOptions = Omit<WorkerThreadOptions, 'worker' | 'mesh' | 'peers'>;

export interface WorkerPoolDependencies {
  receive: (worker: number, message: FromWorker) => void;
  /** What a worker says on a connection that the main thread speaks for. */
  relayed: (worker: number, message: RelayMessage) => void;
  refused: (refused: RefusedConnection) => void;
  /** A thread has died. */
  fail: (worker: number, error: Error) => void;
}

/** Counters of one worker. */
export interface WorkerReading {
  /** In the order of records.ReducerCounter. */
  stages: BigUint64Array;
  wire: WireTotals;
  counts: WorkerCounts;
}

type Kind = FromThread['kind'];
type Answer<K extends Kind> = Extract<FromThread, { kind: K }>;

interface Thread {
  worker: Worker;
  /** Who waits for the next message of a kind. */
  waiting: { kinds: readonly Kind[]; resolve: (message: FromThread) => void }[];
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #dependencies: WorkerPoolDependencies;
  #threads: Thread[] = [];
  #isStopping = false;

  constructor(options: WorkerPoolOptions, dependencies: WorkerPoolDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  start(): void {
    const { workers } = this.#options;
    const mesh = { rings: allocateRings(workers), doorbells: allocateDoorbells(workers) };
    const peers = connectPeers(workers);
    this.#threads = Array.from({ length: workers }, (_, worker) =>
      this.#startThread({ ...this.#options, worker, mesh, peers: peers[worker] }),
    );
  }

  tell(worker: number, message: ToWorker): void {
    this.#post(this.#threads[worker], { kind: 'order', message });
  }

  /** For a connection that the main thread speaks for. */
  relay(worker: number, message: RelayMessage): void {
    this.#post(this.#threads[worker], { kind: 'relay', message });
  }

  tellAll(message: ToWorker): void {
    for (const thread of this.#threads) this.#post(thread, { kind: 'order', message });
  }

  /** Every worker accepts on a TCP address; a unix socket is the first one's. Returns the bound address. Throws UsageError. */
  async listen(options: Omit<ListenOptions, 'reusePort'>): Promise<ListenAddress> {
    if ('path' in options.address || this.#threads.length === 1)
      return this.#listen(this.#threads[0], { ...options, reusePort: false });
    // A port that others share could also be shared with another process: only a bind without sharing tells that it is free.
    const accept = (connection: Connection): ConnectionEvents => {
      connection.close();
      return { bytes: () => {}, drained: () => {}, closed: () => {} };
    };
    const probe = new Listener(options, { accept, refused: () => {} });
    await probe.start();
    const address = probe.address;
    await probe.stop();
    for (const thread of this.#threads) await this.#listen(thread, { ...options, address, reusePort: true });
    return address;
  }

  /** For connections from now on. */
  renew(credentials: Credentials): void {
    for (const thread of this.#threads) this.#post(thread, { kind: 'renew', credentials });
  }

  async readCounters(): Promise<WorkerReading[]> {
    return Promise.all(
      this.#threads.map(async (thread) => {
        const { stages, wire, counts } = await this.#ask(thread, { kind: 'count' }, ['counters']);
        return { stages, wire, counts };
      }),
    );
  }

  /** Says goodbye to all agents and ends the threads. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const stopped = Promise.all(this.#threads.map((thread) => this.#ask(thread, { kind: 'stop' }, ['stopped'])));
    await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref())]);
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #startThread(options: WorkerThreadOptions): Thread {
    const transferList = options.peers.filter((port) => port !== undefined);
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: options, transferList });
    const thread: Thread = { worker, waiting: [] };
    worker.on('message', (message: FromThread) => this.#receive(options.worker, thread, message));
    worker.on('error', (error) => this.#failed(options.worker, error));
    worker.on('exit', (code) => this.#failed(options.worker, new Error(`the thread ended with code ${code}`)));
    return thread;
  }

  #failed(worker: number, error: unknown): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#dependencies.fail(worker, error instanceof Error ? error : new Error(String(error)));
  }

  #receive(worker: number, thread: Thread, message: FromThread): void {
    if (message.kind === 'news') {
      for (const each of message.messages) this.#dependencies.receive(worker, each);
      return;
    }
    if (message.kind === 'refused') return this.#dependencies.refused(message.refused);
    if (message.kind === 'relay') return this.#dependencies.relayed(worker, message.message);
    const index = thread.waiting.findIndex(({ kinds }) => kinds.includes(message.kind));
    if (index >= 0) thread.waiting.splice(index, 1)[0].resolve(message);
  }

  async #listen(thread: Thread, options: ListenOptions): Promise<ListenAddress> {
    const answer = await this.#ask(thread, { kind: 'listen', ...options }, ['listening', 'not_listening']);
    if (answer.kind === 'not_listening') throw new UsageError(answer.code, answer.message);
    return answer.address;
  }

  #ask<K extends Kind>(thread: Thread, question: ToThread, kinds: readonly K[]): Promise<Answer<K>> {
    const { promise, resolve } = Promise.withResolvers<FromThread>();
    thread.waiting.push({ kinds, resolve });
    this.#post(thread, question);
    return promise as Promise<Answer<K>>;
  }

  #post({ worker }: Thread, message: ToThread): void {
    worker.postMessage(message);
  }
}

/** `ports[a][b]` is a's end of the channel between a and b. */
function connectPeers(count: number): (MessagePort | undefined)[][] {
  const ports = Array.from({ length: count }, () => new Array<MessagePort | undefined>(count).fill(undefined));
  for (let a = 0; a < count; a++) {
    for (let b = a + 1; b < count; b++) {
      const { port1, port2 } = new MessageChannel();
      ports[a][b] = port1;
      ports[b][a] = port2;
    }
  }
  return ports;
}

// The coordinator with its worker threads. What they decide between themselves happens here; what concerns the outside, closed and
// committed windows and agents that come and go, is handed on.
import type { Clock } from '../lib/clock.ts';
import type { Credentials } from '../tls/credentials.ts';
import type { RefusedConnection } from '../tls/refusal.ts';
import type { ListenAddress } from '../wire/transport/address.ts';
import { Coordinator, type CoordinatorAction, type CoordinatorOptions } from './coordinator.ts';
import type { FromWorker } from './messages.ts';
import { compileReducer } from './reducer-module.ts';
import type { ListenOptions, RelayMessage } from './worker.ts';
import { WorkerPool, type WorkerReading } from './worker-pool.ts';

const TICK_MS = 50;

export type EngineNews = Exclude<CoordinatorAction, { kind: 'tell' | 'tell_all' }>;

export interface EngineOptions extends Omit<CoordinatorOptions, 'start'> {
  /** 64 secret bits. */
  hashSeed: bigint;
  /** Histograms of single nodes too. */
  idHistograms?: boolean;
  /** Rows of a level that all workers put out, beside those of (other); without it as many as there are. */
  seriesBudget?: number;
}

export interface EngineDependencies {
  clock: Clock;
  handle: (news: EngineNews) => void;
  /** What a worker says on a connection that the main thread speaks for; only a replay has any. */
  relayed?: (worker: number, message: RelayMessage) => void;
  /** A connection, before it could say anything; a replay has none. */
  refused?: (refused: RefusedConnection) => void;
  fail: (worker: number, error: Error) => void;
}

export class Engine {
  readonly #options: EngineOptions;
  readonly #dependencies: EngineDependencies;
  #running: { coordinator: Coordinator; pool: WorkerPool; ticker: NodeJS.Timeout } | undefined;
  #idle: (() => void) | undefined;

  constructor(options: EngineOptions, dependencies: EngineDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  get coordinator(): Coordinator {
    return this.#run.coordinator;
  }

  get pool(): WorkerPool {
    return this.#run.pool;
  }

  /** Throws when reducer.wasm is missing. */
  async start(): Promise<void> {
    const { clock, fail } = this.#dependencies;
    const module = await compileReducer();
    const start = clock();
    const coordinator = new Coordinator({ ...this.#options, start });
    const { workers, hashSeed, incarnation, windowNs, latenessNs, idHistograms = false, seriesBudget } = this.#options;
    const receive = (worker: number, message: FromWorker): void => this.receive(worker, message);
    const poolOptions = {
      module,
      workers,
      hashSeed,
      incarnation,
      windowNs,
      latenessNs,
      openWindow: coordinator.openWindow,
      idHistograms,
      seriesBudget,
    };
    const { relayed = noConnections, refused = () => {} } = this.#dependencies;
    const pool = new WorkerPool(poolOptions, { receive, relayed, refused, fail });
    pool.start();
    const ticker = setInterval(() => this.#perform(coordinator.tick(clock())), TICK_MS);
    this.#running = { coordinator, pool, ticker };
  }

  async listen(options: Omit<ListenOptions, 'reusePort'>): Promise<ListenAddress> {
    this.coordinator.beginListening();
    const address = await this.pool.listen(options);
    this.coordinator.listening(this.#dependencies.clock());
    return address;
  }

  /** For connections from now on. */
  renew(credentials: Credentials): void {
    this.pool.renew(credentials);
  }

  receive(worker: number, message: FromWorker): void {
    this.#perform(this.coordinator.receive(worker, message, this.#dependencies.clock()));
  }

  /** Every push exporter has succeeded for the closed `window` and all before it. */
  exported(window: number): void {
    this.#perform(this.coordinator.exported(window));
  }

  /** While true no window is sealed. */
  hold(isHeld: boolean): void {
    this.coordinator.hold(isHeld, this.#dependencies.clock());
  }

  readCounters(): Promise<WorkerReading[]> {
    return this.pool.readCounters();
  }

  /** Admits nobody and seals nothing any more; resolves when the window that was on its way has closed. */
  async settle(): Promise<void> {
    const { coordinator } = this.#run;
    coordinator.stop(this.#dependencies.clock());
    if (coordinator.isIdle) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  async stop(): Promise<void> {
    const { pool, ticker } = this.#run;
    clearInterval(ticker);
    await pool.stop();
  }

  get #run(): { coordinator: Coordinator; pool: WorkerPool; ticker: NodeJS.Timeout } {
    if (this.#running === undefined) throw new Error('the engine was not started');
    return this.#running;
  }

  #perform(actions: readonly CoordinatorAction[]): void {
    const { pool, coordinator } = this.#run;
    for (const action of actions) {
      if (action.kind === 'tell_all') pool.tellAll(action.message);
      else if (action.kind !== 'tell') this.#dependencies.handle(action);
      // A refusal to the main thread as acceptor has been handed on as news.
      else if (action.worker < this.#options.workers) pool.tell(action.worker, action.message);
    }
    if (coordinator.isIdle) this.#idle?.();
  }
}

function noConnections(worker: number): never {
  throw new Error(`worker ${worker} speaks on a connection of the main thread, which has none`);
}

/**
 * One life of a reducer: a coordinator and N workers with their stages in WASM, joined by the mesh, as threads would run them, but one
 * turn at a time and in any order. Messages between coordinator and workers, and relays between workers, are queues with delays. `kill`
 * ends it at any moment: what was on its way inside is gone, what it had sent arrives.
 */
import type { Instant } from '../../host/lib/clock.ts';
import { Coordinator, type CoordinatorAction } from '../../host/reducer/coordinator.ts';
import { allocateDoorbells, Doorbells } from '../../host/reducer/doorbell.ts';
import { allocateRings, Mesh } from '../../host/reducer/mesh.ts';
import {
  acceptorOf,
  type ConnectionId,
  connectionId,
  type FromWorker,
  type ToWorker,
} from '../../host/reducer/messages.ts';
import { type WorkerAction, WorkerNode } from '../../host/reducer/worker-node.ts';
import { frameHeader } from '../../host/wire/frame.ts';
import { FrameKind } from '../../host/wire/gen/wire-layout.ts';
import type { Hello } from '../../host/wire/gen/wire-tables.ts';
import { countedProblems } from './counted-problems.ts';
import type { EndEvents, LinkConnection } from './link.ts';
import { ObservedCore } from './observed-core.ts';
import type { Random } from './random.ts';
import type { Schedule } from './schedule.ts';

const COORDINATOR_TICK_MS = 50;
const WORKER_TICK_MS = 200;
/** Small, so that rings fill up and blocks are cut at records. */
const RING_BYTES = 1 << 14;
const MESSAGE_MS_MAX = 3;
const TURN_MS_MAX = 2;

export interface ClosedWindow {
  window: number;
  outputs: Uint8Array[];
  /** Some connected agent had not told it. */
  isLate: boolean;
}

export interface ReducerProcessOptions {
  incarnation: bigint;
  workers: number;
  windowNs: bigint;
  latenessNs: bigint;
  creditBytes: number;
  epochNs: bigint;
  /** Nanoseconds that this process's Unix time is off. */
  skewNs: bigint;
}

export interface ReducerProcessDependencies {
  module: WebAssembly.Module;
  schedule: Schedule;
  random: Random;
  closed: (closed: ClosedWindow) => void;
  /** A commit is on its way to the workers. */
  committing: () => void;
  /** Every worker has told its agents. */
  committed: (window: number) => void;
  /** It closed a connection without a word. */
  hungUp: (connection: LinkConnection) => void;
  /** An agent's Hello was answered with a Welcome. */
  joined: (hello: Hello) => void;
  /** The stages hold in closed `window` what `session` told up to `reached`. */
  sealed: (incarnation: bigint, window: number, session: bigint, reached: number) => void;
  trace: (text: string) => void;
}

/** docs/protocol.md, section 6: three windows, and 15 s at least. */
const SILENCE_MS = 15_000;

interface Worker {
  index: number;
  core: ObservedCore;
  node: WorkerNode;
  isScheduled: boolean;
  /** Ordered channels: nothing overtakes. */
  fromMainAtMs: number;
  toMainAtMs: number;
}

interface Accepted {
  connection: LinkConnection;
  acceptor: number;
  /** The worker that speaks for it. */
  owner: number;
  toOwnerAtMs: number;
  hasSaidGoodbye: boolean;
  heardMs: number;
}

export class ReducerProcess {
  readonly startMs: number;
  readonly incarnation: bigint;
  readonly coordinator: Coordinator;
  readonly #options: ReducerProcessOptions;
  readonly #dependencies: ReducerProcessDependencies;
  readonly #workers: Worker[];
  readonly #accepted = new Map<ConnectionId, Accepted>();
  readonly #problems: string[] = [];
  #nextSerial = 1;
  #isAlive = true;

  constructor(options: ReducerProcessOptions, dependencies: ReducerProcessDependencies) {
    const { incarnation, workers, windowNs, latenessNs } = options;
    this.#options = options;
    this.#dependencies = dependencies;
    this.startMs = dependencies.schedule.nowMs;
    this.incarnation = incarnation;
    this.coordinator = new Coordinator({ workers, windowNs, latenessNs, incarnation, start: this.now() });
    this.#workers = this.#startWorkers();
    this.#tickCoordinator();
    for (const worker of this.#workers) this.#tickWorker(worker);
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  kill(): void {
    this.#isAlive = false;
    for (const { connection } of this.#accepted.values()) connection.closeAtReducer();
  }

  accept(connection: LinkConnection): EndEvents | undefined {
    if (!this.#isAlive) return undefined;
    const acceptor = this.#dependencies.random.between(0, this.#workers.length - 1);
    const id = connectionId(acceptor, this.#nextSerial++);
    const accepted = {
      connection,
      acceptor,
      owner: acceptor,
      toOwnerAtMs: 0,
      hasSaidGoodbye: false,
      heardMs: this.now().ms,
    };
    this.#accepted.set(id, accepted);
    this.#workers[acceptor].node.accepted(id, this.now());
    return {
      bytes: (piece) => {
        const bytes = piece.slice();
        accepted.heardMs = this.now().ms;
        this.#relay(accepted, (worker) => worker.node.bytes(id, bytes, this.now()));
      },
      closed: () => {
        this.#accepted.delete(id);
        this.#relay(accepted, (worker) => worker.node.disconnected(id, this.now()));
      },
    };
  }

  /** Every push exporter has succeeded for `window`. */
  exported(window: number): void {
    if (!this.#isAlive) return;
    this.#perform(this.coordinator.exported(window));
    this.#dependencies.committing();
  }

  /** What the stages counted that must not happen to honest agents, in words. */
  problems(): string[] {
    const counted = this.#workers.flatMap(({ index, core }) =>
      countedProblems(core.counters()).map((problem) => `worker ${index} of reducer ${this.incarnation}: ${problem}`),
    );
    return [...this.#problems, ...counted];
  }

  now(): Instant {
    const { schedule } = this.#dependencies;
    const { epochNs, skewNs } = this.#options;
    return { ms: schedule.nowMs, unixNs: epochNs + skewNs + BigInt(Math.round(schedule.nowMs * 1e6)) };
  }

  #startWorkers(): Worker[] {
    const { workers, incarnation, windowNs, latenessNs, creditBytes } = this.#options;
    const { module, random, sealed } = this.#dependencies;
    const memory = { rings: allocateRings(workers, RING_BYTES), doorbells: allocateDoorbells(workers) };
    const hashSeed = random.u64();
    const { openWindow } = this.coordinator;
    return Array.from({ length: workers }, (_, worker) => {
      const options = { module, worker, workers, hashSeed, windowNs, openWindow };
      const core = new ObservedCore(options, (session, window, reached) =>
        sealed(incarnation, window, session, reached),
      );
      const doorbells = new Doorbells(memory.doorbells);
      const mesh = new Mesh({ worker, memory, doorbells, ends: core, wake: () => {} });
      const node = new WorkerNode({ incarnation, windowNs, latenessNs, openWindow, creditBytes }, { core, mesh });
      return { index: worker, core, node, isScheduled: false, fromMainAtMs: 0, toMainAtMs: 0 };
    });
  }

  #tickCoordinator(): void {
    if (!this.#isAlive) return;
    this.#checkSilence();
    this.#perform(this.coordinator.tick(this.now()));
    this.#dependencies.schedule.after(COORDINATOR_TICK_MS, () => this.#tickCoordinator());
  }

  /** An agent of whom nothing comes is left, though not while its frames wait for a window to be closed. */
  #checkSilence(): void {
    const mostMs = SILENCE_MS + 2 * Number((this.#options.latenessNs + this.#options.windowNs) / 1_000_000n);
    for (const accepted of this.#accepted.values()) {
      const silentMs = this.now().ms - accepted.heardMs;
      if (silentMs <= mostMs) continue;
      accepted.heardMs = Infinity;
      this.#problems.push(
        `reducer ${this.incarnation} holds a connection that was silent for ${Math.round(silentMs)} ms`,
      );
    }
  }

  #tickWorker(worker: Worker): void {
    if (!this.#isAlive) return;
    this.#performWorker(worker, worker.node.tick(this.now()));
    this.#dependencies.schedule.after(WORKER_TICK_MS, () => this.#tickWorker(worker));
  }

  #relay(accepted: Accepted, run: (worker: Worker) => WorkerAction[]): void {
    const worker = this.#workers[accepted.owner];
    if (!this.#isAlive) return;
    if (accepted.owner === accepted.acceptor) return this.#performWorker(worker, run(worker));
    accepted.toOwnerAtMs = this.#later(accepted.toOwnerAtMs);
    this.#at(accepted.toOwnerAtMs, () => this.#performWorker(worker, run(worker)));
  }

  #perform(actions: readonly CoordinatorAction[]): void {
    for (const action of actions) {
      switch (action.kind) {
        case 'tell':
          this.#tell(this.#workers[action.worker], action.message);
          break;
        case 'tell_all':
          for (const worker of this.#workers) this.#tell(worker, action.message);
          break;
        case 'closed':
          this.#dependencies.trace(`closed ${action.window}${action.isLate ? ' without all' : ''}`);
          this.#dependencies.closed(action);
          break;
        case 'committed':
          this.#dependencies.trace(`committed ${action.window}`);
          this.#dependencies.committed(action.window);
          break;
        case 'joined':
          this.#dependencies.trace(`${action.hello.nodeName} joined, resume ${action.resume}`);
          this.#dependencies.joined(action.hello);
          break;
        case 'refused':
          this.#dependencies.trace(`${action.hello.nodeName} refused, reason ${action.reason}`);
          break;
        case 'parted':
          this.#dependencies.trace(`session ${action.session.toString(16)} parted: ${action.reason}`);
          break;
      }
    }
  }

  #tell(worker: Worker, message: ToWorker): void {
    worker.fromMainAtMs = this.#later(worker.fromMainAtMs);
    this.#at(worker.fromMainAtMs, () => this.#performWorker(worker, worker.node.receive(message, this.now())));
  }

  #performWorker(worker: Worker, actions: readonly WorkerAction[]): void {
    for (const action of actions) {
      if (action.kind === 'tell') this.#toMain(worker, action.message);
      else this.#speak(worker, action);
    }
    this.#wake(worker);
  }

  #toMain(worker: Worker, message: FromWorker): void {
    worker.toMainAtMs = this.#later(worker.toMainAtMs);
    this.#at(worker.toMainAtMs, () => this.#perform(this.coordinator.receive(worker.index, message, this.now())));
  }

  /** The worker that accepted a connection carries out what the session's worker says. */
  #speak(worker: Worker, action: WorkerAction & { kind: 'send' | 'close' }): void {
    const { connection: id } = action;
    const run = (): void => {
      const accepted = this.#accepted.get(id);
      if (accepted === undefined) {
        // It hung up while its Hello waited for an answer.
        if (action.kind === 'send') this.#performWorker(worker, worker.node.disconnected(id, this.now()));
        return;
      }
      if (accepted.owner !== worker.index) {
        this.#workers[accepted.owner].node.handOver(id);
        accepted.owner = worker.index;
      }
      if (action.kind === 'send') {
        accepted.hasSaidGoodbye = frameHeader(action.bytes).kind === FrameKind.Goodbye;
        accepted.connection.sendToAgent(action.bytes);
      } else {
        this.#accepted.delete(id);
        if (!accepted.hasSaidGoodbye) this.#dependencies.hungUp(accepted.connection);
        accepted.connection.closeAtReducer();
      }
    };
    if (acceptorOf(id) === worker.index) return run();
    worker.toMainAtMs = this.#later(worker.toMainAtMs);
    this.#at(worker.toMainAtMs, run);
  }

  #wake(worker: Worker): void {
    if (worker.isScheduled) return;
    worker.isScheduled = true;
    const { random, schedule } = this.#dependencies;
    this.#at(schedule.nowMs + random.next() ** 2 * TURN_MS_MAX, () => this.#turn(worker));
  }

  #turn(worker: Worker): void {
    worker.isScheduled = false;
    const { actions, isBusy } = worker.node.work(this.now());
    if (actions.length > 0) this.#performWorker(worker, actions);
    if (!isBusy) return;
    // Whoever was busy may have rung any other worker.
    for (const each of this.#workers) this.#wake(each);
  }

  /** At least at `atMs`, some time from now. */
  #later(atMs: number): number {
    const { random, schedule } = this.#dependencies;
    return Math.max(atMs, schedule.nowMs + random.next() ** 2 * MESSAGE_MS_MAX);
  }

  #at(atMs: number, run: () => void): void {
    this.#dependencies.schedule.at(atMs, () => {
      if (this.#isAlive) run();
    });
  }
}

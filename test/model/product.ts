// The product under a script: coordinator, workers, mesh and stages as threads run them, one turn at a time, under a clock that the script
// moves. Frames pass the whole path of an agent's bytes, with sequence numbers, acknowledgements and what is sent again.
import assert from 'node:assert/strict';
import type { Instant } from '../../host/lib/clock.ts';
import { Coordinator, type CoordinatorAction } from '../../host/reducer/coordinator.ts';
import { allocateDoorbells, Doorbells } from '../../host/reducer/doorbell.ts';
import { allocateRings, Mesh } from '../../host/reducer/mesh.ts';
import { type ConnectionId, connectionId } from '../../host/reducer/messages.ts';
import { ReducerWorkerCore } from '../../host/reducer/worker-core.ts';
import { type WorkerAction, WorkerNode } from '../../host/reducer/worker-node.ts';
import { decodeControl, encodeControl } from '../../host/wire/control.ts';
import { encodeFrame, frameHeader } from '../../host/wire/frame.ts';
import { FRAME_HEADER_SIZE, FrameKind, GoodbyeReason, type Welcome } from '../../host/wire/gen/wire-layout.ts';
import { encodeHello } from '../../host/wire/gen/wire-tables.ts';
import { hello } from '../../host/wire/testing/hello.ts';
import { Random } from '../../schemas/testing/random.ts';
import { encode } from './encode.ts';
import { FIRST_WINDOW, type Session, type Step, WINDOW_NS } from './script.ts';

const INCARNATION = 77n;
const LATENESS_NS = 5_000_000_000n;
const START_NS = BigInt(FIRST_WINDOW) * WINDOW_NS;
/** Small, so that rings fill up and blocks are cut at records. */
const RING_BYTES = 1 << 14;
/** Before the end of its window an agent has told it. */
const TOLD_BEFORE_NS = 1_000_000_000n;

interface Worker {
  index: number;
  core: ReducerWorkerCore;
  node: WorkerNode;
}

/** The end of a channel at its agent. */
interface Channel {
  /** Undefined while it is cut. */
  connection: ConnectionId | undefined;
  /** What was sent since the channel began. */
  sent: Uint8Array[];
  welcome: Welcome | undefined;
}

export interface ProductOptions {
  module: WebAssembly.Module;
  workers: number;
  /** Of the tables' hashes and of the order of turns; changes nothing that comes out. */
  seed: number;
  /** Rows of a level. */
  seriesBudget: number;
}

/** Outputs by closed window, one for each worker. Throws when a frame, a socket or an agent is refused. */
export function runProduct(script: readonly Step[], options: ProductOptions): Map<number, Uint8Array[]> {
  const product = new Product(options);
  for (const step of script) product.run(step);
  return product.closed;
}

class Product {
  readonly closed = new Map<number, Uint8Array[]>();
  readonly #coordinator: Coordinator;
  readonly #workers: Worker[];
  readonly #random: Random;
  readonly #channels = new Map<bigint, Channel>();
  readonly #owners = new Map<ConnectionId, number>();
  #nowNs = START_NS;
  #serial = 1;

  constructor({ module, workers, seed, seriesBudget }: ProductOptions) {
    this.#random = new Random(seed);
    const times = { windowNs: WINDOW_NS, latenessNs: LATENESS_NS };
    const incarnation = INCARNATION;
    this.#coordinator = new Coordinator({ workers, ...times, incarnation, start: this.#now(), recoveryMs: 0 });
    const { openWindow } = this.#coordinator;
    const memory = { rings: allocateRings(workers, RING_BYTES), doorbells: allocateDoorbells(workers) };
    const hashSeed = BigInt(seed) << 7n;
    this.#workers = Array.from({ length: workers }, (_, worker) => {
      const core = new ReducerWorkerCore({
        module,
        worker,
        workers,
        hashSeed,
        windowNs: WINDOW_NS,
        openWindow,
        idHistograms: true,
        seriesBudget,
      });
      const mesh = new Mesh({ worker, memory, doorbells: new Doorbells(memory.doorbells), ends: core, wake: () => {} });
      return { index: worker, core, node: new WorkerNode({ incarnation, ...times, openWindow }, { core, mesh }) };
    });
  }

  run(step: Step): void {
    if (step.step === 'close') return this.#close(step.window);
    if (step.step === 'wait') return this.#wait();
    if (step.step === 'connect') return this.#connect(step.session, step.repeats);
    const channel = this.#channelOf(step.session);
    if (step.step === 'tell') {
      for (const frame of step.frames) {
        const bytes = encode(frame, channel.sent.length + 1);
        channel.sent.push(bytes);
        this.#send(channel, bytes);
      }
    } else {
      const goodbye = encodeControl('Goodbye', { reason: GoodbyeReason.Stopping });
      if (step.step === 'goodbye')
        this.#send(channel, encodeFrame({ kind: FrameKind.Goodbye, seq: channel.sent.length + 1, payload: goodbye }));
      this.#cut(channel);
    }
    this.#settle();
  }

  #close(window: number): void {
    const endNs = (BigInt(window) + 1n) * WINDOW_NS;
    this.#pass(endNs + LATENESS_NS + 1n);
    assert(this.closed.has(window), `window ${window} is not closed`);
    assert(!this.closed.has(window + 1));
    this.#perform(this.#coordinator.exported(window));
    this.#settle();
    // Time for what comes in the next window.
    if (endNs + WINDOW_NS - TOLD_BEFORE_NS > this.#nowNs) this.#pass(endNs + WINDOW_NS - TOLD_BEFORE_NS);
  }

  #wait(): void {
    const { openWindow } = this.#coordinator;
    this.#pass((BigInt(openWindow) + 1n) * WINDOW_NS + LATENESS_NS / 2n);
    assert.equal(this.#coordinator.openWindow, openWindow, 'the window is closed without who is waited for');
  }

  #connect({ session, agent, zone, firstWindow }: Session, repeats: number): void {
    const known = this.#channels.get(session);
    const worker = this.#random.below(this.#workers.length);
    const connection = connectionId(worker, this.#serial++);
    const channel: Channel = { connection, sent: known?.sent ?? [], welcome: undefined };
    this.#channels.set(session, channel);
    this.#owners.set(connection, worker);
    const says = hello({
      ...{ nodeId: BigInt(agent), bootId: BigInt(agent), nodeName: `host-${agent}`, session, zone, firstWindow },
      incarnation: known === undefined ? 0n : INCARNATION,
      windowNs: WINDOW_NS,
    });
    this.#workers[worker].node.accepted(connection, this.#now());
    this.#send(channel, encodeFrame({ kind: FrameKind.Hello, seq: 0, payload: encodeHello(says) }));
    this.#settle();
    assert(channel.welcome !== undefined, `host-${agent} is not welcome`);
    assert.equal(channel.welcome.resume, known === undefined ? 0 : 1);
    const firstUnknown = channel.welcome.lastReceivedSeq;
    for (const bytes of channel.sent.slice(Math.max(0, firstUnknown - repeats))) this.#send(channel, bytes);
    this.#settle();
  }

  #cut(channel: Channel): void {
    const { connection } = channel;
    channel.connection = undefined;
    if (connection === undefined) return;
    const worker = this.#workers[this.#owners.get(connection) ?? 0];
    this.#speak(worker, worker.node.disconnected(connection, this.#now()));
  }

  #send({ connection }: Channel, bytes: Uint8Array): void {
    // What an agent says while its connection is cut stays with it until it resumes.
    if (connection === undefined) return;
    const worker = this.#workers[this.#owners.get(connection) ?? 0];
    this.#speak(worker, worker.node.bytes(connection, bytes, this.#now()));
  }

  #channelOf({ session }: Session): Channel {
    const channel = this.#channels.get(session);
    assert(channel !== undefined, `session ${session} was never connected`);
    return channel;
  }

  #now(): Instant {
    return { ms: Number((this.#nowNs - START_NS) / 1_000_000n), unixNs: this.#nowNs };
  }

  /** Time passes in steps of a second, as timers see it. */
  #pass(untilNs: bigint): void {
    while (this.#nowNs < untilNs) {
      this.#nowNs = this.#nowNs + 1_000_000_000n < untilNs ? this.#nowNs + 1_000_000_000n : untilNs;
      this.#perform(this.#coordinator.tick(this.#now()));
      for (const worker of this.#workers) this.#speak(worker, worker.node.tick(this.#now()));
      this.#settle();
    }
  }

  /** Turns of workers in a random order until none has anything to do. */
  #settle(): void {
    while (true) {
      let isBusy = false;
      const order = this.#random.below(this.#workers.length);
      for (let turn = 0; turn < this.#workers.length; turn++) {
        const worker = this.#workers[(order + turn) % this.#workers.length];
        const done = worker.node.work(this.#now());
        this.#speak(worker, done.actions);
        if (done.isBusy || done.actions.length > 0) isBusy = true;
      }
      if (!isBusy) return;
    }
  }

  #perform(actions: readonly CoordinatorAction[]): void {
    for (const action of actions) {
      switch (action.kind) {
        case 'tell': {
          const worker = this.#workers[action.worker];
          this.#speak(worker, worker.node.receive(action.message, this.#now()));
          break;
        }
        case 'tell_all':
          for (const worker of this.#workers) this.#speak(worker, worker.node.receive(action.message, this.#now()));
          break;
        case 'closed':
          this.closed.set(action.window, action.outputs);
          break;
        case 'refused':
          assert.fail(`${action.hello.nodeName} is refused for reason ${action.reason}`);
      }
    }
  }

  #speak(worker: Worker, actions: readonly WorkerAction[]): void {
    for (const action of actions) {
      if (action.kind === 'tell') {
        this.#perform(this.#coordinator.receive(worker.index, action.message, this.#now()));
        continue;
      }
      const owner = this.#owners.get(action.connection) ?? worker.index;
      if (owner !== worker.index) {
        this.#workers[owner].node.handOver(action.connection);
        this.#owners.set(action.connection, worker.index);
      }
      for (const channel of this.#channels.values()) {
        if (channel.connection !== action.connection) continue;
        if (action.kind === 'close') channel.connection = undefined;
        else if (frameHeader(action.bytes).kind === FrameKind.Welcome)
          channel.welcome = decodeControl('Welcome', action.bytes.slice(FRAME_HEADER_SIZE));
        else if (frameHeader(action.bytes).kind === FrameKind.Goodbye) assert.fail('an agent is sent away');
      }
    }
  }

  /** A counter of the stages (records.ReducerCounter), summed over the workers. */
  counter(index: number): bigint {
    return this.#workers.reduce((sum, { core }) => sum + core.counters()[index], 0n);
  }
}

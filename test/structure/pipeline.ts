/**
 * Agents and a reducer as the product wires them, without sockets, threads or timers: AgentCore, AgentSession and AgentChannel for each
 * host; Coordinator, WorkerNode and ReducerWorkerCore for the reducer. Time stands still but for `endWindow`, and every call runs until
 * nobody has anything left to do.
 */
import { strict as assert } from 'node:assert';
import { AgentCore } from '../../host/agent/agent-core.ts';
import { AgentSession } from '../../host/agent/agent-session.ts';
import type { Instant } from '../../host/lib/clock.ts';
import { Coordinator, type CoordinatorAction } from '../../host/reducer/coordinator.ts';
import { allocateDoorbells, Doorbells } from '../../host/reducer/doorbell.ts';
import { allocateRings, Mesh } from '../../host/reducer/mesh.ts';
import { type ConnectionId, connectionId, type ToWorker } from '../../host/reducer/messages.ts';
import { ReducerWorkerCore } from '../../host/reducer/worker-core.ts';
import { type WorkerAction, WorkerNode } from '../../host/reducer/worker-node.ts';
import { type AgentAction, AgentChannel } from '../../host/wire/agent-channel.ts';

const WINDOW_NS = 1_000_000_000n;
const EPOCH_NS = 1_700_000_000n * WINDOW_NS;
/** Past the beginning of a window, so that everybody's last window has ended. */
const PAST_MS = 1;
/** A load of thousands of sockets takes some tens of turns: who is busy for so many has nothing left to do and does not see it. */
const TURNS_MAX = 10_000;
const PASSES_MAX = 100;

interface HostAgent {
  connection: ConnectionId;
  /** Index of the worker that speaks for the connection. */
  owner: number;
  core: AgentCore;
  session: AgentSession;
  channel: AgentChannel;
}

export interface PipelineOptions {
  agent: WebAssembly.Module;
  reducer: WebAssembly.Module;
  agents: number;
  workers: number;
}

export class Pipeline {
  readonly #agents: HostAgent[];
  readonly #coordinator: Coordinator;
  readonly #cores: ReducerWorkerCore[] = [];
  readonly #nodes: WorkerNode[] = [];
  /** What is to be carried out, in order. */
  #due: (() => void)[] = [];
  #ms = PAST_MS;
  /** Windows that the reducer has closed and committed. */
  closedCount = 0;

  constructor({ agent, reducer, agents, workers }: PipelineOptions) {
    const incarnation = 7n;
    const timing = { windowNs: WINDOW_NS, latenessNs: WINDOW_NS, incarnation };
    this.#coordinator = new Coordinator({ workers, ...timing, start: this.#now() });
    const { openWindow } = this.#coordinator;
    const memory = { rings: allocateRings(workers), doorbells: allocateDoorbells(workers) };
    for (let worker = 0; worker < workers; worker++) {
      const core = new ReducerWorkerCore({
        ...{ module: reducer, worker, workers, hashSeed: 1n, windowNs: WINDOW_NS, openWindow },
      });
      const mesh = new Mesh({
        ...{ worker, memory, doorbells: new Doorbells(memory.doorbells), ends: core, wake: () => {} },
      });
      this.#cores.push(core);
      this.#nodes.push(new WorkerNode({ ...timing, openWindow }, { core, mesh }));
    }
    this.#agents = Array.from({ length: agents }, (_, index) => this.#startAgent(agent, index, index % workers));
    this.#settle();
    this.#passUntil(250, 'an agent is not connected', () => this.#agents.every(({ channel }) => channel.isOpen));
  }

  /** CLOCK_MONOTONIC of the hosts, nanoseconds. */
  get timeNs(): bigint {
    return BigInt(this.#ms) * 1_000_000n;
  }

  /** Sum of one counter over the workers. `counter`: records.ReducerCounter. */
  count(counter: number): number {
    return this.#cores.reduce((sum, core) => sum + Number(core.counters()[counter]), 0);
  }

  /** Sockets that the agents follow. */
  get socketsLive(): number {
    return this.#agents.reduce((sum, { core }) => sum + Number(core.counters.socketsLive), 0);
  }

  /** The kernel of a host says so. */
  events(agent: number, events: Uint8Array): void {
    this.#agents[agent].core.events(events);
  }

  /** Until every agent has told this window, and the reducer has closed and committed it. */
  endWindow(): void {
    const goal = this.closedCount + 1;
    this.#passUntil(1_000, `window ${goal} does not close`, () => this.closedCount >= goal);
  }

  #startAgent(module: WebAssembly.Module, index: number, owner: number): HostAgent {
    const nodeName = `host${index}`;
    const core = new AgentCore(
      { module, hashSeed: [1n, 2n], windowNs: WINDOW_NS, addressSpace: 'default', boot: nodeName },
      { nameProcess: () => undefined },
    );
    const dependencies = { core, collect: () => {}, eventsLost: () => 0n };
    const session = new AgentSession({ monotonicToUnixNs: EPOCH_NS, blindMs: 0 }, dependencies);
    const channel = new AgentChannel({
      identity: {
        ...{ peerRole: 0, nodeId: BigInt(index + 1), bootId: 1n, session: BigInt(index + 1), windowNs: WINDOW_NS },
        ...{ nodeName, scope: '', zone: '', addressSpace: 'default', agentVersion: 'test' },
      },
      firstWindow: (now) => session.firstWindow(now),
      random: () => 0.5,
    });
    return { connection: connectionId(owner, index + 1), owner, core, session, channel };
  }

  #now(): Instant {
    return { ms: this.#ms, unixNs: EPOCH_NS + BigInt(this.#ms) * 1_000_000n };
  }

  #passUntil(ms: number, complaint: string, isDone: () => boolean): void {
    for (let passes = 0; !isDone(); passes++) {
      assert(passes < PASSES_MAX, `${complaint} after ${passes} passes of ${ms} ms`);
      this.#pass(ms);
    }
  }

  #pass(ms: number): void {
    this.#ms += ms;
    const now = this.#now();
    for (const agent of this.#agents) {
      this.#performAgent(agent, agent.channel.tick(now));
      if (agent.channel.canOffer) this.#performAgent(agent, agent.channel.offer(agent.session.tell(now)));
    }
    this.#settle();
    for (const [worker, node] of this.#nodes.entries()) this.#performWorker(worker, node.tick(now));
    this.#perform(this.#coordinator.tick(now));
    this.#settle();
  }

  #settle(): void {
    let turns = 0;
    for (let isBusy = true; isBusy; turns++) {
      assert(turns < TURNS_MAX, `still busy after ${turns} turns`);
      isBusy = this.#due.length > 0;
      const due = this.#due;
      this.#due = [];
      for (const run of due) run();
      for (const [worker, node] of this.#nodes.entries()) {
        const turn = node.work(this.#now());
        this.#performWorker(worker, turn.actions);
        isBusy ||= turn.isBusy || turn.actions.length > 0;
      }
    }
  }

  #performAgent(agent: HostAgent, actions: readonly AgentAction[]): void {
    const now = this.#now();
    for (const action of actions) {
      if (action.kind === 'lost') throw new Error(`lost: ${action.reason} ${action.detail}`);
      if (action.kind === 'connect') {
        this.#nodes[agent.owner].accepted(agent.connection, now);
        this.#due.push(() => this.#performAgent(agent, agent.channel.connected(now)));
      } else if (action.kind === 'send') {
        const { bytes } = action;
        this.#due.push(() => {
          this.#performWorker(agent.owner, this.#nodes[agent.owner].bytes(agent.connection, bytes, now));
        });
      } else {
        const payloads = agent.session.handle(action, now);
        if (payloads.length > 0) this.#performAgent(agent, agent.channel.offer(payloads));
      }
    }
  }

  #performWorker(worker: number, actions: readonly WorkerAction[]): void {
    for (const action of actions) {
      if (action.kind === 'tell') {
        const { message } = action;
        this.#due.push(() => this.#perform(this.#coordinator.receive(worker, message, this.#now())));
      } else this.#speak(worker, action);
    }
  }

  #speak(worker: number, action: WorkerAction & { kind: 'send' | 'close' }): void {
    const agent = this.#agents.find(({ connection }) => connection === action.connection);
    if (agent === undefined || action.kind === 'close') throw new Error(`connection ${action.connection} was closed`);
    if (agent.owner !== worker) this.#nodes[agent.owner].handOver(action.connection);
    agent.owner = worker;
    const { bytes } = action;
    this.#due.push(() => this.#performAgent(agent, agent.channel.bytes(bytes, this.#now())));
  }

  #perform(actions: readonly CoordinatorAction[]): void {
    for (const action of actions) {
      if (action.kind === 'tell') this.#tell(action.worker, action.message);
      else if (action.kind === 'tell_all') for (const worker of this.#nodes.keys()) this.#tell(worker, action.message);
      else if (action.kind === 'closed') {
        this.closedCount++;
        this.#perform(this.#coordinator.exported(action.window));
      }
    }
  }

  #tell(worker: number, message: ToWorker): void {
    this.#due.push(() => this.#performWorker(worker, this.#nodes[worker].receive(message, this.#now())));
  }
}

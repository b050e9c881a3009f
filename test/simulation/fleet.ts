/**
 * A whole fleet in one process: agents, links, one reducer at a time, the exporter's path, and the fate that a scenario allows. Everything
 * runs on virtual time and one seed; `run` returns what the audit needs.
 */
import { RECOVERY_MS } from '../../host/reducer/coordinator.ts';
import { encodeControl } from '../../host/wire/control.ts';
import { encodeFrame } from '../../host/wire/frame.ts';
import { FrameKind } from '../../host/wire/gen/wire-layout.ts';
import { AgentProcess } from './agent-process.ts';
import { Collector, ExportPath } from './exporter.ts';
import { Link } from './link.ts';
import { type Host, ModelKernel } from './model-kernel.ts';
import { Random } from './random.ts';
import { ReducerProcess } from './reducer-process.ts';
import { drawScenario, type Profile, type Scenario } from './scenario.ts';
import { Schedule } from './schedule.ts';
import { Workload } from './workload.ts';

export const WINDOW_MS = 1_000;
const WINDOW_NS = BigInt(WINDOW_MS) * 1_000_000n;
/** Unix time of virtual time 0. */
export const EPOCH_NS = 1_700_000_000_000_000_000n;
/** Virtual time begins here, so that nothing is at 0, which means unknown. */
const START_MS = 10_000;
/** After the last fault everything must have settled within so long; an exporter that failed waits up to 30 s before it tries again. */
const SETTLE_MS_MAX = 90_000;
const SETTLE_STEP_MS = 1_000;
const DRIFT_MAX = 200e-6;
/** Mostly short; now and then longer than all delays of an agent's back-off up to the longest. */
const DOWN_MS_MAX = 6_000;
const RESET_HEARD_MS = 100;
const MISS_MS = 3_000;
/** Within it a commit has reached some workers and others not. */
const COMMIT_MS_MAX = 1.5;

export interface Modules {
  agent: WebAssembly.Module;
  reducer: WebAssembly.Module;
}

export interface FleetOptions {
  seed: number;
  profile?: Profile;
  modules: Modules;
  trace?: (text: string) => void;
}

/** One life of an agent on a host. */
export interface Life {
  host: Host;
  session: bigint;
  startMs: number;
  /** Infinity: to the end of the run. */
  endMs: number;
  /** Windows whose end it told, channel by channel. */
  toldWindows: readonly (readonly number[])[];
  /** Between any two pieces that came from the reducer on an open channel. */
  silences: readonly { fromMs: number; toMs: number }[];
}

export interface Incarnation {
  id: bigint;
  startMs: number;
  /** Infinity: to the end of the run. */
  endMs: number;
  /** Sessions whose Hello came within the recovery period, with the committed window that it names: they were answered together. */
  recovered: { atMs: number; sessions: Map<bigint, number> };
  /** The last window that each session had told when it started. */
  toldBefore: Map<bigint, number>;
  /** What was held of each session in each closed window. */
  sealed: Map<number, Map<bigint, number>>;
  closedAt: Map<number, { atMs: number; endMs: number; isLate: boolean }>;
}

export interface Snapshot {
  session: bigint;
  incarnation: bigint;
  committedWindow: number;
  atMs: number;
}

/** A time in which an agent's words did not reach the reducer, or only late. */
export interface Disturbance {
  what: 'cut' | 'reset' | 'frozen' | 'nonsense';
  host: Host;
  fromMs: number;
  /** When it is over; what it left behind may last until `toMs`. */
  wakesMs: number;
  toMs: number;
}

export class Fleet {
  readonly scenario: Scenario;
  readonly schedule = new Schedule(START_MS);
  readonly kernel: ModelKernel;
  readonly collector = new Collector();
  readonly lives: Life[] = [];
  readonly incarnations: Incarnation[] = [];
  readonly snapshots: Snapshot[] = [];
  readonly disturbances: Disturbance[] = [];
  /** Broken promises that were seen on the way, in words. */
  readonly broken: string[] = [];
  readonly #options: FleetOptions;
  readonly #random: Random;
  readonly #links: Link[];
  readonly #agents: (AgentProcess | undefined)[] = [];
  readonly #clocks: { skewNs: bigint; drift: number }[];
  #reducer: ReducerProcess | undefined;
  #exportPath: ExportPath | undefined;
  #isFateOver = false;
  #nextSession = 1n;
  #faultsEndMs = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.scenario = drawScenario(options.seed, this.#random, options.profile);
    const { agents, skewMs } = this.scenario;
    // One more host than agents: nobody looks at the last one.
    this.kernel = new ModelKernel(agents + 1, this.#random.fork());
    this.#links = Array.from({ length: agents }, () => new Link(this.schedule, this.#random.fork()));
    this.#clocks = this.#links.map(() => ({
      skewNs: BigInt(this.#random.between(-skewMs, skewMs)) * 1_000_000n,
      drift: (this.#random.next() - 0.5) * 2 * DRIFT_MAX,
    }));
  }

  get agents(): readonly (AgentProcess | undefined)[] {
    return this.#agents;
  }

  get reducer(): ReducerProcess | undefined {
    return this.#reducer;
  }

  get exportQueueLength(): number {
    return this.#exportPath?.queue.length ?? 0;
  }

  run(): void {
    const { scenario, schedule } = this;
    this.#trace(() => JSON.stringify(scenario));
    const endMs = START_MS + scenario.windows * WINDOW_MS;
    this.#faultsEndMs = endMs - 3_000;
    this.#startReducer();
    for (let index = 0; index < scenario.agents; index++) {
      schedule.after(this.#random.between(0, 1_500), () => this.#startAgent(index));
    }
    new Workload(scenario, this.kernel, schedule, this.#random.fork()).plan(endMs);
    this.#planFaults();
    schedule.runUntil(endMs);
    this.#endFate();
    for (let waitedMs = 0; waitedMs < SETTLE_MS_MAX; waitedMs += SETTLE_STEP_MS) {
      schedule.runUntil(schedule.nowMs + SETTLE_STEP_MS);
      if (waitedMs > 4_000 && this.#isSettled()) break;
    }
    if (!this.#isSettled()) this.broken.push(`not settled ${SETTLE_MS_MAX} ms after the last fault`);
    // The last windows, with every active count at 0.
    schedule.runUntil(schedule.nowMs + 2 * WINDOW_MS + scenario.latenessMs);
  }

  /** Everything that happened is exported, and nobody keeps anything of it. */
  #isSettled(): boolean {
    const isTold = this.#agents.every((agent) => {
      if (agent === undefined) return false;
      const { socketsLive, socketsClosed, journalEntries, folds } = agent.core.counters;
      return socketsLive + socketsClosed + journalEntries + folds === 0n;
    });
    return isTold && this.#reducer?.isAlive === true && this.exportQueueLength <= 1;
  }

  #startReducer(): void {
    const { scenario, schedule } = this;
    const random = this.#random.fork();
    const incarnation: Incarnation = {
      id: BigInt(this.incarnations.length + 1),
      startMs: schedule.nowMs,
      endMs: Infinity,
      recovered: { atMs: schedule.nowMs, sessions: new Map() },
      toldBefore: new Map(this.lives.map((life) => [life.session, Math.max(0, ...life.toldWindows.flat())])),
      sealed: new Map(),
      closedAt: new Map(),
    };
    this.incarnations.push(incarnation);
    const { workers, latenessMs, creditBytes } = scenario;
    const skewNs = BigInt(random.between(-300, 300)) * 1_000_000n;
    const reducer = new ReducerProcess(
      {
        ...{ incarnation: incarnation.id, workers, windowNs: WINDOW_NS, latenessNs: BigInt(latenessMs) * 1_000_000n },
        ...{ creditBytes, epochNs: EPOCH_NS, skewNs },
      },
      {
        ...{ module: this.#options.modules.reducer, schedule, random, trace: (text) => this.#trace(() => text) },
        closed: (closed) => {
          const endMs = closed.window * WINDOW_MS + WINDOW_MS - Number((EPOCH_NS + skewNs) / 1_000_000n);
          incarnation.closedAt.set(closed.window, { atMs: schedule.nowMs, endMs, isLate: closed.isLate });
          path.push(closed);
        },
        hungUp: (connection) => {
          // An agent that has connected anew, or said goodbye, holds no end of the old connection; one that is cut off may be silent for long.
          const isCurrent =
            this.#links.some((link) => link.connection === connection && !link.isCut) && connection.isHeldByAgent;
          if (isCurrent && scenario.faults.resets === 0 && scenario.faults.agentKills === 0)
            this.broken.push(`reducer ${incarnation.id} closed a connection that an agent holds`);
        },
        joined: ({ session, committedWindow }) => {
          const { recovered } = incarnation;
          if (recovered.sessions.size === 0)
            recovered.atMs = Math.max(schedule.nowMs, incarnation.startMs + RECOVERY_MS);
          if (schedule.nowMs <= recovered.atMs) recovered.sessions.set(session, committedWindow);
        },
        committed: (window) => path.committed(window),
        committing: () => this.#mayKill(scenario.faults.killOnCommit, COMMIT_MS_MAX),
        sealed: (_, window, session, reached) => {
          const known = incarnation.sealed.get(window) ?? new Map<bigint, number>();
          incarnation.sealed.set(window, known.set(session, reached));
        },
      },
    );
    const path = new ExportPath(
      {
        countMax: scenario.exportQueueMax,
        trace: (text) => this.#trace(() => text),
        stored: () => this.#mayKill(scenario.faults.killOnStore, 320),
      },
      { reducer, collector: this.collector, schedule, random },
    );
    this.#reducer = reducer;
    this.#exportPath = path;
    this.#trace(() => `reducer ${incarnation.id} starts`);
  }

  #mayKill(chance: number, withinMs: number): void {
    if (this.#isFateOver || this.schedule.nowMs > this.#faultsEndMs || !this.#random.chance(chance)) return;
    this.schedule.after(this.#random.next() * withinMs, () => this.#killReducer());
  }

  #killReducer(): void {
    if (this.#isFateOver || this.#reducer?.isAlive !== true) return;
    this.#trace(() => 'reducer killed');
    this.#endReducer();
    this.schedule.after(50 + this.#random.next() ** 2 * DOWN_MS_MAX, () => {
      if (this.#reducer?.isAlive !== true) this.#startReducer();
    });
  }

  #endReducer(): void {
    this.#auditCounters();
    this.#reducer?.kill();
    this.incarnations[this.incarnations.length - 1].endMs = this.schedule.nowMs;
  }

  #auditCounters(): void {
    for (const problem of this.#reducer?.problems() ?? []) this.broken.push(problem);
  }

  #startAgent(index: number): void {
    const host = this.kernel.hosts[index];
    const lastEndMs = this.lives.findLast((life) => life.host === host)?.endMs;
    const session = this.#nextSession++;
    const life: Life = { host, session, startMs: this.schedule.nowMs, endMs: Infinity, toldWindows: [], silences: [] };
    this.lives.push(life);
    this.#trace(() => `${host.name} starts, session ${session}`);
    const agent = new AgentProcess(
      {
        ...{ host, nodeId: BigInt(index + 1), session, windowNs: WINDOW_NS, clock: this.#clocks[index] },
        ...{ epochNs: EPOCH_NS, blindMs: lastEndMs === undefined ? 0 : this.schedule.nowMs - lastEndMs },
        ...{
          creditBytes: this.scenario.creditBytes,
          limits: { closedRetained: this.scenario.closedRetained },
        },
      },
      {
        ...{ module: this.#options.modules.agent, schedule: this.schedule, random: this.#random.fork() },
        link: this.#links[index],
        listener: (connection) => this.#reducer?.accept(connection),
        snapshotMade: (told, incarnation, committedWindow) =>
          this.snapshots.push({ session: told, incarnation, committedWindow, atMs: this.schedule.nowMs }),
        welcomed: () => {
          if (this.#links[index].connection?.isReset !== true) this.#endReset(host);
        },
        ended: () => {
          life.endMs = this.schedule.nowMs;
        },
        trace: (text) => this.#trace(() => text),
      },
    );
    life.toldWindows = agent.monitor.toldWindows;
    life.silences = agent.silences;
    this.#agents[index] = agent;
  }

  #endAgent(index: number): void {
    const agent = this.#agents[index];
    if (this.#isFateOver || agent === undefined || !agent.isAlive) return;
    this.#checkAgent(agent);
    const isStop = this.#random.chance(this.scenario.faults.stopInstead);
    this.#trace(() => `${agent.host.name} ${isStop ? 'is told to stop' : 'killed'}`);
    if (isStop) agent.stop();
    else agent.kill();
    // Sometimes whoever else saw the same connections is heard only after the next life has looked.
    if (this.#random.chance(0.3)) for (const other of this.#links.keys()) if (other !== index) this.#cut(other);
    const backMs = 200 + this.#random.next() ** 2 * 6_000;
    this.schedule.after(backMs, () => {
      if (agent.isAlive) agent.kill();
      if (this.#agents[index] === agent) this.#startAgent(index);
    });
  }

  #checkAgent(agent: AgentProcess): void {
    for (const broken of agent.monitor.broken) this.broken.push(`${agent.host.name}: ${broken}`);
  }

  #planFaults(): void {
    const { faults, agents, mortals, windows } = this.scenario;
    const spanMs = windows * WINDOW_MS - 5_000;
    const plan = (expected: number, run: () => void): void => {
      for (let left = expected; left > 0; left--) {
        if (left >= 1 || this.#random.chance(left))
          this.schedule.at(START_MS + 1_500 + this.#random.next() * spanMs, () => {
            if (!this.#isFateOver) run();
          });
      }
    };
    for (let index = 0; index < agents; index++) {
      plan(faults.cuts, () => this.#cut(index));
      plan(faults.resets, () => this.#reset(index));
      plan(faults.severs, () => this.#sever(index));
      plan(faults.freezes, () => this.#freeze(index));
      plan(faults.restarts, () => this.#restartChannel(index));
      if (index < mortals) plan(faults.agentKills, () => this.#endAgent(index));
    }
    plan(faults.reducerKills, () => this.#killReducer());
    plan(faults.outages, () => this.#outage());
  }

  #cut(index: number): void {
    const forMs = 100 + this.#random.next() ** 2 * 9_000;
    this.#links[index].cut(forMs);
    this.#disturb(index, 'cut', forMs, 3_000);
  }

  #sever(index: number): void {
    const forMs = this.#random.between(17_000, 24_000);
    this.#links[index].cut(forMs);
    this.#disturb(index, 'cut', forMs, 3_000);
  }

  /** An end that hears nothing finds out by the other's silence. */
  #reset(index: number): void {
    this.#links[index].connection?.reset(this.#random.pick(['agent', 'reducer', undefined] as const));
    this.#disturb(index, 'reset', 0, 9_000);
  }

  #endReset(host: Host): void {
    const { nowMs } = this.schedule;
    for (const disturbance of this.disturbances) {
      if (disturbance.host !== host || disturbance.what !== 'reset' || nowMs >= disturbance.toMs) continue;
      // An old connection may still be standing when the reset was not heard of.
      if (nowMs > disturbance.fromMs + RESET_HEARD_MS) disturbance.toMs = nowMs + RESET_HEARD_MS;
    }
  }

  /** A receipt that cannot be: the agent forgets the channel and tells everything anew, to the same reducer. */
  #restartChannel(index: number): void {
    const payload = encodeControl('Received', { seq: 0x7fff_ffff, reducerTimeNs: 0n, agentTimeNs: 0n });
    this.#agents[index]?.monitor.expectNonsense();
    this.#links[index].connection?.sendToAgent(encodeFrame({ kind: FrameKind.Received, seq: 0, payload }));
    this.#disturb(index, 'nonsense', 0, 3_000);
  }

  #freeze(index: number): void {
    const { least, most } = this.scenario.freezeMs;
    const forMs = least + this.#random.next() ** 2 * (most - least);
    this.#agents[index]?.freeze(forMs);
    this.#disturb(index, 'frozen', forMs, 1_000);
  }

  #disturb(index: number, what: Disturbance['what'], forMs: number, afterMs: number): void {
    const host = this.kernel.hosts[index];
    const fromMs = this.schedule.nowMs;
    this.disturbances.push({ what, host, fromMs, wakesMs: fromMs + forMs, toMs: fromMs + forMs + afterMs });
    this.#trace(() => `${host.name} ${what} for ${Math.round(forMs)} ms`);
  }

  #outage(): void {
    this.collector.isDown = true;
    this.#trace(() => 'collector down');
    const isDeaf = this.scenario.profile === 'deaf';
    this.schedule.after((isDeaf ? 5_000 : 300) + this.#random.next() * 6_000, () => {
      this.collector.isDown = false;
    });
    if (isDeaf) this.#miss(this.#random.between(0, this.#links.length - 1));
  }

  /** One agent is away when windows are sealed that it has told, because another kept them open; nobody can commit them yet. */
  #miss(index: number): void {
    const sleeper = (index + 1) % this.#links.length;
    this.#agents[sleeper]?.freeze(MISS_MS);
    this.#disturb(sleeper, 'frozen', MISS_MS, 1_000);
    this.schedule.after(MISS_MS * 0.3 * (1 + this.#random.next()), () => {
      if (this.#isFateOver) return;
      this.#links[index].connection?.reset(undefined);
      this.#links[index].cut(MISS_MS);
      this.#disturb(index, 'cut', MISS_MS, 1_000);
    });
  }

  #endFate(): void {
    this.#isFateOver = true;
    this.#trace(() => 'fate rests');
    this.collector.isDown = false;
    for (const link of this.#links) link.heal();
    if (this.#reducer?.isAlive !== true) this.#startReducer();
    this.#agents.forEach((agent, index) => {
      if (agent?.isAlive !== true) this.#startAgent(index);
    });
  }

  /** Counters and promises at the end of the run. */
  close(): void {
    for (const agent of this.#agents) if (agent !== undefined) this.#checkAgent(agent);
    this.#auditCounters();
  }

  #trace(text: () => string): void {
    this.#options.trace?.(`${((this.schedule.nowMs - START_MS) / 1000).toFixed(3)} ${text()}`);
  }
}

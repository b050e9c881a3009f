/**
 * A fleet in miniature for the channel alone: agents that tell numbered windows, one reducer that holds, closes, exports and commits them,
 * pipes between them, and a fate that cuts, kills and stalls. Truth is what the exporter got: every window of every agent that lived to the
 * end, once; a repeat is pardoned only for a batch that was exported when its reducer died before anyone was told.
 */
import assert from 'node:assert/strict';
import type { Instant } from '../../lib/clock.ts';
import { seededRandom } from '../../lib/random.ts';
import type { AgentAction } from '../agent-channel.ts';
import type { Hello } from '../gen/wire-tables.ts';
import { KnownCommits } from '../known-commits.ts';
import { type ReducerAction, ReducerChannel } from '../reducer-channel.ts';
import type { ReducerSession } from '../reducer-session.ts';
import { SessionRegistry } from '../session-registry.ts';
import { Pipe } from './pipe.ts';
import { WINDOW_MS, WindowAgent, windowOf } from './window-agent.ts';
import { WindowTwin } from './window-twin.ts';

const STEP_MS = 20;
const FATE_MS = 30_000;
const QUIET_MS = 20_000;
/** After the end of a window, until it is closed. */
const LATENESS_MS = 600;
/** The next reducer is there at once, so no back-off has become long. */
const RECOVERY_MS = 1_000;
/** What was sent this long ago on a standing connection has arrived. */
const HEARD_MS = 1_000;

interface Connection {
  id: number;
  agent: WindowAgent;
  channel: ReducerChannel;
  toReducer: Pipe;
  toAgent: Pipe;
  /** Each end learns of the end of the connection at its own time; Infinity while it stands. */
  agentEndMs: number;
  reducerEndMs: number;
  /** When the reducer's side last could not write. */
  mutedMs: number;
  isBlocked: boolean;
  hello: Hello | undefined;
  twin: WindowTwin | undefined;
}

/** A closed window on its way to the exporter: which windows of which agents it holds. */
interface Batch {
  closedWindow: number;
  windows: string[];
  exportAtMs: number;
  isExported: boolean;
}

export interface WorldReport {
  windowsExported: number;
  repeatsPardoned: number;
  framesRepeated: number;
  resumes: number;
  snapshots: number;
  kills: number;
}

/** Everything that dies with a reducer process. */
class Reducer {
  readonly incarnation: bigint;
  readonly startMs: number;
  readonly registry: SessionRegistry;
  readonly twins = new Map<bigint, WindowTwin>();
  readonly queue: Batch[] = [];
  /** What is booked stays booked, whoever tells it again: the ledger's part in this miniature. */
  readonly booked = new Set<string>();
  readonly commits = new KnownCommits();
  closedWindow: number;

  constructor(incarnation: bigint, startMs: number, closedWindow: number) {
    this.incarnation = incarnation;
    this.startMs = startMs;
    this.closedWindow = closedWindow;
    this.registry = new SessionRegistry({ incarnation, sessionCountMax: 100, silenceMs: 3_000 });
  }
}

export class ChannelWorld {
  readonly #random: () => number;
  #nowMs = 0;
  #nextId = 1;
  #killAtMs = Infinity;
  #agents: WindowAgent[] = [];
  #connections: Connection[] = [];
  /** The connection that each agent believes to have. */
  readonly #carrier = new Map<WindowAgent, Connection>();
  #reducer: Reducer;
  readonly #exported = new Map<string, number>();
  readonly #pardoned = new Set<string>();
  /** Everything that the exporter got. */
  readonly #batches: (Batch & { incarnation: bigint })[] = [];
  readonly #due = new Map<string, string>();
  readonly #report: WorldReport = {
    windowsExported: 0,
    repeatsPardoned: 0,
    framesRepeated: 0,
    resumes: 0,
    snapshots: 0,
    kills: 0,
  };

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#reducer = new Reducer(1n, 0, 0);
    for (let node = 1; node <= 3; node++) this.#startAgent(BigInt(node));
  }

  /** Plays fate, then waits in peace for everything to settle. Throws AssertionError when a promise of the protocol is broken. */
  run(): WorldReport {
    while (this.#nowMs < FATE_MS + QUIET_MS) {
      this.#nowMs += STEP_MS;
      if (this.#nowMs < FATE_MS) this.#fate();
      for (const agent of this.#agents) this.#stepAgent(agent);
      for (const connection of [...this.#connections]) this.#stepConnection(connection);
      this.#stepReducer();
    }
    this.#judge();
    return this.#report;
  }

  get #now(): Instant {
    return { ms: this.#nowMs, unixNs: BigInt(this.#nowMs) * 1_000_000n };
  }

  #startAgent(node: bigint): void {
    const id = this.#nextId++;
    const options = { random: this.#random, startMs: this.#nowMs };
    const agent = new WindowAgent({ name: `${node}.${id}`, session: BigInt(id), node, ...options });
    this.#agents.push(agent);
  }

  #fate(): void {
    const chance = (perSecond: number): boolean => this.#random() < (perSecond * STEP_MS) / 1000;
    if (chance(0.5) && this.#connections.length > 0) this.#cut(this.#pick(this.#connections));
    if (chance(0.06) || this.#nowMs >= this.#killAtMs) this.#killReducer();
    if (chance(0.05)) this.#killAgent(this.#pick(this.#agents));
    for (const connection of this.#connections) {
      if (!chance(0.3)) continue;
      connection.channel.blocked(this.#now);
      connection.isBlocked = true;
    }
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)];
  }

  /** Either end may learn of it much later than the other. */
  #cut(connection: Connection): void {
    connection.toReducer.cut();
    connection.toAgent.cut();
    connection.agentEndMs = Math.min(connection.agentEndMs, this.#nowMs + this.#random() ** 3 * 6_000);
    connection.reducerEndMs = Math.min(connection.reducerEndMs, this.#nowMs + this.#random() ** 3 * 6_000);
  }

  #killReducer(): void {
    this.#report.kills++;
    this.#killAtMs = Infinity;
    this.#pardonDeaf();
    for (const { session } of this.#reducer.twins.values()) this.#check(session);
    for (const connection of this.#connections) {
      connection.toReducer = new Pipe(this.#random);
      connection.toAgent.cut();
      connection.agentEndMs = Math.min(connection.agentEndMs, this.#nowMs + this.#random() * 400);
    }
    this.#connections = this.#connections.filter((connection) => this.#carrier.get(connection.agent) === connection);
    for (const connection of this.#connections) {
      connection.reducerEndMs = -Infinity;
      connection.hello = undefined;
      connection.twin = undefined;
    }
    this.#reducer = new Reducer(this.#reducer.incarnation + 1n, this.#nowMs, windowOf(this.#nowMs));
  }

  /** What may repeat after a kill: windows of an agent that could not hear that they were sealed. */
  #pardonDeaf(): void {
    for (const agent of this.#agents) {
      const connection = this.#carrier.get(agent);
      const isSettled = this.#nowMs - agent.openSinceMs >= HEARD_MS && connection?.agentEndMs === Infinity;
      const canHear = isSettled && !this.#isMuted(connection);
      for (let window = agent.committedWindow + 1; !canHear && window <= agent.toldWindow; window++)
        this.#pardoned.add(`${agent.name}:${window}`);
    }
  }

  /** And windows that were exported when nobody who is left had heard of it. */
  #pardonUnheard({ nodeName, incarnation }: Hello, committedClosedWindow: number): void {
    if (incarnation === this.#reducer.incarnation) return;
    for (const batch of this.#batches) {
      if (batch.incarnation !== incarnation || batch.closedWindow <= committedClosedWindow) continue;
      for (const window of batch.windows) if (window.startsWith(`${nodeName}:`)) this.#pardoned.add(window);
    }
  }

  #isMuted(connection: Connection): boolean {
    return connection.reducerEndMs !== Infinity || this.#nowMs - connection.mutedMs < HEARD_MS;
  }

  /** A new process on the same node: it knows nothing of what the old one had not told. */
  #killAgent(agent: WindowAgent): void {
    const connection = this.#carrier.get(agent);
    if (connection !== undefined) this.#cut(connection);
    for (const [window, name] of this.#due) if (name === agent.name) this.#due.delete(window);
    this.#agents = this.#agents.filter((other) => other !== agent);
    this.#startAgent(BigInt(agent.name.split('.')[0]));
  }

  #stepAgent(agent: WindowAgent): void {
    this.#perform(agent, agent.channel.tick(this.#now));
    const window = windowOf(this.#nowMs) - 1;
    if (window <= agent.toldWindow || !agent.channel.canOffer) return;
    for (let told = agent.toldWindow + 1; told <= window; told++) this.#due.set(`${agent.name}:${told}`, agent.name);
    this.#perform(agent, agent.channel.offer(agent.tell(window, this.#nowMs)));
  }

  #perform(agent: WindowAgent, actions: readonly AgentAction[]): void {
    for (const action of actions) {
      if (action.kind === 'connect') this.#connect(agent);
      else if (action.kind === 'send') this.#transmit(agent, action.bytes);
      else if (action.kind === 'close') this.#hangUp(this.#carrier.get(agent));
      else if (action.kind === 'commit') this.#commit(agent, action.window);
      else if (action.kind === 'welcome') this.#welcomed(agent, action.resume);
      else if (action.kind === 'lost') {
        agent.openSinceMs = Infinity;
        const isFate =
          action.reason !== 'refused' && action.reason !== 'unusable_welcome' && action.reason !== 'impossible_receipt';
        assert.ok(isFate, `${action.reason}: ${action.detail}`);
      }
    }
    assert.ok(agent.channel.creditBytes >= 0);
  }

  #commit(agent: WindowAgent, window: number): void {
    assert.ok(
      window > agent.committedWindow || window <= agent.bornWindow,
      `commit fell from ${agent.committedWindow} to ${window}`,
    );
    agent.committedWindow = Math.max(agent.committedWindow, window);
  }

  #welcomed(agent: WindowAgent, resume: boolean): void {
    agent.openSinceMs = this.#nowMs;
    if (resume) this.#report.resumes++;
    else {
      this.#report.snapshots++;
      this.#perform(agent, agent.channel.offer(agent.snapshot(this.#nowMs)));
    }
  }

  /** Now and then a frame vanishes on its way through a broken proxy. */
  #transmit(agent: WindowAgent, bytes: Uint8Array): void {
    const isLost = this.#nowMs < FATE_MS && this.#random() < 0.002;
    if (!isLost) this.#carrier.get(agent)?.toReducer.send(bytes, this.#nowMs);
  }

  #connect(agent: WindowAgent): void {
    const isRefused = this.#nowMs < FATE_MS && this.#random() < 0.2;
    if (isRefused) return this.#perform(agent, agent.channel.disconnected(this.#now));
    const connection: Connection = {
      id: this.#nextId++,
      agent,
      channel: new ReducerChannel(this.#now),
      toReducer: new Pipe(this.#random),
      toAgent: new Pipe(this.#random),
      agentEndMs: Infinity,
      reducerEndMs: Infinity,
      mutedMs: -Infinity,
      isBlocked: false,
      hello: undefined,
      twin: undefined,
    };
    this.#carrier.set(agent, connection);
    this.#connections.push(connection);
    this.#perform(agent, agent.channel.connected(this.#now));
  }

  #hangUp(connection: Connection | undefined): void {
    if (connection === undefined) return;
    this.#carrier.delete(connection.agent);
    connection.reducerEndMs = Math.min(connection.reducerEndMs, this.#nowMs + this.#random() * 100);
  }

  #stepConnection(connection: Connection): void {
    const { agent, channel } = connection;
    if (connection.reducerEndMs >= this.#nowMs) {
      for (const bytes of connection.toReducer.arrived(this.#nowMs))
        this.#act(connection, channel.bytes(bytes, this.#now));
      connection.twin?.checkHeld();
      if (connection.isBlocked) connection.mutedMs = this.#nowMs;
      if (connection.isBlocked && (this.#random() < 0.05 || this.#nowMs > FATE_MS)) {
        connection.isBlocked = false;
        this.#act(connection, channel.drained(this.#now));
      }
      this.#act(connection, channel.tick(this.#now));
    } else if (connection.reducerEndMs > -Infinity) {
      connection.reducerEndMs = -Infinity;
      this.#act(connection, channel.disconnected());
      connection.agentEndMs = Math.min(connection.agentEndMs, this.#nowMs + this.#random() * 100);
    }
    if (this.#carrier.get(agent) === connection) {
      for (const bytes of connection.toAgent.arrived(this.#nowMs))
        this.#perform(agent, agent.channel.bytes(bytes, this.#now));
      if (connection.agentEndMs < this.#nowMs && this.#carrier.get(agent) === connection) {
        this.#hangUp(connection);
        this.#perform(agent, agent.channel.disconnected(this.#now));
      }
    }
    const isOver = connection.reducerEndMs === -Infinity && this.#carrier.get(agent) !== connection;
    if (isOver) this.#connections = this.#connections.filter((other) => other !== connection);
  }

  #act(connection: Connection, actions: readonly ReducerAction[]): void {
    for (const action of actions) {
      if (action.kind === 'send') connection.toAgent.send(action.bytes, this.#nowMs);
      else if (action.kind === 'hello') connection.hello = action.hello;
      else if (action.kind === 'frames') this.#consume(connection);
      else if (action.kind === 'close') this.#closed(connection, action.reason);
    }
  }

  #closed(connection: Connection, reason: string): void {
    const isExpected = ['disconnected', 'goodbye', 'seq_gap', 'not_reading', 'hello_late', 'silent'].includes(reason);
    assert.ok(isExpected, `an honest agent was cut off: ${reason}`);
    connection.reducerEndMs = -Infinity;
    connection.agentEndMs = Math.min(connection.agentEndMs, this.#nowMs + this.#random() * 100);
    const { twin } = connection;
    connection.twin = undefined;
    if (twin !== undefined) this.#reducer.registry.left(twin.session.hello.session, connection.id, this.#nowMs);
  }

  #consume(connection: Connection): void {
    if (connection.twin === undefined) return;
    this.#consumeTwin(connection.twin);
    this.#act(connection, connection.channel.report(this.#now));
  }

  /** Sometimes only a part of what is there. */
  #consumeTwin(twin: WindowTwin): void {
    const isAny = twin.consume(this.#reducer.closedWindow, () => this.#nowMs > FATE_MS || this.#random() < 0.9);
    if (isAny) this.#reducer.registry.heard(twin.session.hello.session, this.#nowMs);
  }

  #stepReducer(): void {
    const reducer = this.#reducer;
    if (this.#nowMs - reducer.startMs >= RECOVERY_MS) this.#answerHellos(reducer);
    for (const connection of this.#connections) this.#consume(connection);
    while (reducer.closedWindow + 1 < windowOf(this.#nowMs - LATENESS_MS)) this.#closeWindow(reducer);
    const [batch] = reducer.queue;
    if (batch === undefined || this.#nowMs < batch.exportAtMs) return;
    if (!batch.isExported) this.#export(batch);
    else this.#tell(reducer, batch);
  }

  #export(batch: Batch): void {
    for (const window of batch.windows) this.#exported.set(window, (this.#exported.get(window) ?? 0) + 1);
    batch.isExported = true;
    this.#batches.push({ ...batch, incarnation: this.#reducer.incarnation });
    batch.exportAtMs = this.#nowMs + this.#random() * 200;
  }

  #tell(reducer: Reducer, { closedWindow }: Batch): void {
    reducer.queue.shift();
    // The moment that matters most: some agents have heard of the commit and others have not.
    if (this.#random() < 0.04) this.#killAtMs = this.#nowMs + this.#random() * 300;
    reducer.commits.note(reducer.incarnation, closedWindow);
    for (const { session } of reducer.twins.values()) session.commit(closedWindow);
    for (const connection of this.#connections) this.#act(connection, connection.channel.report(this.#now));
  }

  /** What a coordinator does at the end of its recovery period. */
  #answerHellos(reducer: Reducer): void {
    const waiting = this.#connections.filter((connection) => connection.hello !== undefined);
    for (const { hello } of waiting) if (hello !== undefined) reducer.commits.noteHello(hello, reducer.incarnation);
    for (const connection of waiting) this.#answerHello(reducer, connection);
  }

  #answerHello(reducer: Reducer, connection: Connection): void {
    const { hello } = connection;
    connection.hello = undefined;
    if (hello === undefined) return;
    const admission = reducer.registry.arrive(hello, { connection: connection.id, place: 0 }, this.#nowMs);
    if (admission.kind === 'refuse') return this.#act(connection, connection.channel.goodbye(admission.reason));
    const known = reducer.twins.get(hello.session);
    this.#pardonUnheard(hello, reducer.commits.of(hello.incarnation));
    if (admission.replaces !== undefined) this.#replace(admission.replaces);
    if (admission.kind === 'open' && admission.succeeds !== undefined) reducer.twins.delete(admission.succeeds);
    const resume = admission.kind === 'resume' && known !== undefined;
    const twin = resume ? known : new WindowTwin(hello);
    connection.twin = twin;
    reducer.twins.set(hello.session, twin);
    const terms = { incarnation: reducer.incarnation, windowNs: BigInt(WINDOW_MS) * 1_000_000n, latenessNs: 0n };
    const at = {
      openWindow: reducer.closedWindow + 1,
      committedClosedWindow: reducer.commits.of(hello.incarnation),
      heldMs: 0,
    };
    this.#act(connection, connection.channel.welcome({ session: twin.session, resume, ...terms, ...at }, this.#now));
  }

  #replace(id: number): void {
    const old = this.#connections.find((connection) => connection.id === id);
    if (old === undefined) return;
    old.twin = undefined;
    this.#act(old, old.channel.disconnected());
  }

  /** Books what each session has told as whole windows, seals it, and queues it for the exporter. */
  #closeWindow(reducer: Reducer): void {
    const closedWindow = ++reducer.closedWindow;
    const windows: string[] = [];
    for (const twin of reducer.twins.values()) {
      this.#consumeTwin(twin);
      for (const window of twin.openWindows.splice(0)) {
        if (!reducer.booked.has(window)) windows.push(window);
        reducer.booked.add(window);
      }
      twin.session.sealed.seal({ closedWindow, window: twin.reachedWindow });
    }
    const delayMs = this.#random() < 0.05 ? 4_000 : this.#random() * 800;
    reducer.queue.push({ closedWindow, windows, exportAtMs: this.#nowMs + delayMs, isExported: false });
  }

  #check(session: ReducerSession): void {
    this.#report.framesRepeated += session.framesRepeated;
    assert.equal(session.refused.total, session.refused.of('seq_gap'), 'only the broken proxy causes refusals');
  }

  #judge(): void {
    for (const { session } of this.#reducer.twins.values()) this.#check(session);
    const lastCertain = windowOf(this.#nowMs) - Math.ceil(5_000 / WINDOW_MS);
    for (const window of this.#due.keys()) {
      if (Number(window.split(':')[1]) > lastCertain) continue;
      assert.ok((this.#exported.get(window) ?? 0) >= 1, `window ${window} was lost`);
    }
    for (const [window, count] of this.#exported) {
      this.#report.windowsExported++;
      if (this.#pardoned.has(window)) this.#report.repeatsPardoned += count - 1;
      else assert.equal(count, 1, `window ${window} was exported ${count} times`);
    }
  }
}

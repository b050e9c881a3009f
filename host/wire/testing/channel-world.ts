/**
 * A fleet in miniature for the channel alone: agents that tell numbered windows, one reducer that holds, closes, exports and commits them,
 * pipes between them, and a fate that cuts, kills and stalls. Truth is what the exporter got: every window of every agent that lived to the
 * end, once; a repeat is pardoned only for a batch that was exported when its reducer died before anyone was told.
 */
import assert from 'node:assert/strict';
import type { Instant } from '../../lib/clock.ts';
import { seededRandom } from '../../lib/random.ts';
import type { Rules } from '../../lib/rules.ts';
import { type AgentAction, AgentChannel } from '../agent-channel.ts';
import type { Payload } from '../channel-sender.ts';
import { decodeControl, encodeControl } from '../control.ts';
import { FrameDecoder } from '../frame-decoder.ts';
import { FrameKind } from '../gen/wire-layout.ts';
import type { Hello } from '../gen/wire-tables.ts';
import { KnownCommits } from '../known-commits.ts';
import { type ReducerAction, ReducerChannel } from '../reducer-channel.ts';
import { ReducerSession } from '../reducer-session.ts';
import { SessionRegistry } from '../session-registry.ts';
import { Pipe } from './pipe.ts';

const STEP_MS = 20;
const WINDOW_MS = 400;
const FATE_MS = 30_000;
const QUIET_MS = 20_000;
const CREDIT_BYTES = 6_000;
const FRAME_BYTES_MAX = 2_000;
/** After the end of a window, until it is closed. */
const LATENESS_MS = 600;
const RECOVERY_MS = 1_000;
/** What was sent this long ago on a standing connection has arrived. */
const HEARD_MS = 1_000;

interface Connection {
  id: number;
  agent: Agent;
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
}

interface Twin {
  session: ReducerSession;
  connection: Connection | undefined;
  /** Next expected number of a data frame on this channel, and the last whole window that was consumed. */
  nextFrame: number;
  epoch: number | undefined;
  reachedWindow: number;
  /** Whole windows that no closed window holds yet. */
  openWindows: string[];
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

class Agent {
  readonly name: string;
  readonly channel: AgentChannel;
  readonly random: () => number;
  connection: Connection | undefined;
  toldWindow = 0;
  committedWindow = 0;
  openSinceMs = Infinity;
  firstWindow = 0;
  epoch = 0;
  nextFrame = 0;

  constructor(
    name: string,
    session: bigint,
    node: bigint,
    random: () => number,
    rules: Rules,
    windowOf: (ms: number) => number,
  ) {
    this.name = name;
    this.random = random;
    this.channel = new AgentChannel({
      identity: {
        ...{ peerRole: 0, nodeId: node, bootId: 1n, session, windowNs: BigInt(WINDOW_MS) * 1_000_000n },
        ...{ nodeName: name, scope: '', zone: '', addressSpace: 'default', agentVersion: '0' },
      },
      firstWindow: (now) => (this.toldWindow > 0 ? this.toldWindow + 1 : windowOf(now.ms)),
      random,
      zstd: random() < 0.5,
      frameBytesMax: FRAME_BYTES_MAX,
      rules,
    });
  }

  /** The frames of one window: some data frames that carry (epoch, number), then its end. */
  encode(window: number, nowMs: number): Payload[] {
    const payloads: Payload[] = [];
    const frames = Math.floor(this.random() ** 3 * 8);
    for (let index = 0; index < frames; index++) payloads.push(this.#dataFrame());
    const counters = {
      eventsLost: 0n,
      socketsFolded: 0n,
      socketsRefused: 0n,
      windowsCoalesced: 0n,
      journalSkipped: 0n,
    };
    const end = { window, fromWindow: window, agentTimeNs: BigInt(Math.round(nowMs)) * 1_000_000n, ...counters };
    const payload = encodeControl('WindowEnd', { ...end, processesUnnamed: 0n, socketsLive: 0, blindMs: 0 });
    return [...payloads, { kind: FrameKind.WindowEnd, payload }];
  }

  /** Everything that is not committed, told anew. */
  snapshot(nowMs: number): Payload[] {
    this.epoch++;
    this.nextFrame = 0;
    const payloads = [this.#dataFrame()];
    for (let window = this.committedWindow + 1; window <= this.toldWindow; window++)
      payloads.push(...this.encode(window, nowMs));
    return payloads;
  }

  #dataFrame(): Payload {
    const payload = new Uint8Array(16 + 8 * Math.floor(this.random() ** 2 * 200));
    new DataView(payload.buffer).setUint32(0, this.epoch, true);
    new DataView(payload.buffer).setUint32(4, this.nextFrame++, true);
    return { kind: FrameKind.Open, payload };
  }
}

/** Everything that dies with a reducer process. */
class Reducer {
  readonly incarnation: bigint;
  readonly startMs: number;
  readonly registry: SessionRegistry;
  readonly twins = new Map<bigint, Twin>();
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
  readonly #rules: Rules;
  #nowMs = 0;
  #nextId = 1;
  #killAtMs = Infinity;
  #agents: Agent[] = [];
  #connections: Connection[] = [];
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

  constructor(seed: number, rules: Rules) {
    this.#random = seededRandom(seed);
    this.#rules = rules;
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

  #windowOf = (ms: number): number => 1 + Math.floor(ms / WINDOW_MS);

  #startAgent(node: bigint): void {
    const id = this.#nextId++;
    const agent = new Agent(`${node}.${id}`, BigInt(id), node, this.#random, this.#rules, this.#windowOf);
    agent.firstWindow = this.#windowOf(this.#nowMs);
    agent.toldWindow = agent.firstWindow - 1;
    agent.committedWindow = agent.firstWindow - 1;
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
    this.#connections = this.#connections.filter((connection) => connection.agent.connection === connection);
    for (const connection of this.#connections) {
      connection.reducerEndMs = -Infinity;
      connection.hello = undefined;
    }
    this.#reducer = new Reducer(this.#reducer.incarnation + 1n, this.#nowMs, this.#windowOf(this.#nowMs));
  }

  /** What may repeat after a kill: windows of an agent that could not hear that they were sealed. */
  #pardonDeaf(): void {
    for (const agent of this.#agents) {
      const isDeaf = this.#nowMs - agent.openSinceMs < HEARD_MS || agent.connection === undefined;
      const canHear = !isDeaf && agent.connection?.agentEndMs === Infinity && !this.#isMuted(agent.connection);
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
  #killAgent(agent: Agent): void {
    if (agent.connection !== undefined) this.#cut(agent.connection);
    for (const [window, name] of this.#due) if (name === agent.name) this.#due.delete(window);
    this.#agents = this.#agents.filter((other) => other !== agent);
    this.#startAgent(BigInt(agent.name.split('.')[0]));
  }

  #stepAgent(agent: Agent): void {
    this.#perform(agent, agent.channel.tick(this.#now));
    const window = this.#windowOf(this.#nowMs) - 1;
    if (window <= agent.toldWindow || !agent.channel.canOffer) return;
    for (let told = agent.toldWindow + 1; told <= window; told++) this.#due.set(`${agent.name}:${told}`, agent.name);
    const payloads = [];
    for (; agent.toldWindow < window; agent.toldWindow++)
      payloads.push(...agent.encode(agent.toldWindow + 1, this.#nowMs));
    this.#perform(agent, agent.channel.offer(payloads));
  }

  #perform(agent: Agent, actions: readonly AgentAction[]): void {
    for (const action of actions) {
      if (action.kind === 'connect') this.#connect(agent);
      else if (action.kind === 'send') this.#transmit(agent, action.bytes);
      else if (action.kind === 'close' && agent.connection !== undefined) this.#hangUp(agent.connection);
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

  #commit(agent: Agent, window: number): void {
    assert.ok(
      window > agent.committedWindow || window < agent.firstWindow,
      `commit fell from ${agent.committedWindow} to ${window}`,
    );
    agent.committedWindow = Math.max(agent.committedWindow, window);
  }

  #welcomed(agent: Agent, resume: boolean): void {
    agent.openSinceMs = this.#nowMs;
    if (resume) this.#report.resumes++;
    else {
      this.#report.snapshots++;
      this.#perform(agent, agent.channel.offer(agent.snapshot(this.#nowMs)));
    }
  }

  /** Now and then a frame vanishes on its way through a broken proxy. */
  #transmit(agent: Agent, bytes: Uint8Array): void {
    const isLost = this.#nowMs < FATE_MS && this.#random() < 0.002;
    if (!isLost) agent.connection?.toReducer.send(bytes, this.#nowMs);
  }

  #connect(agent: Agent): void {
    const isRefused = this.#nowMs < FATE_MS && this.#random() < 0.2;
    if (isRefused) return this.#perform(agent, agent.channel.disconnected(this.#now));
    const connection: Connection = {
      ...{
        id: this.#nextId++,
        agent,
        channel: new ReducerChannel(this.#now, this.#rules),
        hello: undefined,
        mutedMs: -Infinity,
        isBlocked: false,
      },
      ...{
        toReducer: new Pipe(this.#random),
        toAgent: new Pipe(this.#random),
        agentEndMs: Infinity,
        reducerEndMs: Infinity,
      },
    };
    agent.connection = connection;
    this.#connections.push(connection);
    this.#perform(agent, agent.channel.connected(this.#now));
  }

  #hangUp(connection: Connection): void {
    connection.agent.connection = undefined;
    connection.reducerEndMs = Math.min(connection.reducerEndMs, this.#nowMs + this.#random() * 100);
  }

  #stepConnection(connection: Connection): void {
    const { agent, channel } = connection;
    if (connection.reducerEndMs >= this.#nowMs) {
      for (const bytes of connection.toReducer.arrived(this.#nowMs))
        this.#act(connection, channel.bytes(bytes, this.#now));
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
    if (agent.connection === connection) {
      for (const bytes of connection.toAgent.arrived(this.#nowMs))
        this.#perform(agent, agent.channel.bytes(bytes, this.#now));
      if (connection.agentEndMs < this.#nowMs && agent.connection === connection) {
        this.#hangUp(connection);
        this.#perform(agent, agent.channel.disconnected(this.#now));
      }
    }
    const isOver = connection.reducerEndMs === -Infinity && agent.connection !== connection;
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
    const twin = [...this.#reducer.twins.values()].find((other) => other.connection === connection);
    if (twin === undefined) return;
    twin.connection = undefined;
    this.#reducer.registry.left(twin.session.hello.session, connection.id, this.#nowMs);
  }

  #consume(connection: Connection): void {
    const twin = [...this.#reducer.twins.values()].find((other) => other.connection === connection);
    if (twin === undefined) return;
    this.#consumeTwin(twin);
    this.#act(connection, connection.channel.report(this.#now));
  }

  /** Whole frames up to the end of the open window, and sometimes only a part of them. */
  #consumeTwin(twin: Twin): void {
    const target = new Uint8Array(CREDIT_BYTES);
    const canGoOn = (): boolean =>
      twin.reachedWindow <= this.#reducer.closedWindow && (this.#nowMs > FATE_MS || this.#random() < 0.9);
    while (twin.session.hasQueued && canGoOn()) {
      const bytes = target.subarray(0, twin.session.copyQueuedInto(target));
      const decoder = new FrameDecoder();
      decoder.push(bytes);
      const frame = decoder.next();
      assert.ok(frame !== undefined);
      this.#take(twin, frame.kind, frame.payload);
      twin.session.consume(frame.bytes.length);
      this.#reducer.registry.heard(twin.session.hello.session, this.#nowMs);
    }
  }

  #take(twin: Twin, kind: number, payload: Uint8Array): void {
    if (kind === FrameKind.WindowEnd) {
      twin.reachedWindow = decodeControl('WindowEnd', payload)?.window ?? 0;
      twin.openWindows.push(`${twin.session.hello.nodeName}:${twin.reachedWindow}`);
      return;
    }
    const view = new DataView(payload.buffer, payload.byteOffset);
    twin.epoch ??= view.getUint32(0, true);
    assert.equal(view.getUint32(0, true), twin.epoch, 'frames of two channels in one');
    assert.equal(view.getUint32(4, true), twin.nextFrame, 'each frame once and in order');
    twin.nextFrame++;
  }

  #stepReducer(): void {
    const reducer = this.#reducer;
    if (this.#nowMs - reducer.startMs >= RECOVERY_MS) this.#answerHellos(reducer);
    for (const twin of reducer.twins.values()) if (twin.connection !== undefined) this.#consume(twin.connection);
    while (reducer.closedWindow + 1 < this.#windowOf(this.#nowMs - LATENESS_MS)) this.#closeWindow(reducer);
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
    for (const { session, connection } of reducer.twins.values()) {
      session.commit(closedWindow);
      if (connection !== undefined) this.#act(connection, connection.channel.report(this.#now));
    }
  }

  /** What a coordinator does at the end of its recovery period. */
  #answerHellos(reducer: Reducer): void {
    const waiting = this.#connections.filter((connection) => connection.hello !== undefined);
    for (const { hello } of waiting) if (hello !== undefined) reducer.commits.noteHello(hello);
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
    if (admission.replaces !== undefined) this.#replace(reducer, admission.replaces);
    if (admission.kind === 'open' && admission.succeeds !== undefined) reducer.twins.delete(admission.succeeds);
    const resume = admission.kind === 'resume' && known !== undefined;
    const twin = resume ? known : this.#openTwin(hello);
    twin.connection = connection;
    reducer.twins.set(hello.session, twin);
    const terms = { incarnation: reducer.incarnation, windowNs: BigInt(WINDOW_MS) * 1_000_000n, latenessNs: 0n };
    const at = { openWindow: reducer.closedWindow + 1, committedClosedWindow: reducer.commits.of(hello.incarnation) };
    this.#act(connection, connection.channel.welcome({ session: twin.session, resume, ...terms, ...at }, this.#now));
  }

  #openTwin(hello: Hello): Twin {
    const session = new ReducerSession({ hello, creditBytes: CREDIT_BYTES, rules: this.#rules });
    return { session, connection: undefined, nextFrame: 0, epoch: undefined, reachedWindow: 0, openWindows: [] };
  }

  #replace(reducer: Reducer, id: number): void {
    const old = this.#connections.find((connection) => connection.id === id);
    if (old === undefined) return;
    for (const twin of reducer.twins.values()) if (twin.connection === old) twin.connection = undefined;
    this.#act(old, old.channel.disconnected());
  }

  /** Books what each session has told as whole windows, seals it, and queues it for the exporter. */
  #closeWindow(reducer: Reducer): void {
    const closedWindow = ++reducer.closedWindow;
    const windows: string[] = [];
    for (const twin of reducer.twins.values()) {
      if (twin.connection === undefined) this.#consumeTwin(twin);
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
    const lastCertain = this.#windowOf(this.#nowMs) - Math.ceil(5_000 / WINDOW_MS);
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

/**
 * Recordings through a reducer of their own, without a clock: every recording is a channel, windows close when all recordings have told
 * them, so the same files give the same bytes for any number of workers and any hash seed (docs/protocol.md, section 8).
 */
import type { MessagePort } from 'node:worker_threads';
import type { Instant } from '../lib/clock.ts';
import { UsageError } from '../lib/usage-error.ts';
import { type AgentAction, AgentChannel } from '../wire/agent-channel.ts';
import type { Payload } from '../wire/channel-sender.ts';
import { FRAME_HEADER_SIZE } from '../wire/gen/wire-layout.ts';
import { decodeHello } from '../wire/gen/wire-tables.ts';
import type { ClosedWindow } from './closed-window.ts';
import { Engine, type EngineNews } from './engine.ts';
import { type ConnectionId, connectionId } from './messages.ts';
import { RecordingAgent } from './recording-agent.ts';
import { type FeedLink, feedRecording } from './recording-feed.ts';
import type { RelayMessage } from './worker.ts';
import type { WorkerReading } from './worker-pool.ts';

/** A replay has no time: nothing in it expires or is late. */
const NO_TIME: Instant = { ms: 0, unixNs: 0n };

export interface ReplayOptions {
  workers: number;
  /** Seed of the tables' hashes; changes nothing that comes out. */
  hashSeed: bigint;
  /** Takes as long as the recording did, instead of as long as it needs. */
  isRealTime: boolean;
}

export interface ReplayReport {
  windows: number;
  readings: WorkerReading[];
}

/** Opens all files. Throws UsageError when one is no recording, or they cannot be replayed together. */
export async function openRecordings(paths: readonly string[]): Promise<RecordingAgent[]> {
  const agents: RecordingAgent[] = [];
  const bySession = new Map<bigint, string>();
  for (const path of paths) {
    const agent = await RecordingAgent.open(path);
    const { session, windowNs } = agent.hello;
    const twin = bySession.get(session);
    if (twin !== undefined)
      throw new UsageError('TRB_REPLAY', `${twin} and ${path} hold the same session: give one of them`);
    if (windowNs !== (agents[0] ?? agent).hello.windowNs) {
      throw new UsageError(
        'TRB_REPLAY',
        `${agents[0].path} and ${path} have windows of different length: replay them apart`,
      );
    }
    bySession.set(session, path);
    agents.push(agent);
  }
  return agents;
}

/** `closeWindow` gets each window once, in order. Throws when a recording is refused or a worker fails. */
export async function replay(
  agents: readonly RecordingAgent[],
  { workers, hashSeed, isRealTime }: ReplayOptions,
  closeWindow: (closed: ClosedWindow) => void,
): Promise<ReplayReport> {
  const [{ hello }] = agents;
  const firstWindow = Math.min(...agents.map((agent) => agent.hello.firstWindow));
  const incarnation = 1n;
  const failed = Promise.withResolvers<never>();
  const finished = Promise.withResolvers<void>();
  let windows = 0;
  const handle = (news: EngineNews): void => {
    if (news.kind === 'refused') failed.reject(new Error(`the session of ${news.hello.nodeName} was refused`));
    if (news.kind === 'closed') {
      windows++;
      closeWindow({ window: news.window, windowNs: Number(hello.windowNs), incarnation, outputs: news.outputs });
      engine.exported(news.window);
    }
    if (engine.coordinator.isFinished) finished.resolve();
  };
  const engine = new Engine(
    {
      ...{ workers, hashSeed, incarnation, windowNs: hello.windowNs, latenessNs: 0n },
      replay: {
        openWindow: firstWindow,
        sessions: new Map(agents.map(({ hello: each }) => [each.session, each.firstWindow])),
      },
    },
    {
      clock: () => NO_TIME,
      handle,
      fail: (worker, error) => failed.reject(new Error(`worker ${worker}: ${error.message}`)),
    },
  );
  await engine.start();
  try {
    const links = new ReplayLinks(engine, workers);
    const pace = isRealTime ? realTime(firstWindow, hello.windowNs) : async () => {};
    const fed = Promise.all(inSuccession(agents).map((succession) => feedInSuccession(succession, links, pace)));
    await Promise.race([fed.then(() => finished.promise), failed.promise]);
    return { windows, readings: await engine.readCounters() };
  } finally {
    await engine.stop();
  }
}

/** The recordings of each agent, one process after the other. */
export function inSuccession(agents: readonly RecordingAgent[]): RecordingAgent[][] {
  const byIdentity = new Map<string, RecordingAgent[]>();
  for (const agent of agents) {
    const { nodeId, bootId, scope } = agent.hello;
    const identity = `${nodeId}/${bootId}/${scope}`;
    byIdentity.set(identity, [...(byIdentity.get(identity) ?? []), agent]);
  }
  const byFirstWindow = (a: RecordingAgent, b: RecordingAgent): number => a.hello.firstWindow - b.hello.firstWindow;
  return [...byIdentity.values()].map((recordings) => recordings.sort(byFirstWindow));
}

async function feedInSuccession(
  agents: readonly RecordingAgent[],
  links: ReplayLinks,
  pace: (window: number) => Promise<void>,
): Promise<void> {
  for (const [index, agent] of agents.entries()) {
    const next = agents.at(index + 1);
    const paceBefore = async (window: number): Promise<void> => {
      if (next !== undefined && window >= next.hello.firstWindow) {
        throw new UsageError(
          'TRB_REPLAY',
          `${agent.path} and ${next.path} are of one agent at the same time: give one of them`,
        );
      }
      await pace(window);
    };
    await feedRecording(agent, links.connect(agent), { shift: 0, pace: paceBefore });
  }
}

/** A window may be told when as much time has passed since now as between the first window and its end. */
export function realTime(firstWindow: number, windowNs: bigint): (window: number) => Promise<void> {
  const startMs = performance.now();
  const windowMs = Number(windowNs) / 1e6;
  return (window) => {
    const leftMs = startMs + (window + 1 - firstWindow) * windowMs - performance.now();
    return new Promise((resolve) => setTimeout(resolve, Math.max(0, leftMs)));
  };
}

/** Connections that the main thread speaks for, to the workers of the engine. */
class ReplayLinks {
  readonly #engine: Engine;
  readonly #acceptor: number;
  readonly #links = new Map<ConnectionId, ReplayLink>();

  constructor(engine: Engine, acceptor: number) {
    this.#engine = engine;
    this.#acceptor = acceptor;
    for (const port of engine.pool.ports) port.on('message', (message: RelayMessage) => this.#receive(port, message));
  }

  connect(agent: RecordingAgent): ReplayLink {
    const id = connectionId(this.#acceptor, this.#links.size + 1);
    const greet = (hello: Uint8Array): void => {
      const payload = hello.slice(FRAME_HEADER_SIZE);
      const decoded = decodeHello(payload);
      if (decoded !== undefined)
        this.#engine.receive(this.#acceptor, { kind: 'hello', connection: id, hello: decoded, payload });
    };
    const link = new ReplayLink(agent, id, greet);
    this.#links.set(id, link);
    link.start();
    return link;
  }

  #receive(port: MessagePort, message: RelayMessage): void {
    const link = this.#links.get(message.connection);
    if (message.kind === 'send') link?.bytes(port, message.bytes);
    else if (message.kind === 'close') link?.closed();
  }
}

class ReplayLink implements FeedLink {
  readonly #agent: RecordingAgent;
  readonly #id: ConnectionId;
  readonly #greet: (hello: Uint8Array) => void;
  readonly #channel: AgentChannel;
  /** To the worker that has the session; known from its Welcome on. */
  #port: MessagePort | undefined;
  #waiting: PromiseWithResolvers<void>[] = [];
  #isStopped = false;
  #loss: Error | undefined;

  constructor(agent: RecordingAgent, id: ConnectionId, greet: (hello: Uint8Array) => void) {
    this.#agent = agent;
    this.#id = id;
    this.#greet = greet;
    const { hello } = agent;
    this.#channel = new AgentChannel({ identity: hello, firstWindow: () => hello.firstWindow, random: () => 0 });
  }

  get canOffer(): boolean {
    return this.#channel.canOffer;
  }

  get isReceived(): boolean {
    return this.#channel.isOpen && this.#channel.keptBytes === 0;
  }

  start(): void {
    this.#perform(this.#channel.tick(NO_TIME));
    this.#perform(this.#channel.connected(NO_TIME));
  }

  offer(payloads: readonly Payload[]): void {
    this.#perform(this.#channel.offer(payloads));
  }

  async changed(): Promise<void> {
    if (this.#loss !== undefined) throw this.#loss;
    const waiting = Promise.withResolvers<void>();
    this.#waiting.push(waiting);
    await waiting.promise;
    if (this.#loss !== undefined) throw this.#loss;
  }

  async sayGoodbye(): Promise<void> {
    this.#perform(this.#channel.stop(NO_TIME));
    while (!this.#isStopped) await this.changed();
  }

  async hangUp(): Promise<void> {
    this.#post({ kind: 'gone', connection: this.#id });
  }

  bytes(port: MessagePort, piece: Uint8Array): void {
    this.#port = port;
    this.#perform(this.#channel.bytes(piece, NO_TIME));
  }

  closed(): void {
    this.#perform(this.#channel.disconnected(NO_TIME));
  }

  #perform(actions: readonly AgentAction[]): void {
    for (const action of actions) {
      if (action.kind === 'send') this.#send(action.bytes);
      else if (action.kind === 'stopped') this.#isStopped = true;
      else if (action.kind === 'lost' && !this.#isStopped) {
        this.#loss = new Error(
          `${this.#agent.path}: the channel was lost: ${action.reason} ${action.detail}`.trimEnd(),
        );
      }
    }
    for (const waiting of this.#waiting.splice(0)) waiting.resolve();
  }

  /** The first frame is Hello, which the coordinator answers; the rest goes to the worker that it chose. */
  #send(bytes: Uint8Array): void {
    if (this.#port === undefined) this.#greet(bytes);
    else this.#post({ kind: 'bytes', connection: this.#id, piece: bytes });
  }

  #post(message: RelayMessage): void {
    this.#port?.postMessage(message);
  }
}

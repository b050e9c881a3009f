// Connections of a replay: the agent's end of a channel in the main thread, the other end in a worker. There is no socket between them.
import type { Instant } from '../lib/clock.ts';
import { type AgentAction, AgentChannel } from '../wire/agent-channel.ts';
import type { Payload } from '../wire/channel-sender.ts';
import { FRAME_HEADER_SIZE } from '../wire/gen/wire-layout.ts';
import { decodeHello } from '../wire/gen/wire-tables.ts';
import type { Engine } from './engine.ts';
import { type ConnectionId, connectionId } from './messages.ts';
import type { RecordingAgent } from './recording-agent.ts';
import type { FeedLink } from './recording-feed.ts';
import type { RelayMessage } from './worker.ts';

/** A replay has no time: nothing in it expires or is late. */
export const NO_TIME: Instant = { ms: 0, unixNs: 0n };

/** Connections that the main thread speaks for, to the workers of the engine. */
export class ReplayLinks {
  readonly #engine: Engine;
  readonly #acceptor: number;
  readonly #links = new Map<ConnectionId, ReplayLink>();

  constructor(engine: Engine, acceptor: number) {
    this.#engine = engine;
    this.#acceptor = acceptor;
  }

  connect(agent: RecordingAgent): ReplayLink {
    const id = connectionId(this.#acceptor, this.#links.size + 1);
    const greet = (hello: Uint8Array): void => {
      const payload = hello.slice(FRAME_HEADER_SIZE);
      const decoded = decodeHello(payload);
      if (decoded !== undefined)
        this.#engine.receive(this.#acceptor, { kind: 'hello', connection: id, hello: decoded, payload });
    };
    const relay = (worker: number, message: RelayMessage): void => this.#engine.pool.relay(worker, message);
    const link = new ReplayLink(agent, id, { greet, relay });
    this.#links.set(id, link);
    link.start();
    return link;
  }

  receive(worker: number, message: RelayMessage): void {
    const link = this.#links.get(message.connection);
    if (message.kind === 'send') link?.bytes(worker, message.bytes);
    else if (message.kind === 'close') link?.closed();
  }
}

interface LinkWays {
  greet: (hello: Uint8Array) => void;
  relay: (worker: number, message: RelayMessage) => void;
}

class ReplayLink implements FeedLink {
  readonly #agent: RecordingAgent;
  readonly #id: ConnectionId;
  readonly #ways: LinkWays;
  readonly #channel: AgentChannel;
  /** The worker that has the session; known from its Welcome on. */
  #owner: number | undefined;
  #waiting: PromiseWithResolvers<void>[] = [];
  #isStopped = false;
  #loss: Error | undefined;

  constructor(agent: RecordingAgent, id: ConnectionId, ways: LinkWays) {
    this.#agent = agent;
    this.#id = id;
    this.#ways = ways;
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

  bytes(owner: number, piece: Uint8Array): void {
    this.#owner = owner;
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
    if (this.#owner === undefined) this.#ways.greet(bytes);
    else this.#post({ kind: 'bytes', connection: this.#id, piece: bytes });
  }

  #post(message: RelayMessage): void {
    if (this.#owner !== undefined) this.#ways.relay(this.#owner, message);
  }
}

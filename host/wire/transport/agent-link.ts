// An agent's channel on a real connection: carries out the channel's actions, hands the others on, ticks.
import type { Clock } from '../../lib/clock.ts';
import { type AgentAction, AgentChannel, type AgentChannelOptions } from '../agent-channel.ts';
import type { Payload } from '../channel-sender.ts';
import type { Connection } from './connection.ts';
import { describeFailure, isHandshakeFailure } from './secure-connect.ts';
import { type ConnectEvents, type ConnectOptions, connect } from './tcp.ts';

const TICK_MS = 100;

/** What the agent has to act on; the rest of the actions is carried out here. */
export type AgentNews = Exclude<AgentAction, { kind: 'connect' | 'send' | 'close' }>;

export interface AgentLinkOptions extends ConnectOptions {
  channel: AgentChannelOptions;
}

export interface AgentLinkDependencies {
  clock: Clock;
  /** Called from events and from `offer`; may call `offer`. */
  handle: (news: AgentNews) => void;
}

export class AgentLink {
  readonly #options: AgentLinkOptions;
  readonly #dependencies: AgentLinkDependencies;
  readonly #channel: AgentChannel;
  #connection: Connection | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #stopped: PromiseWithResolvers<void> | undefined;

  constructor(options: AgentLinkOptions, dependencies: AgentLinkDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#channel = new AgentChannel(options.channel);
  }

  get channel(): Readonly<AgentChannel> {
    return this.#channel;
  }

  start(): void {
    const { clock } = this.#dependencies;
    this.#ticker = setInterval(() => this.#perform(this.#channel.tick(clock())), TICK_MS);
    this.#perform(this.#channel.tick(clock()));
  }

  /** Says goodbye. Resolves when the reducer has everything, or after two seconds, or at once when there is no connection. */
  async stop(): Promise<void> {
    this.#stopped = Promise.withResolvers<void>();
    this.#perform(this.#channel.stop(this.#dependencies.clock()));
    await this.#stopped.promise;
    clearInterval(this.#ticker);
  }

  /** A whole window or snapshot; to be called when `channel.canOffer`, or after the news of a `welcome` without resume. */
  offer(payloads: readonly Payload[]): void {
    this.#perform(this.#channel.offer(payloads));
  }

  /** There are new certificates: a reducer that refused the old ones is tried again at once. */
  retry(): void {
    this.#channel.retry();
  }

  /** Frames of one window go to the kernel together, which costs both ends less than one after the other. */
  #perform(actions: readonly AgentAction[]): void {
    const connection = this.#connection;
    connection?.cork();
    this.#carryOut(actions);
    connection?.uncork();
  }

  #carryOut(actions: readonly AgentAction[]): void {
    for (const action of actions) {
      switch (action.kind) {
        case 'connect':
          this.#connect();
          break;
        case 'send':
          this.#connection?.send(action.bytes);
          break;
        case 'close':
          this.#connection?.close();
          this.#connection = undefined;
          break;
        case 'stopped':
          this.#stopped?.resolve();
          this.#dependencies.handle(action);
          break;
        default:
          this.#dependencies.handle(action);
      }
    }
  }

  #connect(): void {
    const { clock } = this.#dependencies;
    const isCurrent = (): boolean => this.#connection === connection;
    const events: ConnectEvents = {
      securing: () => {
        if (isCurrent()) this.#channel.securing(clock());
      },
      connected: () => {
        if (isCurrent()) this.#perform(this.#channel.connected(clock()));
      },
      bytes: (piece) => {
        if (isCurrent()) this.#perform(this.#channel.bytes(piece, clock()));
      },
      // What waits in the socket's buffer is within the credit.
      drained: () => {},
      closed: (error) => {
        if (!isCurrent()) return;
        this.#connection = undefined;
        const reason = isHandshakeFailure(error) ? 'handshake' : 'closed';
        this.#perform(this.#channel.disconnected(clock(), reason, describeFailure(error)));
      },
    };
    const connection = connect(this.#options, events);
    this.#connection = connection;
  }
}

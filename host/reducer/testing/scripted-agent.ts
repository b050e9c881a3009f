// An agent without eBPF: on a real channel it tells what a script says for each window, and empty windows after that.
import type { Clock } from '../../lib/clock.ts';
import type { AgentLoss } from '../../wire/agent-channel.ts';
import type { Payload } from '../../wire/channel-sender.ts';
import type { ListenAddress } from '../../wire/transport/address.ts';
import { AgentLink, type AgentNews } from '../../wire/transport/agent-link.ts';
import type { ConnectOptions } from '../../wire/transport/tcp.ts';
import { hello, snapshotBegin, snapshotEnd, windowEnd } from './told.ts';

export interface ScriptedAgentOptions {
  address: ListenAddress;
  clock: Clock;
  name: string;
  session: bigint;
  windowNs: bigint;
  /** Told in the snapshot of a new channel. */
  snapshot: Payload[];
  /** What moves in each window from `begin` on. */
  script: Payload[][];
  /** The window in which the script begins, as soon as it is known; without it the first one. */
  begin?: () => number | undefined;
  tls?: ConnectOptions['tls'];
}

export class ScriptedAgent {
  readonly #options: ScriptedAgentOptions;
  readonly #link: AgentLink;
  readonly #clock: Clock;
  #timer: NodeJS.Timeout | undefined;
  #nextWindow: number | undefined;
  #begin: number | undefined;
  /** The last window that it may forget. */
  committedWindow = 0;
  /** Resumes and snapshots since the start. */
  resumes = 0;
  snapshots = 0;
  readonly losses: AgentLoss[] = [];
  /** Names of the reasons that the reducer gave. */
  readonly goodbyes: string[] = [];

  constructor(options: ScriptedAgentOptions) {
    this.#options = options;
    const { address, name, session, windowNs, tls } = options;
    this.#clock = options.clock;
    const { protocolVersion: _, incarnation: __, ...identity } = hello(name, session, { windowNs });
    const firstWindow = (): number => this.#nextWindow ?? this.#currentWindow();
    const channel = { identity, firstWindow, random: () => 0.5 };
    this.#link = new AgentLink(
      { address, insecure: false, tls, channel },
      { clock: this.#clock, handle: (news) => this.#handle(news) },
    );
  }

  /** Windows that were told, the empty ones included; undefined before the first Welcome. */
  get toldWindow(): number | undefined {
    return this.#nextWindow === undefined ? undefined : this.#nextWindow - 1;
  }

  start(): void {
    this.#link.start();
    this.#timer = setInterval(() => this.#tell(), 10);
  }

  async stop(): Promise<void> {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#link.stop();
  }

  #currentWindow(): number {
    return Number(this.#clock().unixNs / this.#options.windowNs);
  }

  #handle(news: AgentNews): void {
    if (news.kind === 'commit') this.committedWindow = news.window;
    if (news.kind === 'lost') this.losses.push(news.reason);
    if (news.kind === 'lost' && news.reason === 'goodbye') this.goodbyes.push(news.detail);
    if (news.kind !== 'welcome') return;
    if (news.resume) {
      this.resumes++;
      return;
    }
    this.snapshots++;
    this.#nextWindow ??= this.#currentWindow();
    const window = this.#nextWindow;
    this.#link.offer([snapshotBegin(window), ...this.#options.snapshot, snapshotEnd(window)]);
  }

  #tell(): void {
    while (this.#nextWindow !== undefined && this.#nextWindow < this.#currentWindow() && this.#link.channel.canOffer) {
      this.#begin ??= this.#options.begin === undefined ? this.#nextWindow : this.#options.begin();
      const moved = this.#options.script[this.#nextWindow - (this.#begin ?? Infinity)] ?? [];
      this.#link.offer([...moved, windowEnd(this.#nextWindow++)]);
    }
  }
}

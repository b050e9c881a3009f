// A recording told to a running reducer over its agents' port, its windows moved to now.
import type { Clock } from '../lib/clock.ts';
import type { Payload } from '../wire/channel-sender.ts';
import { describeGoodbye } from '../wire/goodbye-words.ts';
import { AgentLink, type AgentNews } from '../wire/transport/agent-link.ts';
import type { ConnectOptions } from '../wire/transport/tcp.ts';
import type { RecordingAgent } from './recording-agent.ts';
import { type FeedLink, feedRecording } from './recording-feed.ts';
import { realTime } from './replay.ts';

const POLL_MS = 10;
/** An agent's next recording may arrive before the reducer has heard the goodbye of the one before: it tries again. */
const DUPLICATE_COUNT_MAX = 20;

export interface TcpReplayOptions extends ConnectOptions {
  /** The last window of a recording that is told at once: it becomes the reducer's last whole one, and the others precede it. */
  lastWindow: number;
  /** The first window of all recordings. */
  firstWindow: number;
  isRealTime: boolean;
}

/** Resolves when the reducer has everything. Throws when the channel is lost: a recording cannot make a new snapshot. */
export async function replayOverTcp(agent: RecordingAgent, options: TcpReplayOptions, clock: Clock): Promise<void> {
  const { windowNs } = agent.hello;
  const currentWindow = Number(clock().unixNs / windowNs);
  const { firstWindow, lastWindow, isRealTime } = options;
  const shift = isRealTime ? currentWindow - firstWindow : currentWindow - 1 - lastWindow;
  const link = new TcpFeedLink(agent, options, shift, clock);
  link.start();
  try {
    await feedRecording(agent, link, { shift, pace: isRealTime ? realTime(firstWindow, windowNs) : async () => {} });
  } finally {
    await link.stop();
  }
}

/** The greatest window that the recording tells the end of. Reads all of it. */
export async function lastWindowOf(agent: RecordingAgent): Promise<number> {
  let last = agent.hello.firstWindow;
  for await (const { window } of agent.windows()) last = window;
  return last;
}

class TcpFeedLink implements FeedLink {
  readonly #agent: RecordingAgent;
  readonly #link: AgentLink;
  #isStopped = false;
  #isWelcome = false;
  #duplicateCount = 0;
  #loss: Error | undefined;

  constructor(agent: RecordingAgent, { address, insecure, tls }: ConnectOptions, shift: number, clock: Clock) {
    this.#agent = agent;
    const { hello } = agent;
    const channel = { identity: hello, firstWindow: () => hello.firstWindow + shift, random: Math.random };
    this.#link = new AgentLink({ address, insecure, tls, channel }, { clock, handle: (news) => this.#handle(news) });
  }

  get canOffer(): boolean {
    return this.#link.channel.canOffer;
  }

  get isReceived(): boolean {
    return this.#link.channel.isOpen && this.#link.channel.keptBytes === 0;
  }

  start(): void {
    this.#link.start();
  }

  offer(payloads: readonly Payload[]): void {
    this.#link.offer(payloads);
  }

  async changed(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (this.#loss !== undefined) throw this.#loss;
  }

  async sayGoodbye(): Promise<void> {
    await this.stop();
  }

  /** Nobody will come back for the sockets of a replay, so the reducer need not keep them. */
  async hangUp(): Promise<void> {
    await this.stop();
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    await this.#link.stop();
  }

  #handle(news: AgentNews): void {
    const { path, hello } = this.#agent;
    if (news.kind === 'lost' && !this.#isDuplicate(news.detail))
      this.#loss = new Error(`${path}: the reducer is lost: ${describeLoss(news)}`);
    if (news.kind !== 'welcome') return;
    this.#isWelcome = true;
    const { windowNs } = news.welcome;
    if (windowNs !== hello.windowNs) {
      this.#loss = new Error(
        `${path} has windows of ${hello.windowNs} ns, the reducer of ${windowNs} ns: start it with the same --window`,
      );
    }
  }

  #isDuplicate(detail: string): boolean {
    return detail === 'DuplicateAgent' && !this.#isWelcome && ++this.#duplicateCount <= DUPLICATE_COUNT_MAX;
  }
}

function describeLoss({ reason, detail }: AgentNews & { kind: 'lost' }): string {
  if (reason === 'goodbye') return describeGoodbye(detail);
  return detail === '' ? reason : `${reason}: ${detail}`;
}

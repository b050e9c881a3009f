/**
 * One life of an agent on a host: the core in its WASM, the session and the channel as the product runs them, a clock of its own, and the
 * host's kernel as the source of events. It ends with `kill`, at any moment, or with `stop`, which says goodbye.
 */
import { AgentCore } from '../../host/agent/agent-core.ts';
import type { AgentLimits } from '../../host/agent/agent-module.ts';
import { AgentSession } from '../../host/agent/agent-session.ts';
import type { Instant } from '../../host/lib/clock.ts';
import { type AgentAction, AgentChannel } from '../../host/wire/agent-channel.ts';
import type { Payload } from '../../host/wire/channel-sender.ts';
import { frameCostBytes } from '../../host/wire/frame.ts';
import { ChannelMonitor } from './channel-monitor.ts';
import type { EndEvents, Link, LinkConnection, Listener } from './link.ts';
import type { Host } from './model-kernel.ts';
import type { Random } from './random.ts';
import type { Schedule } from './schedule.ts';

const TICK_MS = 100;
/** A scan of the sockets takes so long at most, while events of the same sockets overtake it. */
export const SCAN_MS_MAX = 150;

export interface AgentClock {
  /** Nanoseconds that this host's Unix time is off at the start, and how much it gains per nanosecond. */
  skewNs: bigint;
  drift: number;
}

export interface AgentProcessOptions {
  host: Host;
  nodeId: bigint;
  session: bigint;
  windowNs: bigint;
  clock: AgentClock;
  /** Unix nanoseconds at virtual time 0. */
  epochNs: bigint;
  blindMs: number;
  /** What the reducer will grant. */
  creditBytes: number;
  limits: AgentLimits;
}

export interface AgentProcessDependencies {
  module: WebAssembly.Module;
  schedule: Schedule;
  random: Random;
  link: Link;
  listener: Listener;
  /** A snapshot was made for another incarnation; `committedWindow`: the last of this session's windows known as committed. */
  snapshotMade: (session: bigint, incarnation: bigint, committedWindow: number) => void;
  welcomed: () => void;
  /** Killed, or stopped in peace. */
  ended: () => void;
  trace: (text: string) => void;
}

export class AgentProcess {
  readonly startMs: number;
  readonly session: bigint;
  readonly host: Host;
  readonly core: AgentCore;
  readonly channel: AgentChannel;
  readonly monitor = new ChannelMonitor();
  readonly #options: AgentProcessOptions;
  readonly #dependencies: AgentProcessDependencies;
  readonly #session: AgentSession;
  #events: Uint8Array[] = [];
  #connection: LinkConnection | undefined;
  #isAlive = true;
  /** Does nothing before this moment: a starved or stopped process. */
  #frozenUntilMs = -Infinity;
  /** What arrived while it was frozen. */
  readonly #waiting: (() => void)[] = [];
  #offeredBytesMax = 0;

  constructor(options: AgentProcessOptions, dependencies: AgentProcessDependencies) {
    const { host, nodeId, session, windowNs, blindMs, limits } = options;
    const { schedule, random, module } = dependencies;
    this.#options = options;
    this.#dependencies = dependencies;
    this.startMs = schedule.nowMs;
    this.session = session;
    this.host = host;
    this.core = new AgentCore(
      { module, hashSeed: [random.u64(), random.u64()], limits, windowNs, addressSpace: 'default', boot: host.name },
      { nameProcess: () => undefined },
    );
    this.core.setHostAddresses([host.address]);
    const now = this.#now();
    this.#session = new AgentSession(
      { monotonicToUnixNs: now.unixNs - BigInt(Math.round(schedule.nowMs * 1e6)), blindMs },
      { core: this.core, collect: () => this.#collect(), eventsLost: () => 0n },
    );
    this.channel = new AgentChannel({
      identity: {
        ...{ peerRole: 0, nodeId, bootId: 1n, session, windowNs, nodeName: host.name, scope: '' },
        ...{ zone: '', addressSpace: 'default', agentVersion: 'simulated' },
      },
      firstWindow: (instant) => this.#session.firstWindow(instant),
      random: random.next,
      zstd: random.chance(0.2),
      frameBytesMax: 65_536,
    });
    host.observer = (event) => this.#events.push(event);
    const scan = host.adopt(schedule.nowMs);
    // Nothing is told before the scan is through.
    schedule.after(random.chance(0.5) ? random.between(0, SCAN_MS_MAX) : 0, () => {
      this.#events.push(...scan);
      this.#tick();
    });
  }

  /** Between any two pieces that came from the reducer on an open channel. */
  readonly silences: { fromMs: number; toMs: number }[] = [];
  #heardMs = 0;

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isConnected(): boolean {
    return this.channel.isOpen;
  }

  freeze(forMs: number): void {
    this.#frozenUntilMs = Math.max(this.#frozenUntilMs, this.#dependencies.schedule.nowMs + forMs);
  }

  kill(): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.#dependencies.ended();
    this.host.observer = undefined;
    this.#connection?.closeAtAgent();
  }

  /** The channel reports `stopped` later, or at once. */
  stop(): void {
    const now = this.#now();
    if (this.channel.canOffer) this.#offer(this.#session.tellLast(now));
    this.#perform(this.channel.stop(now));
  }

  #hear(): void {
    const { nowMs } = this.#dependencies.schedule;
    if (this.channel.isOpen) this.silences.push({ fromMs: this.#heardMs, toMs: nowMs });
    this.#heardMs = nowMs;
  }

  #tick(): void {
    const { schedule, random } = this.#dependencies;
    if (!this.#isAlive) return;
    if (schedule.nowMs >= this.#frozenUntilMs) {
      const now = this.#now();
      this.#perform(this.channel.tick(now));
      if (this.#isAlive && this.channel.canOffer) this.#offer(this.#session.tell(now));
    }
    schedule.after(TICK_MS * (0.9 + 0.2 * random.next()), () => this.#tick());
  }

  #collect(): void {
    this.#events.push(...this.host.totals(this.#dependencies.schedule.nowMs));
    this.core.events(Buffer.concat(this.#events.splice(0)));
  }

  #perform(actions: readonly AgentAction[]): void {
    for (const action of actions) {
      switch (action.kind) {
        case 'connect':
          this.#connect();
          break;
        case 'send':
          this.monitor.sent(action.bytes);
          this.#connection?.sendToReducer(action.bytes);
          break;
        case 'close':
          this.#connection?.closeAtAgent();
          this.#connection = undefined;
          break;
        case 'lost':
          this.#dependencies.trace(`${this.host.name} lost the reducer: ${action.reason} ${action.detail}`);
          this.monitor.lost(action.reason, action.detail);
          break;
        case 'stopped':
          this.#dependencies.trace(`${this.host.name} stopped`);
          this.kill();
          break;
        case 'welcome':
          this.#welcomed(action.resume, action.welcome.incarnation, action.welcome.creditBytes);
          this.#news(action);
          break;
        default:
          this.#news(action);
      }
    }
  }

  #news(action: AgentAction): void {
    const payloads = this.#session.handle(action, this.#now());
    if (payloads.length > 0) this.#offer(payloads);
  }

  /** What is kept never exceeds the credit by more than what was offered at once. */
  #offer(payloads: readonly Payload[]): void {
    const offeredBytes = payloads.reduce((sum, { payload }) => sum + frameCostBytes(payload.length), 0);
    this.#offeredBytesMax = Math.max(this.#offeredBytesMax, offeredBytes);
    this.#perform(this.channel.offer(payloads));
    if (this.channel.keptBytes > this.#options.creditBytes + this.#offeredBytesMax)
      this.monitor.broken.push(`${this.channel.keptBytes} bytes kept, ${this.#options.creditBytes} of credit`);
  }

  #welcomed(resume: boolean, incarnation: bigint, creditBytes: bigint): void {
    const { window } = this.channel.committed;
    this.monitor.welcomed(resume, Number(creditBytes));
    this.#dependencies.welcomed();
    this.#dependencies.trace(
      `${this.host.name} welcome by ${incarnation.toString(16)}, ${resume ? 'resumes' : `snapshot after committed ${window}`}`,
    );
    if (!resume) this.#dependencies.snapshotMade(this.session, incarnation, window);
  }

  #connect(): void {
    const { link, listener } = this.#dependencies;
    let connection: LinkConnection | undefined;
    // The shell reports events of the newest connection only.
    const isCurrent = (): boolean => this.#isAlive && this.#connection === connection;
    const events: EndEvents = {
      bytes: (piece) => {
        this.#whenAwake(() => {
          if (!isCurrent()) return;
          this.#hear();
          this.monitor.received(piece);
          this.#perform(this.channel.bytes(piece, this.#now()));
        });
      },
      closed: () => {
        this.#whenAwake(() => {
          if (isCurrent()) this.#perform(this.channel.disconnected(this.#now()));
        });
      },
    };
    this.#connection = undefined;
    link.connect(events, listener, (made) => {
      if (!this.#isAlive || connection !== undefined) return made.closeAtAgent();
      connection = made;
      this.#connection = made;
      this.monitor.connected();
      this.#perform(this.channel.connected(this.#now()));
    });
  }

  /** In the order of arrival, however often it was frozen. */
  #whenAwake(run: () => void): void {
    this.#waiting.push(run);
    if (this.#waiting.length === 1) this.#wake();
  }

  #wake(): void {
    const { schedule } = this.#dependencies;
    if (schedule.nowMs < this.#frozenUntilMs) return schedule.at(this.#frozenUntilMs, () => this.#wake());
    while (this.#waiting.length > 0) this.#waiting.shift()?.();
  }

  #now(): Instant {
    const { schedule } = this.#dependencies;
    const { clock, epochNs } = this.#options;
    const elapsedNs = BigInt(Math.round(schedule.nowMs * (1 + clock.drift) * 1e6));
    return { ms: schedule.nowMs, unixNs: epochNs + clock.skewNs + elapsedNs };
  }
}

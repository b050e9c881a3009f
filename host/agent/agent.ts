/**
 * A running agent. Four things happen on one thread: the ring is drained every few milliseconds, the end of a window reads totals and tells
 * them, the link to the reducer asks for snapshots and confirms windows, and now and then the host's addresses are looked at. Without a
 * reducer, or without credit, windows coalesce in agent.wasm.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Collector } from '@tributary/bpf';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { Payload } from '../wire/channel-sender.ts';
import { PROTOCOL_VERSION } from '../wire/control.ts';
import { PeerRole, type Welcome } from '../wire/gen/wire-layout.ts';
import type { Hello } from '../wire/gen/wire-tables.ts';
import { RecordingWriter } from '../wire/recording.ts';
import { formatAddress } from '../wire/transport/address.ts';
import { AgentLink, type AgentNews } from '../wire/transport/agent-link.ts';
import { AgentCore } from './agent-core.ts';
import { CgroupPaths, findCgroupRoot } from './cgroup-paths.ts';
import { readHostAddresses } from './host-addresses.ts';
import { AgentLock, createIdentity, type Identity, LookNote } from './identity.ts';
import { KernelSource } from './kernel-source.ts';
import type { AgentOptions } from './options.ts';
import { nameEnded, nameProcess } from './processes.ts';

const ADDRESS_SPACE = 'default';
const AGENT_VERSION = '0.1.0';
/**
 * The ring holds 40 000 events: at the longest pause, 400 000 a second fit. Where something happens it is looked at more often, because a
 * process can be named only while it runs.
 */
const DRAIN_PAUSE_MS_MIN = 5;
const DRAIN_PAUSE_MS_MAX = 100;
const ADDRESSES_PERIOD_MS = 10_000;
const LOSS_LOG_PERIOD_MS = 10_000;
/** At the end: for credit, so that the open window can be told. */
const STOP_PATIENCE_MS = 1_000;
/** The recording is a reducer of its own to the snapshot logic, when there is no other. */
const FILE_INCARNATION = 1n;

export interface AgentDependencies {
  log: Logger;
  clock: Clock;
  /** agent.wasm. */
  module: WebAssembly.Module;
  /** The probes, loaded for the scope of the options. */
  loadCollector: (scopeInode: number) => Collector;
  /** Nothing can be told any more: the process has to end. */
  fail: (error: Error) => void;
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #dependencies: AgentDependencies;
  readonly #identity: Identity = createIdentity();
  readonly #scope: string;
  readonly #core: AgentCore;
  #source: KernelSource | undefined;
  #lock: AgentLock | undefined;
  #note: LookNote | undefined;
  #link: AgentLink | undefined;
  #recording: RecordingWriter | undefined;
  /** Settles when what was given to the recording is in the file. */
  #written: Promise<void> = Promise.resolve();
  #writing = 0;
  /** From the agent's Unix time to the reducer's. */
  #reducerOffsetNs = 0n;
  #blindMs = 0;
  #drainTimer: NodeJS.Timeout | undefined;
  #windowTimer: NodeJS.Timeout | undefined;
  #addressTimer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #lossesLogged = 0;
  #lossLogMs = -Infinity;

  constructor(options: AgentOptions, dependencies: AgentDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#scope = options.scope === undefined ? '' : `netns:${options.scope.inode}`;
    const hashSeed = [randomBytes(8).readBigUInt64LE(), randomBytes(8).readBigUInt64LE()] as const;
    const { boot } = this.#identity;
    const cgroupPaths = new CgroupPaths(findCgroupRoot(), () => dependencies.clock().ms);
    this.#core = new AgentCore(
      { module: dependencies.module, hashSeed, windowNs: options.windowNs, addressSpace: ADDRESS_SPACE, boot },
      { nameProcess: (process) => nameProcess(process) ?? nameEnded(process, cgroupPaths) },
    );
  }

  /** Throws UsageError when another agent looks already, or when nothing can be observed. */
  async start(): Promise<void> {
    const { log, clock, loadCollector } = this.#dependencies;
    this.#lock = await AgentLock.take(this.#identity, this.#scope);
    // Numbers of namespaces are given out again, their names hardly.
    this.#note = new LookNote(this.#scope === '' ? 'agent' : `agent-${this.#scope}-${this.#options.node}`);
    this.#blindMs = this.#note.blindMs(Date.now());
    this.#source = new KernelSource(loadCollector(this.#options.scope?.inode ?? 0), this.#core);
    this.#core.begin(this.#windowOf(clock().unixNs));
    for (const { hook, backend, attached, error } of this.#source.start()) {
      if (attached) log.info({ hook, backend }, `${hook}: ${backend}`);
      else log.warn({ hook, error }, `${hook}: not available`);
    }
    await this.#readAddresses();
    this.#addressTimer = setInterval(() => void this.#readAddresses(), ADDRESSES_PERIOD_MS);
    await this.#openOutputs();
    this.#isLooking = true;
    this.#drain(DRAIN_PAUSE_MS_MIN);
    this.#awaitWindow();
    log.info({ node: this.#options.node, scope: this.#scope, blindMs: this.#blindMs }, 'looking');
  }

  /** Tells the open window, says goodbye, detaches; also after a start that failed. Takes at most about four seconds. */
  async stop(): Promise<void> {
    clearTimeout(this.#drainTimer);
    clearTimeout(this.#windowTimer);
    clearInterval(this.#addressTimer);
    if (this.#isLooking) await this.#tellOpenWindow();
    await this.#link?.stop();
    await this.#written;
    await this.#recording?.close();
    this.#source?.stop();
    await this.#lock?.release();
    this.#dependencies.log.info('stopped');
  }

  async #tellOpenWindow(): Promise<void> {
    for (let waitedMs = 0; !this.#canTell() && waitedMs < STOP_PATIENCE_MS; waitedMs += 50) await sleep(50);
    this.#endWindow(Math.max(this.#openWindow(), this.#core.toldWindow + 1));
  }

  async #openOutputs(): Promise<void> {
    const { clock } = this.#dependencies;
    const { output, reducer } = this.#options;
    if (output !== undefined) {
      const recording = new RecordingWriter(output, this.#hello(clock().unixNs));
      await recording.open();
      this.#recording = recording;
    }
    if (reducer === undefined) {
      this.#snapshot(FILE_INCARNATION);
      return;
    }
    const channel = {
      identity: this.#hello(clock().unixNs),
      firstWindow: () => Math.max(this.#openWindow(), this.#core.toldWindow + 1),
      random: Math.random,
    };
    this.#link = new AgentLink({ ...reducer, channel }, { clock, handle: (news) => this.#handle(news) });
    this.#link.start();
  }

  #hello(agentTimeNs: bigint): Hello {
    const { nodeId, bootId, session } = this.#identity;
    return {
      protocolVersion: PROTOCOL_VERSION,
      peerRole: PeerRole.Agent,
      nodeId,
      bootId,
      session,
      incarnation: 0n,
      agentTimeNs,
      windowNs: this.#core.windowNs,
      firstWindow: this.#openWindow(),
      committedWindow: 0,
      committedClosedWindow: 0,
      nodeName: this.#options.node,
      scope: this.#scope,
      zone: this.#options.zone,
      addressSpace: ADDRESS_SPACE,
      agentVersion: AGENT_VERSION,
    };
  }

  #handle(news: AgentNews): void {
    const { log } = this.#dependencies;
    switch (news.kind) {
      case 'clock':
        this.#reducerOffsetNs = news.offsetNs;
        break;
      case 'commit':
        this.#core.commit(news.window);
        break;
      case 'welcome':
        this.#welcome(news.resume, news.welcome);
        break;
      case 'lost':
        log.warn({ reason: news.reason, detail: news.detail }, `connection lost: ${news.reason}`);
        break;
      case 'stopped':
        break;
    }
  }

  #welcome(resume: boolean, welcome: Welcome): void {
    const { reducer } = this.#options;
    const incarnation = welcome.incarnation.toString(16).padStart(16, '0');
    const address = reducer === undefined ? '' : formatAddress(reducer.address);
    this.#dependencies.log.info(
      { incarnation, resume, offsetMs: Number(this.#reducerOffsetNs) / 1e6 },
      `connected to ${address}`,
    );
    if (welcome.windowNs !== this.#core.windowNs) {
      this.#core.setWindowLength(welcome.windowNs);
      this.#awaitWindow();
    }
    if (!resume) this.#snapshot(welcome.incarnation);
  }

  #snapshot(incarnation: bigint): void {
    this.#source?.drain();
    const window = Math.max(this.#openWindow(), this.#core.toldWindow + 1);
    this.#tell(this.#core.encodeSnapshot(window, incarnation, this.#clockOffsetNs()));
  }

  #tell(payloads: readonly Payload[], window = 0): void {
    this.#link?.offer(payloads);
    if (this.#recording === undefined) return;
    this.#writing++;
    this.#written = this.#written.then(() => this.#record(payloads, window));
  }

  /** A file alone is its own commit: what it holds need not be remembered. */
  async #record(payloads: readonly Payload[], window: number): Promise<void> {
    try {
      await this.#recording?.write(payloads);
      if (this.#link === undefined && window > 0) this.#core.commit(window);
    } catch (error) {
      this.#recording = undefined;
      this.#dependencies.log.error({ err: error }, `the recording ends here: ${this.#options.output}`);
      if (this.#link === undefined) this.#dependencies.fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#writing--;
    }
  }

  #canTell(): boolean {
    return this.#writing === 0 && (this.#link === undefined || this.#link.channel.canOffer);
  }

  #endWindow(window: number): void {
    this.#source?.readTotals();
    this.#note?.touch(Date.now());
    this.#logLosses();
    if (window <= this.#core.toldWindow || !this.#canTell()) return;
    const context = {
      clockOffsetNs: this.#clockOffsetNs(),
      agentTimeNs: this.#dependencies.clock().unixNs,
      eventsLost: BigInt(this.#lossCount()),
      blindMs: this.#blindMs,
    };
    this.#tell(this.#core.encodeWindow(window, context), window);
  }

  #lossCount(): number {
    const { events, states } = this.#source?.losses() ?? { events: 0, states: 0 };
    return events + states;
  }

  #logLosses(): void {
    const { log, clock } = this.#dependencies;
    const lost = this.#lossCount();
    if (lost === this.#lossesLogged || clock().ms - this.#lossLogMs < LOSS_LOG_PERIOD_MS) return;
    log.warn({ lost: lost - this.#lossesLogged, ...this.#source?.losses() }, 'events of the kernel were lost');
    this.#lossesLogged = lost;
    this.#lossLogMs = clock().ms;
  }

  #drain(pauseMs: number): void {
    this.#drainTimer = setTimeout(() => {
      const hasMoved = (this.#source?.drain() ?? 0) > 0;
      this.#drain(hasMoved ? DRAIN_PAUSE_MS_MIN : Math.min(DRAIN_PAUSE_MS_MAX, pauseMs * 2));
    }, pauseMs);
  }

  /** The end of the open window, in the reducer's time. */
  #awaitWindow(): void {
    clearTimeout(this.#windowTimer);
    const { windowNs } = this.#core;
    const leftNs = windowNs - (this.#reducerTimeNs() % windowNs);
    this.#windowTimer = setTimeout(
      () => {
        this.#endWindow(this.#openWindow() - 1);
        this.#awaitWindow();
      },
      Math.ceil(Number(leftNs) / 1e6),
    );
  }

  #reducerTimeNs(): bigint {
    return this.#dependencies.clock().unixNs + this.#reducerOffsetNs;
  }

  #openWindow(): number {
    return this.#windowOf(this.#reducerTimeNs());
  }

  #windowOf(timeNs: bigint): number {
    return Number(timeNs / this.#core.windowNs);
  }

  /** CLOCK_MONOTONIC, the clock of the events, is the one behind process.hrtime. */
  #clockOffsetNs(): bigint {
    return this.#reducerTimeNs() - process.hrtime.bigint();
  }

  async #readAddresses(): Promise<void> {
    try {
      this.#core.setHostAddresses(await readHostAddresses(this.#options.scope?.path));
    } catch (error) {
      this.#dependencies.log.warn({ err: error }, 'the addresses of the host are not known');
    }
  }
}

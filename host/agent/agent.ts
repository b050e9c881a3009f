/**
 * A running agent. Four things happen on one thread: the ring is drained every few milliseconds, the end of a window reads totals and tells
 * them, the link to the reducer asks for snapshots and confirms windows, and now and then the host's addresses are looked at. Without a
 * reducer, or without credit, windows coalesce in agent.wasm.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Collector, HookStatus } from '@tributary/bpf';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import { VERSION } from '../lib/version.ts';
import { LimitedLog } from '../telemetry/limited-log.ts';
import { CredentialKeeper } from '../tls/credential-keeper.ts';
import type { Payload } from '../wire/channel-sender.ts';
import { PROTOCOL_VERSION } from '../wire/control.ts';
import { PeerRole, TallyKind } from '../wire/gen/wire-layout.ts';
import type { Hello } from '../wire/gen/wire-tables.ts';
import { describeGoodbye } from '../wire/goodbye-words.ts';
import { formatAddress } from '../wire/transport/address.ts';
import { AgentLink, type AgentNews } from '../wire/transport/agent-link.ts';
import { AgentCore } from './agent-core.ts';
import { AgentSession } from './agent-session.ts';
import { CgroupPaths, findCgroupRoot } from './cgroup-paths.ts';
import { ContainerNames } from './container-names.ts';
import { containerdRuntime } from './containerd-names.ts';
import { CostWatch } from './cost-watch.ts';
import { dockerRuntime } from './docker-names.ts';
import { readHostAddresses } from './host-addresses.ts';
import { AgentLock, createIdentity, type Identity } from './identity.ts';
import { KernelSource } from './kernel-source.ts';
import type { KernelSymbols } from './kernel-symbols.ts';
import { LookNote } from './look-note.ts';
import { LossLog } from './loss-log.ts';
import type { AgentOptions } from './options.ts';
import { type KeptOfProcesses, nameOwner } from './processes.ts';
import { Recorder } from './recorder.ts';
import { formatScope } from './scope.ts';
import type { SpentMemory } from './spent-memory.ts';

const ADDRESS_SPACE = 'default';
/**
 * The ring holds 40 000 events, of which a quarter wakes the agent. So does what names a process that it does not know, because only while
 * a process runs all of it can be told; many such processes are looked at together.
 */
const DRAIN_PAUSE_MS_MIN = 5;
const DRAIN_PAUSE_MS_MAX = 100;
/** While a window waits for credit. */
const TELL_RETRY_MS = 50;
const ADDRESSES_PERIOD_MS = 10_000;
/** At the end: for credit, so that the open window can be told. */
const STOP_PATIENCE_MS = 1_000;
/** A file without a reducer beside it is told what a reducer would be told. */
const FILE_INCARNATION = 1n;

export interface AgentDependencies {
  log: Logger;
  clock: Clock;
  /** agent.wasm. */
  module: WebAssembly.Module;
  /** The probes, loaded for the scope of the options. */
  loadCollector: () => Collector;
  /** What Hello tells of the machine and of the probes. */
  readFacts: (hooks: readonly HookStatus[]) => Pick<Hello, 'findings' | 'hooks'>;
  /** Names the places where the kernel drops packets. */
  symbols: KernelSymbols;
  memory: SpentMemory;
  /** Nothing can be told any more: the process has to end. */
  fail: (error: Error) => void;
}

/** What exists while somebody looks. */
interface Look {
  source: KernelSource;
  session: AgentSession;
  note: LookNote;
  losses: LossLog;
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #dependencies: AgentDependencies;
  readonly #identity: Identity = createIdentity();
  readonly #scope: string;
  readonly #core: AgentCore;
  readonly #containers: readonly ContainerNames[];
  #lock: AgentLock | undefined;
  #source: KernelSource | undefined;
  #look: Look | undefined;
  #link: AgentLink | undefined;
  readonly #limitedLog: LimitedLog;
  readonly #credentials: CredentialKeeper | undefined;
  #recorder: Recorder | undefined;
  #drainTimer: NodeJS.Timeout | undefined;
  #lastDrainMs = 0;
  #isWoken = false;
  #tellTimer: NodeJS.Timeout | undefined;
  #costWatch: CostWatch | undefined;
  #addressTimer: NodeJS.Timeout | undefined;

  constructor(options: AgentOptions, dependencies: AgentDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#limitedLog = new LimitedLog(dependencies.log);
    const files = options.reducer?.tls;
    const renewed = (): void => this.#link?.retry();
    this.#credentials = files && new CredentialKeeper({ files }, { log: dependencies.log, now: Date.now, renewed });
    this.#scope = formatScope(options.scope);
    const hashSeed = [randomBytes(8).readBigUInt64LE(), randomBytes(8).readBigUInt64LE()] as const;
    const { boot } = this.#identity;
    const kept: KeptOfProcesses = {
      paths: new CgroupPaths(findCgroupRoot(), () => dependencies.clock().ms),
      executableOf: (process) => this.#source?.executableOf(process),
    };
    const runtimes = [dockerRuntime(options.containerSocket), containerdRuntime(options.containerdSocket)];
    this.#containers = runtimes.map(
      (runtime) =>
        new ContainerNames(
          { runtime },
          {
            ...{ log: dependencies.log, random: Math.random },
            named: (containerId, name) => this.#core.nameContainer(containerId, name),
          },
        ),
    );
    this.#core = new AgentCore(
      {
        module: dependencies.module,
        hashSeed,
        windowNs: options.windowNs,
        addressSpace: ADDRESS_SPACE,
        boot,
        dnsNames: options.dnsNames,
      },
      {
        nameProcess: (process) => {
          const name = nameOwner(process, kept);
          return name && this.#containers.reduce((known, names) => names.complete(known), name);
        },
        // Text names itself, so what is left are places of drops.
        nameLabel: ({ detail, value }) => dependencies.symbols.nameDropSite(detail, value),
      },
    );
  }

  /** Throws UsageError when another agent looks already, or when nothing can be observed. */
  async start(): Promise<void> {
    await this.#credentials?.start();
    await Promise.all(this.#containers.map((names) => names.start()));
    this.#lock = await AgentLock.take(this.#identity, this.#scope);
    this.#look = this.#startLooking();
    await this.#readAddresses();
    const { note } = this.#look;
    this.#addressTimer = setInterval(() => {
      this.#touch(note);
      void this.#readAddresses();
    }, ADDRESSES_PERIOD_MS);
    await this.#openOutputs(this.#look);
    const look = this.#look;
    look.source.onWake(() => this.#wake(look));
    this.#drainIn(look, 0);
    this.#awaitWindow(look);
    this.#dependencies.memory.afterBurst();
    this.#dependencies.log.info({ node: this.#options.node, scope: this.#scope }, 'looking');
  }

  /** Reads what can change without a restart: the certificates. */
  async reload(): Promise<void> {
    await this.#credentials?.reload();
  }

  /** Tells the open window, says goodbye, detaches; also after a start that failed. Takes at most about four seconds. */
  async stop(): Promise<void> {
    // Nothing wakes it any more.
    this.#isWoken = true;
    clearTimeout(this.#drainTimer);
    clearTimeout(this.#tellTimer);
    clearInterval(this.#addressTimer);
    this.#costWatch?.stop();
    this.#credentials?.stop();
    for (const names of this.#containers) names.stop();
    this.#dependencies.memory.stop();
    this.#limitedLog.flush();
    if (this.#look !== undefined) await this.#tellOpenWindow(this.#look);
    const wasConnected = this.#link?.channel.isOpen ?? false;
    await this.#link?.stop();
    this.#tellGivenUp(wasConnected);
    try {
      await this.#recorder?.close();
    } finally {
      this.#source?.stop();
      await this.#lock?.release();
    }
    this.#dependencies.log.info('stopped');
  }

  /** What it holds now, for a log. */
  state(): object {
    const { toldWindow, nextWindow, counters } = this.#core;
    const channel = this.#link?.channel;
    return {
      windows: { told: toldWindow, next: nextWindow, committed: channel?.committed.window },
      reducer: channel && { connected: channel.isOpen, keptBytes: channel.keptBytes, creditBytes: channel.creditBytes },
      core: counters,
      ...(this.#costWatch && { cost: this.#costWatch.cost, shed: this.#costWatch.shed }),
      kernel: this.#source?.stats(),
    };
  }

  /** Which backend serves each hook; undefined where none does. Empty before `start`. */
  get hooks(): Readonly<Record<string, string | undefined>> {
    const hooks = this.#source?.stats().hooks ?? [];
    return Object.fromEntries(hooks.map(({ hook, backend, attached }) => [hook, attached ? backend : undefined]));
  }

  /** `wasConnected`: when the link began to stop. */
  #tellGivenUp(wasConnected: boolean): void {
    if (this.#link === undefined) return;
    const { keptBytes } = this.#link.channel;
    if (!wasConnected) this.#dependencies.log.warn('stopping without a reducer: what it was not told is given up');
    else if (keptBytes > 0) this.#dependencies.log.warn({ keptBytes }, 'stopping before the reducer had everything');
  }

  #startLooking(): Look {
    const { log, clock, loadCollector } = this.#dependencies;
    const { scope, node } = this.#options;
    const note = new LookNote({ scope, node });
    const blindMs = note.blindMs(Date.now());
    const source = new KernelSource(loadCollector(), this.#core);
    this.#source = source;
    for (const { hook, backend, attached, error } of source.start()) {
      if (attached) log.info({ hook, backend }, `${hook}: ${backend}`);
      else log.warn({ hook, error }, `${hook}: not available`);
    }
    const losses = new LossLog(log, clock);
    const now = clock();
    const session = new AgentSession(
      // CLOCK_MONOTONIC, the clock of the events, is the one behind process.hrtime, and behind the clock that follows it.
      { monotonicToUnixNs: now.unixNs - process.hrtime.bigint(), blindMs },
      {
        ...{ core: this.#core, collect: () => source.readTotals(), eventsLost: () => BigInt(source.losses().events) },
        kernelLosses: () => source.otherLosses(),
      },
    );
    session.begin(now);
    this.#touch(note);
    if (this.#options.cpuLimit !== undefined) this.#watchCost(source, this.#options.cpuLimit);
    if (blindMs > 0) log.info({ blindMs }, `nobody looked for ${blindMs} ms`);
    return { source, session, note, losses };
  }

  #watchCost(source: KernelSource, limit: number): void {
    const { log, clock } = this.#dependencies;
    this.#costWatch = new CostWatch(source, {
      ...{ limit, log, clock },
      countShed: (step, seconds) => this.#core.tallyHost(TallyKind.Shed, step, seconds),
    });
    this.#costWatch.start();
  }

  async #openOutputs(look: Look): Promise<void> {
    const { clock } = this.#dependencies;
    const { output, reducer } = this.#options;
    const hello = this.#hello(look.session.firstWindow(clock()));
    if (output !== undefined) {
      this.#recorder = await Recorder.open(output, hello, {
        // A file alone is its own commit: what it holds need not be remembered.
        written: (window) => {
          if (reducer === undefined) this.#core.commit(window);
        },
        failed: (error) => this.#recordingFailed(error),
      });
    }
    if (reducer === undefined) {
      this.#offer(look.session.snapshot(FILE_INCARNATION, clock()));
      return;
    }
    const channel = {
      identity: hello,
      firstWindow: look.session.firstWindow.bind(look.session),
      random: Math.random,
      zstd: this.#options.zstd,
    };
    const { address, insecure, serverName } = reducer;
    const keeper = this.#credentials;
    const tls = keeper && { credentials: () => keeper.credentials, serverName };
    const handle = (news: AgentNews): void => this.#handle(look, news);
    this.#link = new AgentLink({ address, insecure, tls, channel }, { clock, handle });
    this.#link.start();
  }

  #hello(firstWindow: number): Hello {
    const { nodeId, bootId, session } = this.#identity;
    return {
      protocolVersion: PROTOCOL_VERSION,
      peerRole: PeerRole.Agent,
      ...{ nodeId, bootId, session, firstWindow },
      ...{ incarnation: 0n, committedWindow: 0, committedClosedWindow: 0 },
      agentTimeNs: this.#dependencies.clock().unixNs,
      windowNs: this.#core.windowNs,
      nodeName: this.#options.node,
      scope: this.#scope,
      zone: this.#options.zone,
      addressSpace: ADDRESS_SPACE,
      agentVersion: VERSION,
      ...this.#dependencies.readFacts(this.#source?.stats().hooks ?? []),
    };
  }

  #handle(look: Look, news: AgentNews): void {
    const { log, clock } = this.#dependencies;
    const { session } = look;
    if (news.kind === 'lost') {
      const why = news.reason === 'goodbye' ? describeGoodbye(news.detail) : news.detail;
      const message = `connection lost: ${news.reason}${why === '' ? '' : `: ${why}`}`;
      this.#limitedLog.warn(news.reason, { detail: news.detail }, message);
    } else if (news.kind === 'welcome') {
      const incarnation = news.welcome.incarnation.toString(16).padStart(16, '0');
      const address = this.#options.reducer === undefined ? '' : formatAddress(this.#options.reducer.address);
      log.info({ incarnation, resume: news.resume }, `connected to ${address}`);
    }
    const snapshot = session.handle(news, clock());
    if (news.kind === 'welcome' || news.kind === 'clock') this.#awaitWindow(look);
    if (snapshot.length === 0) return;
    this.#offer(snapshot);
    this.#dependencies.memory.afterBurst();
  }

  #offer(payloads: readonly Payload[], window = 0): void {
    this.#link?.offer(payloads);
    this.#recorder?.write(payloads, window);
  }

  #recordingFailed(error: Error): void {
    this.#dependencies.log.error({ err: error }, `the recording ends here: ${this.#options.output}`);
    if (this.#link === undefined) this.#dependencies.fail(error);
  }

  #canTell(): boolean {
    return (this.#recorder?.isIdle ?? true) && (this.#link?.channel.canOffer ?? true);
  }

  /** Tells the windows that have ended as soon as there is credit. `retryMs`: news may have moved the window's end, or one waits. */
  #awaitWindow(look: Look, retryMs = TELL_RETRY_MS): void {
    const { clock } = this.#dependencies;
    clearTimeout(this.#tellTimer);
    this.#tellTimer = setTimeout(
      () => {
        const canTell = this.#canTell();
        const payloads = canTell ? look.session.tell(clock()) : [];
        if (payloads.length > 0) this.#told(look, payloads);
        this.#awaitWindow(look, canTell ? Number.POSITIVE_INFINITY : TELL_RETRY_MS);
      },
      Math.min(retryMs, Math.ceil(look.session.msToWindowEnd(clock()))),
    );
  }

  #told({ source, note, losses }: Look, payloads: readonly Payload[]): void {
    this.#offer(payloads, this.#core.toldWindow);
    this.#dependencies.memory.afterWindow(payloads.reduce((sum, { payload }) => sum + payload.length, 0));
    this.#touch(note);
    losses.note(source.losses());
  }

  /** Without the note the next agent does not know for how long nobody looked; what this one tells is the same. */
  #touch(note: LookNote): void {
    try {
      note.touch(Date.now());
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#limitedLog.warn('look_note', { why }, `cannot note when the agent looked: ${why}`);
    }
  }

  async #tellOpenWindow(look: Look): Promise<void> {
    for (let waitedMs = 0; !this.#canTell() && waitedMs < STOP_PATIENCE_MS; waitedMs += TELL_RETRY_MS)
      await sleep(TELL_RETRY_MS);
    if (this.#canTell()) this.#told(look, look.session.tellLast(this.#dependencies.clock()));
  }

  #wake(look: Look): void {
    if (this.#isWoken) return;
    this.#isWoken = true;
    this.#drainIn(look, Math.max(0, this.#lastDrainMs + DRAIN_PAUSE_MS_MIN - performance.now()));
  }

  #drainIn(look: Look, delayMs: number): void {
    clearTimeout(this.#drainTimer);
    this.#drainTimer = setTimeout(() => {
      this.#isWoken = false;
      this.#lastDrainMs = performance.now();
      look.source.drain();
      this.#drainIn(look, DRAIN_PAUSE_MS_MAX);
    }, delayMs);
  }

  async #readAddresses(): Promise<void> {
    const { scope } = this.#options;
    try {
      this.#core.setHostAddresses(await readHostAddresses(scope?.kind === 'netns' ? scope.path : undefined));
    } catch (error) {
      this.#dependencies.log.warn({ err: error }, 'the addresses of the host are not known');
    }
  }
}

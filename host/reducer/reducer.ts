/**
 * A running reducer: agents connect to its workers, closed windows go to the exporter, and what is exported is committed to the agents.
 * The exporter and the clock come from outside; the process's exit is the caller's.
 */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Credentials } from '../tls/credentials.ts';
import { HANDSHAKE_REFUSALS, type RefusedConnection } from '../tls/refusal.ts';
import { GoodbyeReason } from '../wire/gen/wire-layout.ts';
import type { Hello } from '../wire/gen/wire-tables.ts';
import { formatAddress, type ListenAddress } from '../wire/transport/address.ts';
import type { ClosedWindow } from './closed-window.ts';
import type { SessionState } from './coordinator.ts';
import { Engine, type EngineNews } from './engine.ts';
import { openHugePages } from './huge-pages.ts';
import type { WorkerReading } from './worker-pool.ts';

export interface ReducerOptions {
  listen: readonly ListenAddress[];
  insecure: boolean;
  workers: number;
  /** An agent with a certificate has to call its node by one of the certificate's names. */
  verifyNodeNames?: boolean;
  windowNs: bigint;
  latenessNs: bigint;
  /** How long Welcome is held back after the start; 0 where no agent can have spoken to an earlier reducer. */
  recoveryMs?: number;
  /** Histograms of RTT at the id levels too; a single host can afford them. */
  idHistograms?: boolean;
  /** Rows of a level in a window; what exceeds them is added to (other). Without it as many as there are. */
  seriesBudget?: number;
}

export interface ReducerDependencies {
  log: Logger;
  clock: Clock;
  /** 64 bits that nobody can guess. */
  random64: () => bigint;
  /** Called once for every window, in order. `exported` has to follow, now or later. */
  closeWindow: (closed: ClosedWindow) => void;
  /** The agents were told that everything up to and with `window` is committed. */
  committed?: (window: number) => void;
  /** A worker thread has died: the process has to end. */
  fail: (error: Error) => void;
}

export type GoodbyeReasonName = keyof typeof GoodbyeReason;

export interface WindowCounts {
  complete: number;
  late: number;
}

export class Reducer {
  readonly #options: ReducerOptions;
  readonly #dependencies: ReducerDependencies;
  readonly #engine: Engine;
  readonly #incarnation: bigint;
  readonly #windows: WindowCounts = { complete: 0, late: 0 };
  readonly #agentsRefused: Partial<Record<GoodbyeReasonName, number>> = {};
  readonly #limitedLog: LimitedLog;
  #addresses: ListenAddress[] = [];

  constructor(options: ReducerOptions, dependencies: ReducerDependencies) {
    const { log, clock, random64, fail } = dependencies;
    const { workers, windowNs, latenessNs, recoveryMs, idHistograms, seriesBudget, verifyNodeNames } = options;
    this.#options = options;
    this.#dependencies = dependencies;
    this.#limitedLog = new LimitedLog(log);
    this.#incarnation = random64();
    this.#engine = new Engine(
      {
        ...{ workers, windowNs, latenessNs, recoveryMs, idHistograms, seriesBudget, verifyNodeNames },
        ...{ incarnation: this.#incarnation, hashSeed: random64() },
      },
      {
        clock,
        handle: (news) => this.#handle(news),
        refused: (refused) => this.#connectionRefused(refused),
        fail: (worker, error) => {
          log.fatal({ worker, err: error }, 'a worker failed');
          fail(error);
        },
      },
    );
  }

  get incarnation(): bigint {
    return this.#incarnation;
  }

  /** Where agents may connect, with the ports that were chosen. */
  get addresses(): readonly ListenAddress[] {
    return this.#addresses;
  }

  get openWindow(): number {
    return this.#engine.coordinator.openWindow;
  }

  /** The agents that are known now. */
  get sessions(): SessionState[] {
    return this.#engine.coordinator.sessions();
  }

  /** Hellos that were answered with a Goodbye since the start, by its reason; reasons that never occurred are left out. */
  get agentsRefused(): Readonly<Partial<Record<GoodbyeReasonName, number>>> {
    return this.#agentsRefused;
  }

  /** Windows closed since the start, by whether all connected agents had told them. */
  get windows(): Readonly<WindowCounts> {
    return this.#windows;
  }

  /**
   * With `credentials` TCP addresses are for TLS. Throws UsageError when an address is taken or must not be used, and an Error when
   * reducer.wasm is missing.
   */
  async start(credentials?: Credentials): Promise<void> {
    const { listen, insecure, workers, windowNs } = this.#options;
    await this.#engine.start();
    try {
      for (const address of listen) this.#addresses.push(await this.#engine.listen({ address, insecure, credentials }));
    } catch (error) {
      await this.#engine.stop();
      throw error;
    }
    const addresses = this.#addresses.map(formatAddress).join(' ');
    const windowMs = Number(windowNs / 1_000_000n);
    const { log } = this.#dependencies;
    const { missing } = openHugePages();
    if (missing !== undefined) log.info(`no huge pages: ${missing}`);
    log.info({ incarnation: formatId(this.#incarnation), workers, windowMs }, `listening on ${addresses}`);
  }

  /** Every push exporter has succeeded for the closed `window` and all before it. */
  exported(window: number): void {
    this.#engine.exported(window);
  }

  /** While true no window is sealed; one that is under way closes. */
  hold(isHeld: boolean): void {
    this.#engine.hold(isHeld);
  }

  /** For connections from now on; those that exist go on. */
  renew(credentials: Credentials): void {
    this.#engine.renew(credentials);
  }

  readCounters(): Promise<WorkerReading[]> {
    return this.#engine.readCounters();
  }

  /** Lets the window that is closing close. `exported` may still be called until `stop`. */
  async settle(): Promise<void> {
    await this.#engine.settle();
  }

  /** Says goodbye to all agents. */
  async stop(): Promise<void> {
    await this.#engine.stop();
    this.#limitedLog.flush();
  }

  #connectionRefused({ refusal, peer, detail }: RefusedConnection): void {
    const message = `connection of ${peer} refused: ${HANDSHAKE_REFUSALS[refusal]}`;
    this.#limitedLog.warn(refusal, { peer, ...(detail === '' ? {} : { detail }) }, message);
  }

  #handle(news: EngineNews): void {
    const { log } = this.#dependencies;
    switch (news.kind) {
      case 'closed':
        return this.#closed(news.window, news.outputs, news.isLate);
      case 'committed':
        log.info({ window: news.window }, `committed window=${news.window}`);
        return this.#dependencies.committed?.(news.window);
      case 'joined':
        return log.info(
          describe(news.hello, { worker: news.worker, ...news.origin }),
          `agent ${news.resume ? 'came back' : 'joined'}`,
        );
      case 'refused':
        return this.#agentRefused(news);
      case 'parted':
        return log.info({ session: formatId(news.session), reason: news.reason }, 'agent parted');
    }
  }

  #agentRefused({ hello, reason, origin }: EngineNews & { kind: 'refused' }): void {
    const name = nameOf(reason);
    this.#agentsRefused[name] = (this.#agentsRefused[name] ?? 0) + 1;
    const message = `agent ${hello.nodeName} refused: ${name}`;
    this.#limitedLog.warn(name, describe(hello, { ...origin }), message);
  }

  #closed(window: number, outputs: Uint8Array[], isLate: boolean): void {
    this.#windows[isLate ? 'late' : 'complete']++;
    const windowNs = Number(this.#options.windowNs);
    this.#dependencies.closeWindow({ window, windowNs, incarnation: this.#incarnation, outputs });
  }
}

/** What a reader of the log needs to name the windows that an agent tells again. */
function describe(hello: Hello, more: Record<string, unknown>): Record<string, unknown> {
  return {
    node: hello.nodeName,
    scope: hello.scope,
    session: formatId(hello.session),
    incarnation: formatId(hello.incarnation),
    firstWindow: hello.firstWindow,
    committedWindow: hello.committedWindow,
    committedClosedWindow: hello.committedClosedWindow,
    ...more,
  };
}

function formatId(id: bigint): string {
  return id.toString(16).padStart(16, '0');
}

function nameOf(reason: GoodbyeReason): GoodbyeReasonName {
  const names = Object.keys(GoodbyeReason) as GoodbyeReasonName[];
  return names.find((name) => GoodbyeReason[name] === reason) ?? 'None';
}

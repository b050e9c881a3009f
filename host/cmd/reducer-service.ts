// A reducer with what surrounds it: the store of closed windows and its API, the OTLP exporter, and the pipeline's own telemetry. Used by the
// roles `reducer` and `up`.
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { listAgents } from '../api/agents.ts';
import { ApiServer } from '../api/api-server.ts';
import type { Agent } from '../api/edge-answer.ts';
import { listListeners } from '../api/listeners.ts';
import { WindowStore } from '../api/window-store.ts';
import { Exports } from '../export/exports.ts';
import type { LevelName } from '../export/levels.ts';
import { LEVEL_NAMES } from '../export/levels.ts';
import { isOtlpConfigured, temporalityFrom } from '../export/otlp-environment.ts';
import type { SelfReading } from '../export/otlp-metrics.ts';
import type { TcpAddress } from '../export/prometheus-server.ts';
import { countSeries } from '../export/window-rows.ts';
import { type Clock, startClock } from '../lib/clock.ts';
import { giveReturned } from '../lib/returned-memory.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import { addHandshakes, type HandshakeCounts } from '../reducer/handshake-counts.ts';
import { Reducer, type ReducerOptions } from '../reducer/reducer.ts';
import { addStageCounters, type StageCounters } from '../reducer/stage-counters.ts';
import { sumWireTotals } from '../reducer/wire-totals.ts';
import { CredentialKeeper } from '../tls/credential-keeper.ts';
import type { Credentials, TlsFiles } from '../tls/credentials.ts';
import type { PipelineTotals } from '../view/health-line.ts';
import type { Level } from '../wire/gen/records-layout.ts';
import { formatAddress, type ListenAddress } from '../wire/transport/address.ts';
import { readAccess } from './access-readings.ts';
import { readAgents } from './agent-readings.ts';
import { nameOption } from './name-option.ts';
import { readSelf } from './self-readings.ts';

export interface ReducerServiceOptions extends ReducerOptions {
  api: ListenAddress;
  apiTokenFile?: string;
  /** With them TCP addresses are for TLS. */
  tls?: TlsFiles;
  /** Levels that are exported. */
  levels: readonly LevelName[];
  /** Where a Prometheus may scrape; nowhere when undefined. */
  prometheus?: TcpAddress;
}

export interface ReducerServiceDependencies {
  log: Logger;
  fail: (error: Error) => void;
  /** A window has closed and is in the store. */
  onClosed?: () => void;
  environment: NodeJS.ProcessEnv;
}

const COUNTERS_REFRESH_MS = 1_000;
const NO_COUNTERS = addStageCounters([]);

export class ReducerService {
  readonly store = new WindowStore();
  readonly #options: ReducerServiceOptions;
  readonly #dependencies: ReducerServiceDependencies;
  readonly #clock: Clock = startClock();
  readonly #reducer: Reducer;
  readonly #api: ApiServer;
  readonly #credentials: CredentialKeeper | undefined;
  #levels: ReadonlySet<Level>;
  readonly #hasOtlp: boolean;
  /** With an OTLP exporter or a listener for Prometheus. */
  readonly #exports: Exports | undefined;
  #counters: StageCounters = NO_COUNTERS;
  #wire = sumWireTotals([]);
  #handshakes: HandshakeCounts = {};
  /** Rows of the newest window that was exported in each level. */
  #newestSeries: Partial<Record<LevelName, number>> = {};
  #refresh: NodeJS.Timeout | undefined;

  constructor(options: ReducerServiceOptions, dependencies: ReducerServiceDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    const { log, fail, onClosed, environment } = dependencies;
    const clock = this.#clock;
    this.#levels = levelSet(options.levels);
    this.#hasOtlp = isOtlpConfigured(environment);
    this.#reducer = new Reducer(options, {
      log,
      clock,
      random64: () => randomBytes(8).readBigUInt64LE(),
      closeWindow: (closed) => {
        const series = countSeries(closed.outputs);
        const levels = this.#levels;
        this.#exports?.expect();
        this.store
          .push(closed, (outputs) => {
            this.#newestSeries = series;
            this.#export({ ...closed, outputs }, levels);
          })
          .catch(fail);
        onClosed?.();
        log.debug({ window: closed.window }, `closed window=${closed.window}`);
      },
      committed: (window) => this.#exports?.committed(window),
      fail,
    });
    this.#credentials = options.tls && this.#keepCredentials(options.tls);
    if (this.#hasOtlp || options.prometheus !== undefined) this.#exports = this.#createExports();
    this.#api = new ApiServer(
      { address: options.api, insecure: options.insecure, tokenFile: options.apiTokenFile },
      {
        log,
        store: this.store,
        notReady: () => (this.store.newest === undefined ? 'no window has closed yet' : undefined),
        agents: () => ({ windowNs: Number(options.windowNs), agents: this.#agents() }),
        listeners: () => listListeners(this.#reducer.sessions),
        pipeline: () => {
          const { accepted: _, ...handshakes } = this.#handshakes;
          return { ...this.pipeline(), refused: { ...this.#wire.refused, ...this.#counters.refused, ...handshakes } };
        },
      },
    );
  }

  /** Reads what can change without a restart: the certificates and the token of the API. */
  async reload(): Promise<void> {
    await this.#credentials?.reload();
    await this.#api.reload().catch((error: Error) => {
      this.#dependencies.log.error({ err: error }, `the old token of the API stays: ${error.message}`);
    });
  }

  /** Counts from the next window that closes. */
  exportLevels(levels: readonly LevelName[]): void {
    this.#levels = levelSet(levels);
  }

  get addresses(): readonly ListenAddress[] {
    return this.#reducer.addresses;
  }

  /** Throws UsageError when an address cannot be had or a part is missing. */
  async start(): Promise<void> {
    const credentials = await this.#credentials?.start();
    await nameOption('api.address', this.#api.start(credentials));
    try {
      await nameOption('prometheus.listen', this.#startExports(credentials));
      await nameOption('reducer.listen', this.#reducer.start(credentials));
    } catch (error) {
      // Those that leave something behind.
      await Promise.all([this.#api.stop(), this.#exports?.stop()]);
      throw error;
    }
    this.#exports?.tellSelf(this.#readSelf());
    this.#refresh = setInterval(() => void this.#readCounters(), COUNTERS_REFRESH_MS);
  }

  /** Lets the window that is closing close, exports what is queued, says goodbye to all agents. */
  async stop(): Promise<void> {
    clearInterval(this.#refresh);
    this.#credentials?.stop();
    await this.#reducer.settle();
    await this.store.packed;
    await this.#exports?.stop();
    await this.#reducer.stop();
    await this.#api.stop();
  }

  /** What it holds now, for a log. */
  state(): object {
    return {
      windows: { ...this.#reducer.windows, newest: this.store.newest },
      pipeline: this.pipeline(),
      refused: { ...this.#wire.refused, ...this.#counters.refused },
      exporting: this.#hasOtlp,
    };
  }

  /** What the health line shows; at most a second old. */
  pipeline(): PipelineTotals {
    const { counts, lost } = this.#counters;
    return {
      agents: counts.SessionsLive,
      framesAccepted: counts.FramesAccepted,
      framesRefused: counts.FramesRefused,
      socketsLive: counts.SocketsLive,
      socketsRefused: counts.SocketsRefused + counts.ClaimsRefused,
      lost: counts.AgentEventsLost + counts.AgentSocketsRefused + lost.SocketStates + lost.Datagrams,
      lateWindows: this.#reducer.windows.late,
      exportQueue: this.#exports?.queueLength ?? 0,
    };
  }

  #agents(): Agent[] {
    const currentWindow = Number(this.#clock().unixNs / this.#options.windowNs);
    return listAgents(this.#reducer.sessions, currentWindow);
  }

  #keepCredentials(files: TlsFiles): CredentialKeeper {
    return new CredentialKeeper(
      { files },
      {
        log: this.#dependencies.log,
        now: Date.now,
        renewed: (credentials) => {
          this.#reducer.renew(credentials);
          this.#api.renew(credentials);
          this.#exports?.renew(credentials);
        },
      },
    );
  }

  #createExports(): Exports {
    const { log, environment, fail } = this.#dependencies;
    const { prometheus, insecure } = this.#options;
    return new Exports(
      {
        incarnation: this.#reducer.incarnation,
        temporality: this.#hasOtlp ? temporalityFrom(environment) : undefined,
        prometheus: prometheus && { address: prometheus, insecure },
      },
      {
        ...{ log, environment, fail },
        onExported: (window) => this.#reducer.exported(window),
        hold: (isHeld) => this.#reducer.hold(isHeld),
      },
    );
  }

  async #startExports(credentials: Credentials | undefined): Promise<void> {
    const prometheus = await this.#exports?.start(credentials);
    if (prometheus === undefined) return;
    const url = `${credentials === undefined ? 'http' : 'https'}://${formatAddress(prometheus)}/metrics`;
    this.#dependencies.log.info({ url }, `metrics for Prometheus at ${url}`);
  }

  /** Hands a closed window, which is in the store, to whoever exports. Without a push exporter it is committed then. */
  #export(closed: ClosedWindow, levels: ReadonlySet<Level>): void {
    this.#exports?.tellSelf(this.#readSelf());
    if (this.#exports === undefined) for (const output of closed.outputs) giveReturned(output);
    else this.#exports.push(closed, levels);
    if (!this.#hasOtlp) this.#reducer.exported(closed.window);
  }

  #readSelf(): SelfReading[] {
    return [
      ...readSelf(this.#counters, this.#wire, this.#reducer.windows, this.#newestSeries),
      ...readAgents(this.#agents()),
      ...readAccess(
        this.#handshakes,
        this.#reducer.agentsRefused,
        this.#api.refused,
        this.#credentials?.secondsToExpiry,
      ),
    ];
  }

  async #readCounters(): Promise<void> {
    const readings = await this.#reducer.readCounters();
    this.#counters = addStageCounters(readings.map((reading) => reading.stages));
    this.#wire = sumWireTotals(readings.map((reading) => reading.wire));
    this.#handshakes = addHandshakes(readings.map((reading) => reading.counts.handshakes));
    this.#exports?.tellSelf(this.#readSelf());
  }
}

function levelSet(levels: readonly LevelName[]): ReadonlySet<Level> {
  return new Set(levels.map((name) => LEVEL_NAMES[name]));
}

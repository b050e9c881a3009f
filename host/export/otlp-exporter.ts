/**
 * Drives the stock OTLP exporter with each closed window, in chunks, and tells which windows it has confirmed whole. The stock exporter reads
 * its own variables (otlp-environment.ts); without an endpoint there is no exporter, and a closed window commits at once.
 */
import { type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { CumulativeSums } from './cumulative-sums.ts';
import { type EdgeRow, type RowsByKey, sortedRows } from './edge-rows.ts';
import { ExportQueue, type WindowBatch } from './export-queue.ts';
import type { Profile } from './gen/metrics.ts';
import { countTallies, MergedIncrements } from './merged-increments.ts';
import { CHUNK_BYTES_MAX, type Chunk, halveChunk, splitBatch } from './otlp-chunks.ts';
import { type MetricsBatch, type SelfReading, toResourceMetrics } from './otlp-metrics.ts';
import { reducerResource } from './resource.ts';

export interface OtlpExporterOptions {
  profile: Profile;
  temporality: AggregationTemporality;
}

export interface OtlpExporterDependencies {
  log: Logger;
  clock: Clock;
  random: () => number;
  /** Called when a batch has arrived: every window up to and with this one may be committed. */
  onExported: (window: number) => void;
  readSelf: () => readonly SelfReading[];
  /** Told instead of a window's own rows when the temporality is cumulative; it has taken in each window before `push`. */
  sums: CumulativeSums;
}

/** ExportResultCode.SUCCESS of OpenTelemetry's core package. */
const EXPORT_SUCCESS = 0;
/** Status of a request that is larger than a receiver or a proxy takes (RFC 9110, 15.5.14). */
const TOO_LARGE = 413;
/** Status of data that a receiver does not understand, and that is not to be sent again (OTLP, failures); also what a collector says of a long body. */
const BAD = 400;
const RETRY_CHECK_MS = 200;
/** How long stop() waits for the batch in flight and the rest. */
const STOP_TIMEOUT_MS = 3_000;
export const CUMULATIVE_BATCHES_MAX = 2;
/** Chunks on their way at once: with one, a window of 100 000 series would wait 270 times for a receiver that is far away. */
const CHUNKS_IN_FLIGHT_MAX = 4;
/** In the partial success of an answer (OTLP, partial success), as the stock exporter logs it. */
const REJECTED_POINTS = /"rejectedDataPoints":"?(\d+)/;
/** What a receiver has no room for is halved, and later chunks are made as small, but not smaller than this. */
const CHUNK_BYTES_MIN = 65_536;
/** Of bad chunks of a batch: enough to single out twenty points. What is bad then is given up in the chunk that it is in, so that a batch ends. */
const HALVINGS_MAX = 256;
/** So many tallies take as much memory as a row. */
const TALLIES_LIKE_A_ROW = 4;

/** A batch as it was when its window closed: a retry tells the same. */
interface Content {
  rows: RowsByKey;
  self: readonly SelfReading[];
}

interface ExportFailure {
  /** What the stock exporter says of it; `code` is the status of an answer over HTTP. */
  error: (Error & { code?: unknown; data?: unknown }) | undefined;
}

interface UnsentChunk extends Chunk {
  /** The receiver said that there is something wrong with it, and took something else after that. */
  isRefused?: boolean;
}

export class OtlpExporter {
  readonly #options: OtlpExporterOptions;
  readonly #dependencies: OtlpExporterDependencies;
  readonly #exporter = new OTLPMetricExporter();
  readonly #queue: ExportQueue<Content>;
  readonly #increments = new MergedIncrements();
  readonly #processStartNs: bigint;
  /** What has not arrived of the first batch since it was in flight for the first time. */
  #unsent: UnsentChunk[] = [];
  /** Of its pieces, because they were bad. */
  #halvings = 0;
  #chunkBytesMax = CHUNK_BYTES_MAX;
  /** A chunk of that batch was. */
  #wasTooLarge = false;
  #pointsRefused = 0;
  /** As many when that batch was in flight for the first time. */
  #pointsRefusedBefore = 0;
  #probes = 0;
  /** Of a point of that batch. */
  #lastRefusal: Error | undefined;
  #windowNs = 0n;
  #incarnation = 0n;
  #timer: NodeJS.Timeout | undefined;
  #drained: (() => void) | undefined;
  #isStopped = false;

  constructor(options: OtlpExporterOptions, dependencies: OtlpExporterDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#processStartNs = dependencies.clock().unixNs;
    this.#queue = new ExportQueue({
      merge: this.isDelta
        ? (older, newer) => ({ rows: this.#increments.add(older.rows, newer.rows), self: newer.self })
        : (_, newer) => newer,
      random: dependencies.random,
      rowsOf: ({ rows }) => rows.size + countTallies(rows) / TALLIES_LIKE_A_ROW,
      // Cumulative sums tell all that was before: one batch in flight and the newest are enough.
      ...(this.isDelta ? {} : { countMax: CUMULATIVE_BATCHES_MAX }),
    });
  }

  /** False: it tells the cumulative sums, and they have to be kept. */
  get isDelta(): boolean {
    return this.#options.temporality === AggregationTemporality.DELTA;
  }

  /** Closed windows that were not confirmed yet. */
  get queueLength(): number {
    return this.#queue.length;
  }

  start(): void {
    diag.setLogger(this.#diagLogger(), DiagLogLevel.WARN);
    this.#timer = setInterval(() => this.#pump(), RETRY_CHECK_MS);
  }

  /** Waits for what is queued, at most STOP_TIMEOUT_MS; what is left is told again by the agents to the next incarnation. */
  async stop(): Promise<void> {
    if (this.#queue.length > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#drained = resolve;
      const timeout = setTimeout(resolve, STOP_TIMEOUT_MS);
      await promise;
      clearTimeout(timeout);
    }
    this.#isStopped = true;
    clearInterval(this.#timer);
    diag.disable();
    if (this.#queue.length > 0)
      this.#dependencies.log.warn(
        { windows: this.#queue.length },
        'stopping with windows that no exporter has confirmed',
      );
  }

  /** Takes the rows of a closed window, and owns them if it tells increments: what is exported later does not change any more. */
  push(closed: ClosedWindow, increments: RowsByKey): void {
    this.#windowNs = BigInt(closed.windowNs);
    this.#incarnation = closed.incarnation;
    const { readSelf, sums } = this.#dependencies;
    const rows = this.isDelta ? increments : sums.snapshot();
    const self = [...readSelf(), ...this.readings()];
    this.#queue.push({ firstWindow: closed.window, lastWindow: closed.window, content: { rows, self } });
    this.#pump();
  }

  /** The agents were told that everything up to and with `window` is committed. */
  committed(window: number): void {
    this.#queue.committed(window);
    this.#pump();
  }

  readings(): SelfReading[] {
    return [
      { metric: 'exportQueue', attributes: {}, value: this.#queue.length },
      { metric: 'exports', attributes: { reason: 'success' }, value: this.#queue.successes },
      { metric: 'exports', attributes: { reason: 'failure' }, value: this.#queue.failures },
      { metric: 'exports', attributes: { reason: this.isDelta ? 'merged' : 'superseded' }, value: this.#queue.merged },
      { metric: 'exportRefused', attributes: {}, value: this.#pointsRefused },
      { metric: 'seriesOverflow', attributes: { stage: 'merge' }, value: this.#increments.overflow },
    ];
  }

  /** Also hears what a receiver rejects of a chunk that it takes: the stock exporter says so here and nowhere else. */
  #diagLogger(): DiagLogger {
    const { log } = this.#dependencies;
    const warn = (message: string, ...details: unknown[]): void => {
      this.#pointsRefused += Number(REJECTED_POINTS.exec(String(details[0]))?.[1] ?? 0);
      log.warn({ details }, message);
    };
    const ignore = (): void => {};
    return { error: warn, warn, info: ignore, debug: ignore, verbose: ignore };
  }

  #pump(): void {
    const { clock, log } = this.#dependencies;
    if (this.#isStopped) return;
    const batch = this.#queue.next(clock().ms);
    if (batch === undefined) return;
    if (this.#unsent.length === 0) {
      this.#unsent = this.#split(batch);
      this.#halvings = 0;
      this.#wasTooLarge = false;
      this.#pointsRefusedBefore = this.#pointsRefused;
    }
    log.debug({ window: batch.lastWindow }, `exporting window=${batch.lastWindow}`);
    void this.#send(batch);
  }

  #split({ firstWindow, lastWindow, content }: WindowBatch<Content>): Chunk[] {
    const startWindow = (row: EdgeRow): number => (this.isDelta ? firstWindow : row.fromWindow);
    const batch = {
      startNs: (row: EdgeRow) => BigInt(startWindow(row)) * this.#windowNs,
      endNs: BigInt(lastWindow + 1) * this.#windowNs,
      temporality: this.#options.temporality,
      rows: sortedRows(content.rows),
      self: content.self,
      processStartNs: this.#processStartNs,
    };
    return splitBatch(batch, this.#options.profile, this.#chunkBytesMax);
  }

  async #send(batch: WindowBatch<Content>): Promise<void> {
    let failure: ExportFailure | undefined;
    while (this.#unsent.length > 0 && failure === undefined) {
      if (this.#isStopped) return;
      const chunks = this.#unsent.splice(0, CHUNKS_IN_FLIGHT_MAX);
      const results = await Promise.all(chunks.map((chunk) => this.#post(chunk)));
      const isJudged = results.some(isRefusal) && (await this.#probe());
      for (const [index, result] of results.entries()) {
        if (result === undefined) continue;
        if (isJudged && isRefusal(result)) this.#giveWay(chunks[index], result);
        else {
          // Behind the others, so that they have their turn before it.
          this.#unsent.push(chunks[index]);
          failure = result;
        }
      }
    }
    if (failure === undefined) this.#arrived(batch);
    else this.#failed(batch, failure);
    if (this.#queue.length === 0) this.#drained?.();
    this.#pump();
  }

  /**
   * A chunk that is refused for what it is would be refused for ever, and hold back all windows after it. One that is too large is sent in
   * halves at once; one that is bad, when it was refused twice. What is bad by itself is not sent again. All of that only while the receiver
   * takes something else: one that takes nothing is waited for, as one that is away.
   */
  #giveWay(chunk: UnsentChunk, failure: ExportFailure): void {
    const isLarge = isTooLarge(failure) && chunk.bytes > CHUNK_BYTES_MIN;
    if (!isLarge && chunk.isRefused !== true) {
      this.#unsent.push({ ...chunk, isRefused: true });
      return;
    }
    const halves = isLarge || this.#halvings < HALVINGS_MAX ? halveChunk(chunk, this.#options.profile) : [];
    if (halves.length > 1) {
      if (isLarge) this.#shrinkChunks(chunk.bytes / 2);
      else this.#halvings++;
      this.#unsent.unshift(...halves.map((half) => ({ ...half, isRefused: false })));
    } else {
      this.#pointsRefused += chunk.points;
      this.#lastRefusal = failure.error;
    }
  }

  #shrinkChunks(bytes: number): void {
    this.#chunkBytesMax = Math.max(CHUNK_BYTES_MIN, Math.min(this.#chunkBytesMax, bytes));
    this.#wasTooLarge = true;
  }

  /**
   * Whether the receiver takes something that nobody can call bad: one reading as of now. It is told in probes alone, so none of it is newer
   * than what waits of the same series.
   */
  async #probe(): Promise<boolean> {
    const endNs = this.#dependencies.clock().unixNs;
    const self: SelfReading[] = [{ metric: 'exportProbes', attributes: {}, value: ++this.#probes }];
    const { temporality } = this.#options;
    const times = { startNs: () => endNs, endNs, processStartNs: this.#processStartNs, temporality };
    return (await this.#post({ ...times, rows: [], self })) === undefined;
  }

  /** Undefined when it has arrived. */
  #post(batch: MetricsBatch): Promise<ExportFailure | undefined> {
    const metrics = toResourceMetrics(batch, reducerResource(this.#incarnation), this.#options.profile);
    const { promise, resolve } = Promise.withResolvers<ExportFailure | undefined>();
    this.#exporter.export(metrics, ({ code, error }) => resolve(code === EXPORT_SUCCESS ? undefined : { error }));
    return promise;
  }

  #arrived({ firstWindow, lastWindow, content }: WindowBatch<Content>): void {
    const { log, onExported } = this.#dependencies;
    const { size: series } = content.rows;
    // The limit may have been that of another receiver, or have been raised.
    if (!this.#wasTooLarge) this.#chunkBytesMax = Math.min(CHUNK_BYTES_MAX, this.#chunkBytesMax * 2);
    if (this.#lastRefusal !== undefined) {
      const pointsRefused = this.#pointsRefused - this.#pointsRefusedBefore;
      log.warn(
        { err: this.#lastRefusal, window: lastWindow, pointsRefused },
        'the receiver refused points of a window',
      );
      this.#lastRefusal = undefined;
    }
    log.info({ window: lastWindow, firstWindow, series }, `exported window=${lastWindow}`);
    onExported(this.#queue.succeeded());
  }

  #failed({ lastWindow: window }: WindowBatch<Content>, { error: err }: ExportFailure): void {
    const { log, clock } = this.#dependencies;
    const { ms } = clock();
    const retryInMs = Math.round(this.#queue.failed(ms) - ms);
    log.warn({ err, window, retryInMs, queued: this.#queue.length }, 'export failed');
  }
}

function isTooLarge({ error }: ExportFailure): boolean {
  return error?.code === TOO_LARGE || (error?.code === BAD && /too large/i.test(String(error.data)));
}

/** It says that something is wrong with what was sent. */
function isRefusal(failure: ExportFailure | undefined): failure is ExportFailure {
  return failure?.error?.code === TOO_LARGE || failure?.error?.code === BAD;
}

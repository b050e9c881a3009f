/**
 * Drives the stock OTLP exporter once per closed window and tells which windows it has confirmed. Configured by the standard
 * OTEL_EXPORTER_OTLP_* variables; without an endpoint there is no exporter, and a closed window commits at once.
 */
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { Level } from '../wire/gen/records-layout.ts';
import { decodeWindow, mergeRows, type RowsByKey, sortedRows } from './edge-rows.ts';
import { ExportQueue } from './export-queue.ts';
import type { Profile } from './gen/metrics.ts';
import { type SelfReading, toResourceMetrics } from './otlp-metrics.ts';

export interface OtlpExporterOptions {
  levels: ReadonlySet<Level>;
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
}

/** ExportResultCode.SUCCESS of OpenTelemetry's core package. */
const EXPORT_SUCCESS = 0;
const RETRY_CHECK_MS = 200;
/** How long stop() waits for the batch in flight and the rest. */
const STOP_TIMEOUT_MS = 4_000;

/** The temporality that OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE asks for; cumulative unless it says delta. */
export function temporalityFrom(environment: NodeJS.ProcessEnv): AggregationTemporality {
  const preference = environment.OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE?.toLowerCase();
  return preference === 'delta' ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE;
}

export function isOtlpConfigured(environment: NodeJS.ProcessEnv): boolean {
  return Boolean(environment.OTEL_EXPORTER_OTLP_ENDPOINT || environment.OTEL_EXPORTER_OTLP_METRICS_ENDPOINT);
}

export class OtlpExporter {
  readonly #options: OtlpExporterOptions;
  readonly #dependencies: OtlpExporterDependencies;
  readonly #exporter = new OTLPMetricExporter();
  readonly #queue: ExportQueue<RowsByKey>;
  readonly #processStartNs: bigint;
  /** Sums since the incarnation began; used when the temporality is cumulative. */
  #cumulative: RowsByKey = new Map();
  #firstWindow: number | undefined;
  #windowNs = 0n;
  #incarnation = 0n;
  #timer: NodeJS.Timeout | undefined;
  #drained: (() => void) | undefined;

  constructor(options: OtlpExporterOptions, dependencies: OtlpExporterDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#processStartNs = dependencies.clock().unixNs;
    this.#queue = new ExportQueue({
      merge: this.#isDelta
        ? (older, newer) => mergeRows(settleActive(older, newer), newer.values())
        : (_, newer) => newer,
      random: dependencies.random,
    });
  }

  get #isDelta(): boolean {
    return this.#options.temporality === AggregationTemporality.DELTA;
  }

  /** Closed windows that were not confirmed yet. */
  get queueLength(): number {
    return this.#queue.length;
  }

  start(): void {
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
    clearInterval(this.#timer);
    if (this.#queue.length > 0)
      this.#dependencies.log.warn(
        { windows: this.#queue.length },
        'stopping with windows that no exporter has confirmed',
      );
  }

  /** Takes the bytes of a closed window as they are now: what is exported later does not change any more. */
  push(closed: ClosedWindow): void {
    this.#firstWindow ??= closed.window;
    this.#windowNs = BigInt(closed.windowNs);
    this.#incarnation = closed.incarnation;
    let rows = decodeWindow(closed.outputs, this.#options.levels);
    if (!this.#isDelta) {
      mergeRows(settleActive(this.#cumulative, rows), rows.values());
      rows = mergeRows(new Map(), this.#cumulative.values());
    }
    this.#queue.push({ firstWindow: closed.window, lastWindow: closed.window, content: rows });
    this.#pump();
  }

  readings(): SelfReading[] {
    return [
      { metric: 'exportQueue', attributes: {}, value: this.#queue.length },
      { metric: 'exports', attributes: { reason: 'success' }, value: this.#queue.successes },
      { metric: 'exports', attributes: { reason: 'failure' }, value: this.#queue.failures },
      { metric: 'exports', attributes: { reason: this.#isDelta ? 'merged' : 'superseded' }, value: this.#queue.merged },
    ];
  }

  #pump(): void {
    const { clock, log, onExported, readSelf } = this.#dependencies;
    const batch = this.#queue.next(clock().ms);
    if (batch === undefined) return;
    const firstWindow = this.#isDelta ? batch.firstWindow : (this.#firstWindow ?? batch.firstWindow);
    const metrics = toResourceMetrics(
      {
        startNs: BigInt(firstWindow) * this.#windowNs,
        endNs: BigInt(batch.lastWindow + 1) * this.#windowNs,
        temporality: this.#options.temporality,
        rows: sortedRows(batch.content),
        self: [...readSelf(), ...this.readings()],
        processStartNs: this.#processStartNs,
      },
      resourceFromAttributes({
        'service.name': 'tributary-reducer',
        'service.instance.id': this.#incarnation.toString(16).padStart(16, '0'),
      }),
      this.#options.profile,
    );
    log.debug({ window: batch.lastWindow }, `exporting window=${batch.lastWindow}`);
    this.#exporter.export(metrics, (result) => {
      if (result.code === EXPORT_SUCCESS) {
        log.info(
          { window: batch.lastWindow, firstWindow: batch.firstWindow, series: batch.content.size },
          `exported window=${batch.lastWindow}`,
        );
        onExported(this.#queue.succeeded());
      } else {
        const retryAtMs = this.#queue.failed(clock().ms);
        log.warn(
          {
            err: result.error,
            window: batch.lastWindow,
            retryInMs: Math.round(retryAtMs - clock().ms),
            queued: this.#queue.length,
          },
          'export failed',
        );
      }
      if (this.#queue.length === 0) this.#drained?.();
      this.#pump();
    });
  }
}

/** An edge that the newer window does not mention has no open connection. */
function settleActive(older: RowsByKey, newer: RowsByKey): RowsByKey {
  for (const [key, row] of older) if (!newer.has(key)) row.active = 0;
  return older;
}

/**
 * The thread that exports: rows, cumulative sums and points of a window of 100 000 series take seconds to make, and neither the coordinator nor
 * a worker waits for them. exports.ts hands it the outputs of closed windows as the workers wrote them.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { type Logger, pino, stdSerializers } from 'pino';
import { startClock } from '../lib/clock.ts';
import { giveReturned } from '../lib/returned-memory.ts';
import { UsageError } from '../lib/usage-error.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { Credentials } from '../tls/credentials.ts';
import type { Level } from '../wire/gen/records-layout.ts';
import { CumulativeSums, PROMETHEUS_ROWS_MAX } from './cumulative-sums.ts';
import { mergeRows } from './edge-rows.ts';
import { OtlpExporter } from './otlp-exporter.ts';
import type { SelfReading } from './otlp-metrics.ts';
import { PrometheusServer, type PrometheusServerOptions, type TcpAddress } from './prometheus-server.ts';
import { reducerResource } from './resource.ts';
import { decodeHosts, decodeWindow, foldedLevels } from './window-rows.ts';

export interface ExportThreadOptions {
  incarnation: bigint;
  /** Of the OTLP exporter; none without it. */
  temporality?: AggregationTemporality;
  /** Where a Prometheus may scrape; nowhere when undefined. */
  prometheus?: PrometheusServerOptions;
}

export type ToThread =
  | { kind: 'start'; credentials: Credentials | undefined }
  | { kind: 'renew'; credentials: Credentials }
  /** The reducer's own readings as of now. */
  | { kind: 'self'; readings: readonly SelfReading[] }
  | { kind: 'window'; closed: ClosedWindow; levels: ReadonlySet<Level> }
  /** The agents were told that everything up to and with `window` is committed. */
  | { kind: 'committed'; window: number }
  | { kind: 'stop' };

export type FromThread =
  /** `prometheus`: with the port that was chosen. */
  | { kind: 'started'; prometheus: TcpAddress | undefined }
  /** What a UsageError says. */
  | { kind: 'not_started'; code: string; message: string }
  /** Every window up to and with this one has arrived. */
  | { kind: 'exported'; window: number }
  /** Windows that the thread has taken since its start, and how many of them wait for the OTLP exporter. */
  | { kind: 'queue'; taken: number; length: number }
  /** A line of pino without time and process, of any level: the level of the reducer's log may change. */
  | { kind: 'log'; line: string }
  | { kind: 'stopped' };

/** Without the bytes of an answer that is not HTTP, of which Node's parser leaves all at its error, one number each. */
function errorFields(error: Error): object {
  return { ...stdSerializers.err(error), rawPacket: undefined };
}

class ExportThread {
  readonly #port: MessagePort;
  readonly #log: Logger;
  readonly #sums: CumulativeSums;
  readonly #exporter: OtlpExporter | undefined;
  readonly #prometheus: PrometheusServer | undefined;
  #self: readonly SelfReading[] = [];
  #taken = 0;

  constructor({ incarnation, temporality, prometheus }: ExportThreadOptions, port: MessagePort) {
    this.#port = port;
    const write = (line: string): void => this.#post({ kind: 'log', line });
    this.#log = pino(
      { base: undefined, timestamp: false, level: 'trace', serializers: { err: errorFields } },
      { write },
    );
    this.#sums = new CumulativeSums(prometheus && { rowsMax: PROMETHEUS_ROWS_MAX, isScraped: true });
    this.#exporter = temporality === undefined ? undefined : this.#createExporter(temporality);
    const snapshot = () => ({
      rows: [...this.#sums.snapshot().values()],
      self: [...this.#readSelf(), ...(this.#exporter?.readings() ?? [])],
      resource: reducerResource(incarnation),
    });
    this.#prometheus = prometheus && new PrometheusServer(prometheus, { log: this.#log, snapshot });
  }

  listen(): void {
    this.#port.on('message', (message: ToThread) => this.#receive(message));
  }

  #receive(message: ToThread): void {
    switch (message.kind) {
      case 'start':
        return void this.#start(message.credentials);
      case 'renew':
        return this.#prometheus?.renew(message.credentials);
      case 'self':
        this.#self = message.readings;
        return;
      case 'window':
        return this.#export(message.closed, message.levels);
      case 'committed':
        this.#sums.committed(message.window);
        return this.#exporter?.committed(message.window);
      case 'stop':
        return void this.#stop();
    }
  }

  async #start(credentials: Credentials | undefined): Promise<void> {
    try {
      await this.#prometheus?.start(credentials);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      return this.#post({ kind: 'not_started', code: error.code, message: error.message });
    }
    this.#exporter?.start();
    this.#post({ kind: 'started', prometheus: this.#prometheus?.address });
  }

  async #stop(): Promise<void> {
    await this.#exporter?.stop();
    await this.#prometheus?.stop();
    this.#post({ kind: 'stopped' });
  }

  #export(closed: ClosedWindow, levels: ReadonlySet<Level>): void {
    const rows = mergeRows(decodeWindow(closed.outputs, levels), decodeHosts(closed.outputs).values());
    if (this.#prometheus !== undefined || this.#exporter?.isDelta === false)
      this.#sums.add(closed.window, closed.windowNs, rows, foldedLevels(closed.outputs));
    this.#exporter?.push(closed, rows);
    // Rows have copies of what they need. The collector would find these only after some windows.
    for (const output of closed.outputs) giveReturned(output);
    this.#taken++;
    this.#tellQueue();
  }

  #createExporter(temporality: AggregationTemporality): OtlpExporter {
    return new OtlpExporter(
      { profile: 'otel', temporality },
      {
        ...{ log: this.#log, clock: startClock(), random: Math.random, sums: this.#sums },
        onExported: (window) => {
          this.#tellQueue();
          this.#post({ kind: 'exported', window });
        },
        readSelf: () => this.#readSelf(),
      },
    );
  }

  #readSelf(): SelfReading[] {
    return [...this.#self, ...this.#sums.readings(), ...(this.#prometheus?.readings() ?? [])];
  }

  #tellQueue(): void {
    this.#post({ kind: 'queue', taken: this.#taken, length: this.#exporter?.queueLength ?? 0 });
  }

  #post(message: FromThread): void {
    this.#port.postMessage(message);
  }
}

if (parentPort !== null) new ExportThread(workerData as ExportThreadOptions, parentPort).listen();

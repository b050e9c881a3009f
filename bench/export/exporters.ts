// The product's two exporters as the reducer has them, in this thread, and the process that they tell.

import { strict as assert } from 'node:assert';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { pino } from 'pino';
import { CumulativeSums, PROMETHEUS_ROWS_MAX } from '../../host/export/cumulative-sums.ts';
import { decodeHosts, decodeWindow, mergeRows, type RowsByKey } from '../../host/export/edge-rows.ts';
import { OtlpExporter } from '../../host/export/otlp-exporter.ts';
import { PrometheusServer } from '../../host/export/prometheus-server.ts';
import { reducerResource } from '../../host/export/resource.ts';
import { startClock } from '../../host/lib/clock.ts';
import type { ClosedWindow } from '../../host/reducer/closed-window.ts';
import { Level } from '../../host/wire/gen/records-layout.ts';
import { cpuNs } from '../lib/cpu-clock.ts';
import type { ReceiverNews, ReceiverOrder } from './order.ts';

/** A batch of a million points may take longer than the ten seconds that the stock exporter waits. */
const EXPORT_TIMEOUT_MS = 300_000;
const LEVELS = new Set([Level.IdId]);

/** Of one window. Times of the main thread are CPU, ns. */
export interface Exported {
  points: number;
  bytes: number;
  /** From the output of the workers to rows. */
  decodeNs: number;
  /** From rows to the last byte. */
  tellNs: number;
  /** Of all other threads: the collector, sockets. */
  otherNs: number;
  /** From the closed window until the other end had everything. */
  ms: number;
}

export class Receiver {
  readonly #process: ChildProcess = fork(join(import.meta.dirname, 'receiver.ts'));
  #news = Promise.withResolvers<ReceiverNews>();
  port = 0;

  constructor() {
    this.#process.on('message', (news: ReceiverNews) => this.#news.resolve(news));
    this.#process.once('exit', () => this.#news.reject(new Error('the receiver has ended')));
  }

  async start(): Promise<void> {
    const news = await this.#news.promise;
    assert(news.kind === 'listening');
    this.port = news.port;
  }

  async ask(order: ReceiverOrder): Promise<Exclude<ReceiverNews, { kind: 'listening' }>> {
    this.#news = Promise.withResolvers();
    this.#process.send(order);
    const news = await this.#news.promise;
    assert(news.kind !== 'listening');
    return news;
  }

  async stop(): Promise<void> {
    // Its exit is no news any more.
    this.#news.promise.catch(() => {});
    const ended = once(this.#process, 'exit');
    this.#process.disconnect();
    await ended;
  }
}

export async function exportOtlp(receiver: Receiver, closed: ClosedWindow): Promise<Exported> {
  // The stock exporter reads its variables when it is made.
  process.env.OTEL_EXPORTER_OTLP_METRICS_ENDPOINT = `http://127.0.0.1:${receiver.port}/v1/metrics`;
  process.env.OTEL_EXPORTER_OTLP_METRICS_TIMEOUT = String(EXPORT_TIMEOUT_MS);
  const exported = Promise.withResolvers<number>();
  const exporter = new OtlpExporter(
    { profile: 'otel', temporality: AggregationTemporality.DELTA },
    {
      ...{ log: pino({ enabled: false }), clock: startClock(), random: Math.random, sums: new CumulativeSums() },
      ...{ onExported: exported.resolve, readSelf: () => [] },
    },
  );
  exporter.start();
  try {
    const meter = startMeter();
    const rows = rowsOf(closed);
    const decodeNs = meter.main();
    exporter.push(closed, rows);
    assert.equal(await exported.promise, closed.window);
    const cost = meter.stop(decodeNs);
    const { points, bytes } = await receiver.ask({ kind: 'counted' });
    return { points, bytes, ...cost };
  } finally {
    await exporter.stop();
  }
}

export async function exportPrometheus(receiver: Receiver, closed: ClosedWindow): Promise<Exported> {
  const sums = new CumulativeSums({ rowsMax: PROMETHEUS_ROWS_MAX });
  const server = new PrometheusServer(
    { address: { host: '127.0.0.1', port: 0 }, insecure: false },
    {
      log: pino({ enabled: false }),
      snapshot: () => ({ rows: [...sums.snapshot().values()], self: [], resource: reducerResource(1n) }),
    },
  );
  await server.start();
  try {
    const meter = startMeter();
    sums.add(closed.window, closed.windowNs, rowsOf(closed));
    const decodeNs = meter.main();
    const url = `http://127.0.0.1:${server.address.port}/metrics`;
    const { points, bytes } = await receiver.ask({ kind: 'scrape', url });
    return { points, bytes, ...meter.stop(decodeNs) };
  } finally {
    await server.stop();
  }
}

function rowsOf({ outputs }: ClosedWindow): RowsByKey {
  return mergeRows(decodeWindow(outputs, LEVELS), decodeHosts(outputs).values());
}

interface Meter {
  /** CPU time of this thread since the start. */
  main(): number;
  stop(decodeNs: number): Pick<Exported, 'decodeNs' | 'tellNs' | 'otherNs' | 'ms'>;
}

function startMeter(): Meter {
  const startMs = performance.now();
  const start = cpuNs();
  const startProcess = process.cpuUsage();
  return {
    main: () => cpuNs() - start,
    stop: (decodeNs) => {
      const mainNs = cpuNs() - start;
      const { user, system } = process.cpuUsage(startProcess);
      const otherNs = Math.max(0, (user + system) * 1_000 - mainNs);
      return { decodeNs, tellNs: mainNs - decodeNs, otherNs, ms: performance.now() - startMs };
    },
  };
}

// The product's two exporters as the reducer has them, in a thread of their own, and the process that they tell.

import { strict as assert } from 'node:assert';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { pino } from 'pino';
import type { ExportThreadOptions } from '../../host/export/export-thread.ts';
import { Exports, THREAD_NAME } from '../../host/export/exports.ts';
import type { TcpAddress } from '../../host/export/prometheus-server.ts';
import type { ClosedWindow } from '../../host/reducer/closed-window.ts';
import { Level } from '../../host/wire/gen/records-layout.ts';
import { cpuNs } from '../lib/cpu-clock.ts';
import { readProcessUse, readThreadTimes } from '../lib/machine.ts';
import type { ReceiverNews, ReceiverOrder } from './order.ts';

/** On a busy machine a chunk may take longer than the ten seconds that the stock exporter waits. */
const EXPORT_TIMEOUT_MS = 300_000;
const LEVELS = new Set([Level.IdId]);

/** Of one window. Times of threads are CPU, ns. */
export interface Exported {
  points: number;
  bytes: number;
  mainNs: number;
  exportNs: number;
  /** Of all other threads: the collector, sockets. */
  otherNs: number;
  /** From the closed window until the other end had everything. */
  ms: number;
  /** The largest resident set of this process meanwhile. */
  peakMib: number;
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

/** One exporter in the thread that a reducer has for it. */
abstract class Exporter {
  protected readonly receiver: Receiver;
  protected readonly exports: Exports;
  protected exported = Promise.withResolvers<number>();
  protected prometheus: TcpAddress | undefined;

  constructor(receiver: Receiver, options: Omit<ExportThreadOptions, 'incarnation'>) {
    this.receiver = receiver;
    this.exports = new Exports(
      { incarnation: 1n, ...options },
      {
        log: pino({ enabled: false }),
        environment: {
          OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `http://127.0.0.1:${receiver.port}/v1/metrics`,
          OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: String(EXPORT_TIMEOUT_MS),
        },
        onExported: (window) => this.exported.resolve(window),
        hold: () => {},
        fail: (error) => this.exported.reject(error),
      },
    );
  }

  async start(): Promise<void> {
    this.prometheus = await this.exports.start();
  }

  async stop(): Promise<void> {
    await this.exports.stop();
  }

  async export(closed: ClosedWindow): Promise<Exported> {
    resetPeak();
    const start = performance.now();
    const before = readTimes();
    const { points, bytes } = await this.tell(closed);
    const ms = performance.now() - start;
    const after = readTimes();
    return {
      ...{ points, bytes, ms },
      mainNs: after.mainNs - before.mainNs,
      exportNs: after.exportNs - before.exportNs,
      otherNs: Math.max(
        0,
        after.processNs - before.processNs - (after.mainNs - before.mainNs) - (after.exportNs - before.exportNs),
      ),
      peakMib: readProcessUse(process.pid).peakMib,
    };
  }

  /** A copy, because the thread keeps what it is given. */
  protected push({ outputs, ...closed }: ClosedWindow): void {
    this.exports.expect();
    this.exports.push({ ...closed, outputs: outputs.map((output) => Uint8Array.from(output)) }, LEVELS);
  }

  protected abstract tell(closed: ClosedWindow): Promise<{ points: number; bytes: number }>;
}

export class Otlp extends Exporter {
  constructor(receiver: Receiver) {
    super(receiver, { temporality: AggregationTemporality.DELTA });
  }

  protected async tell(closed: ClosedWindow): Promise<{ points: number; bytes: number }> {
    this.exported = Promise.withResolvers();
    this.push(closed);
    assert.equal(await this.exported.promise, closed.window);
    this.exports.committed(closed.window);
    return this.receiver.ask({ kind: 'counted' });
  }
}

export class Prometheus extends Exporter {
  constructor(receiver: Receiver) {
    super(receiver, { prometheus: { address: { host: '127.0.0.1', port: 0 }, insecure: false } });
  }

  protected async tell(closed: ClosedWindow): Promise<{ points: number; bytes: number }> {
    this.push(closed);
    return this.receiver.ask({ kind: 'scrape', url: `http://127.0.0.1:${this.prometheus?.port}/metrics` });
  }
}

function readTimes(): { mainNs: number; exportNs: number; processNs: number } {
  const { user, system } = process.cpuUsage();
  const thread = readThreadTimes(process.pid).findLast(({ name }) => name === THREAD_NAME);
  assert(thread !== undefined);
  return { mainNs: cpuNs(), exportNs: thread.cpuNs, processNs: (user + system) * 1_000 };
}

/** proc_pid_clear_refs(5): 5 resets the peak of the resident set. */
function resetPeak(): void {
  writeFileSync('/proc/self/clear_refs', '5');
}

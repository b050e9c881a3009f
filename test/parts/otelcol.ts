// The OpenTelemetry Collector as the receiver of exports: OTLP over HTTP in, one line of JSON per export request out.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requirePart } from './go-program.ts';

export interface OtelCollectorOptions {
  /** An existing folder for its configuration, and for its output, which a restart in the same folder continues. */
  directory: string;
  /** TCP port on 127.0.0.1. */
  port: number;
  /** How to start a program; inside a network namespace, for example. */
  spawn?: (program: string, args: string[], options: SpawnOptions) => ChildProcess;
}

export interface OtelCollector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  endpoint: string;
  /** One OTLP metrics document in JSON per line, 64-bit integers as strings; complete after `stop`, before that 200 ms late. */
  file: string;
  stop(): Promise<void>;
}

const READY_TIMEOUT_MS = 20_000;
const LOG_CHARS_MAX = 64 * 1024;

/** Starts the collector and waits until it listens. Throws with its log when it ends before that. */
export async function startOtelCollector(options: OtelCollectorOptions): Promise<OtelCollector> {
  const part = await requirePart('otelcol');
  if (part.path === undefined) throw new Error(part.skip);
  const endpoint = `http://127.0.0.1:${options.port}`;
  const file = join(options.directory, 'otlp-metrics.jsonl');
  const configuration = join(options.directory, 'otelcol.yaml');
  writeFileSync(configuration, configure(options.port, file));
  const start = options.spawn ?? spawn;
  const child = start(part.path, ['--config', `file:${configuration}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'close');
  await waitUntilReady(child);
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  return { endpoint, file, stop };
}

// No batch processor: a line is exactly one export, so a window that was exported twice is two lines.
function configure(port: number, file: string): string {
  return `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:${port}" } } } }
exporters: { file: { path: ${JSON.stringify(file)}, append: true, flush_interval: 200ms } }
service:
  telemetry: { metrics: { level: none } }
  pipelines: { metrics: { receivers: [otlp], exporters: [file] } }
`;
}

async function waitUntilReady(child: ChildProcess): Promise<void> {
  if (child.stderr === null) throw new TypeError('spawn has to give a pipe for the standard error');
  let log = '';
  const ready = Promise.withResolvers<void>();
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (log.length < LOG_CHARS_MAX) log += text;
    if (log.includes('Everything is ready')) ready.resolve();
  });
  child.once('error', ready.reject);
  child.once('close', (code) => ready.reject(new Error(`otelcol ended with ${code}:\n${log}`)));
  const timer = setTimeout(() => {
    child.kill('SIGKILL');
    ready.reject(new Error(`otelcol was not ready after ${READY_TIMEOUT_MS} ms:\n${log}`));
  }, READY_TIMEOUT_MS);
  await ready.promise.finally(() => clearTimeout(timer));
}

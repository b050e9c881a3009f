// A real Prometheus that scrapes what a test serves, asked by PromQL over its HTTP API; and promtool, which judges the text of a scrape.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requirePart } from './go-program.ts';

export interface PrometheusOptions {
  /** An existing folder for its configuration and its database. */
  directory: string;
  /** TCP port of its own API on 127.0.0.1. */
  port: number;
  /** What it scrapes, each second: URLs of /metrics. */
  targets: readonly string[];
  /** How to start a program; inside a network namespace, for example. */
  spawn?: (program: string, args: string[], options: SpawnOptions) => ChildProcess;
  /** How to get a URL of its API; with fetch unless it runs where this process has no network. Throws when the answer is no success. */
  get?: (url: string) => Promise<string>;
  /** PEM files for targets that want a client certificate. */
  tls?: { ca: string; cert: string; key: string };
}

export interface Sample {
  labels: Record<string, string>;
  value: number;
}

export class Prometheus {
  readonly #options: PrometheusOptions;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  log = '';

  private constructor(options: PrometheusOptions, program: string) {
    this.#options = options;
    const { directory, port } = options;
    const args = [
      `--config.file=${join(directory, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ];
    this.#child = (options.spawn ?? spawn)(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#ended = once(this.#child, 'close');
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.log = (this.log + text).slice(-LOG_CHARS_MAX);
    });
  }

  /** Starts it and waits until its API answers. Throws with its log when it ends before that. */
  static async start(options: PrometheusOptions): Promise<Prometheus> {
    const part = await requirePart('prometheus');
    if (part.path === undefined) throw new Error(part.skip);
    writeFileSync(join(options.directory, 'prometheus.yml'), configure(options));
    const prometheus = new Prometheus(options, part.path);
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (!prometheus.log.includes('Server is ready to receive web requests')) {
      if (prometheus.#child.exitCode !== null) throw new Error(`prometheus ended:\n${prometheus.log}`);
      if (Date.now() > deadline) throw new Error(`prometheus was not ready in time:\n${prometheus.log}`);
      await sleep(50);
    }
    return prometheus;
  }

  /** The samples of an instant query. Throws when it is refused. */
  async query(promql: string): Promise<Sample[]> {
    const { data } = await this.#get<{
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    }>(`/api/v1/query?query=${encodeURIComponent(promql)}`);
    return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
  }

  /** The only value of an instant query, undefined when there is none. */
  async value(promql: string): Promise<number | undefined> {
    const [sample] = await this.query(promql);
    return sample?.value;
  }

  /** Waits until the only value of a query is this one; undefined: until there is none. */
  async until(promql: string, expected: number | undefined, timeoutMs = UNTIL_TIMEOUT_MS): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const samples = await this.query(promql);
      if (samples.length <= 1 && samples[0]?.value === expected) return;
      if (Date.now() > deadline)
        throw new Error(
          `${promql} was not ${expected}: ${JSON.stringify(samples)}\n${await this.lastErrors()}\n${this.log.slice(-2_000)}`,
        );
      await sleep(100);
    }
  }

  /** Why the last scrape of a target failed; empty when it did not. */
  async lastErrors(): Promise<string[]> {
    const { data } = await this.#get<{ data: { activeTargets: { lastError: string }[] } }>('/api/v1/targets');
    return data.activeTargets.map(({ lastError }) => lastError);
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async #get<T>(path: string): Promise<T> {
    const { port, get = fetchText } = this.#options;
    return JSON.parse(await get(`http://127.0.0.1:${port}${path}`)) as T;
  }
}

async function fetchText(url: string): Promise<string> {
  const response = await fetch(url);
  const body = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${body}`);
  return body;
}

/** `promtool check metrics`: empty when it has nothing to say about the text of a scrape. */
export async function checkMetrics(text: string): Promise<string> {
  const part = await requirePart('promtool');
  if (part.path === undefined) throw new Error(part.skip);
  const child = spawn(part.path, ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => {
      said += piece;
    });
  child.stdin.end(text);
  const [code] = await once(child, 'close');
  return code === 0 ? said : `${said}(exit code ${code})`;
}

const READY_TIMEOUT_MS = 60_000;
const UNTIL_TIMEOUT_MS = 60_000;
const LOG_CHARS_MAX = 64 * 1024;

function configure({ targets, tls }: PrometheusOptions): string {
  const jobs = targets.map((target, index) => {
    const { protocol, host, pathname } = new URL(target);
    return {
      job_name: index === 0 ? 'tributary' : `tributary-${index}`,
      scheme: protocol.slice(0, -1),
      metrics_path: pathname,
      static_configs: [{ targets: [host] }],
      ...(tls && { tls_config: { ca_file: tls.ca, cert_file: tls.cert, key_file: tls.key } }),
    };
  });
  // JSON is YAML.
  return JSON.stringify({ global: { scrape_interval: '1s', scrape_timeout: '1s' }, scrape_configs: jobs });
}

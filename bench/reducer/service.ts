// `tributary reducer` as a process of its own, on loopback without TLS, and what it says of itself.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { readThreadTimes } from '../lib/machine.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'host', 'cmd', 'main.ts');
/** What Linux shows of Node's worker threads; the reducer has no others. */
const WORKER_THREAD = 'WorkerThread';
/** A scrape that waits too long for the export thread is cut off; it is tried again for so long. */
const SCRAPE_MS_MAX = 300_000;

export interface ServiceOptions {
  workers: number;
  windowMs: number;
  latenessMs: number;
  /** Where the profile of each thread goes; none without. */
  profileFolder?: string;
}

export interface CpuTimes {
  /** Of the worker threads alone, ns. */
  workersNs: number;
  /** Of the whole process with the main thread, the compiler's and the collector's, ns. */
  processNs: number;
}

/** One scrape. */
export class Metrics {
  readonly #lines: readonly string[];

  constructor(text: string) {
    this.#lines = text.split('\n');
  }

  /** Of the samples that have all of `labels`. */
  sum(name: string, labels: Record<string, string> = {}): number {
    return this.#samples(name)
      .filter((line) => Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)))
      .reduce((sum, line) => sum + sampleOf(line), 0);
  }

  /** Samples that are not 0, as they were told. */
  nonzero(name: string): string[] {
    return this.#samples(name).filter((line) => sampleOf(line) !== 0);
  }

  #samples(name: string): string[] {
    return this.#lines.filter((line) => line.startsWith(`${name}{`));
  }
}

export class Service {
  readonly #folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #workers: number;
  readonly #kill = () => {
    this.#child.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  };
  port = 0;
  #metricsPort = 0;

  static async start(options: ServiceOptions): Promise<Service> {
    const service = new Service(options);
    await service.#listening();
    return service;
  }

  private constructor({ workers, windowMs, latenessMs, profileFolder }: ServiceOptions) {
    this.#workers = workers;
    const profile = profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
    const addresses = ['--listen', '127.0.0.1:0', '--api', `unix:${join(this.#folder, 'api')}`];
    const options = [
      '--workers',
      String(workers),
      '--window',
      `${windowMs}ms`,
      '--lateness',
      `${latenessMs}ms`,
      '--log-format',
      'json',
    ];
    this.#child = spawn(
      process.execPath,
      [...profile, MAIN, 'reducer', ...addresses, '--prometheus-listen', '127.0.0.1:0', ...options],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    process.once('exit', this.#kill);
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined || this.#child.exitCode !== null)
      throw new Error(`the reducer has ended\n${this.#lines.join('\n')}`);
    return pid;
  }

  cpuTimes(): CpuTimes {
    const threads = readThreadTimes(this.pid);
    const workers = threads.filter(({ name }) => name === WORKER_THREAD);
    if (workers.length !== this.#workers)
      throw new Error(`${workers.length} worker threads: ${JSON.stringify(threads)}`);
    const sum = (list: typeof threads) => list.reduce((total, { cpuNs }) => total + cpuNs, 0);
    return { workersNs: sum(workers), processNs: sum(threads) };
  }

  async metrics(): Promise<Metrics> {
    const untilMs = performance.now() + SCRAPE_MS_MAX;
    for (;;) {
      const { pid } = this;
      try {
        const answer = await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`);
        return new Metrics(await answer.text());
      } catch (error) {
        if (performance.now() > untilMs) throw new Error(`reducer ${pid} tells no metrics`, { cause: error });
        await sleep(1_000);
      }
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      await ended;
    }
    process.off('exit', this.#kill);
    rmSync(this.#folder, { recursive: true });
  }

  async #listening(): Promise<void> {
    const { stderr } = this.#child;
    if (stderr === null) throw new Error('no pipe');
    const ready = Promise.withResolvers<void>();
    createInterface({ input: stderr }).on('line', (line) => {
      // What went wrong is worth keeping, and the first words.
      if (this.#lines.length < 100) this.#lines.push(line);
      const [, port] = /listening on 127\.0\.0\.1:(\d+)/.exec(line) ?? [];
      const [, metricsPort] = /http:\/\/127\.0\.0\.1:(\d+)\/metrics/.exec(line) ?? [];
      if (port !== undefined) this.port = Number(port);
      if (metricsPort !== undefined) this.#metricsPort = Number(metricsPort);
      if (this.port !== 0 && this.#metricsPort !== 0) ready.resolve();
    });
    this.#child.once('exit', () => ready.reject(new Error(`the reducer did not start\n${this.#lines.join('\n')}`)));
    await ready.promise;
  }
}

/** The value of a sample as it was told. */
export function sampleOf(line: string): number {
  return Number(line.slice(line.lastIndexOf(' ') + 1));
}

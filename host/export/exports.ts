// The export thread as the reducer sees it: closed windows go in, and which of them may be committed comes out.
import { Worker } from 'node:worker_threads';
import { type Logger, type Level as LogLevel, levels } from 'pino';
import { UsageError } from '../lib/usage-error.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { Credentials } from '../tls/credentials.ts';
import type { Level } from '../wire/gen/records-layout.ts';
import type { ExportThreadOptions, FromThread, ToThread } from './export-thread.ts';
import type { SelfReading } from './otlp-metrics.ts';
import type { TcpAddress } from './prometheus-server.ts';

/** Of `top -H` and of the files in /proc/PID/task. */
export const THREAD_NAME = 'export';
/** Longer than the exporter waits for what is queued: a thread that makes points answers late. */
const STOP_TIMEOUT_MS = 3_400;
/** Of the thread's heap. Without, a window's rows and a scrape's text grow it to 64 MiB, and nearly all of them are garbage within milliseconds. */
const YOUNG_MIB_MAX = 16;
/** Closed windows on their way to the thread, each as large as the workers wrote it: with more of them no further one is to be closed. */
export const POSTED_WINDOWS_MAX = 4;

export interface ExportsDependencies {
  log: Logger;
  /** Of the stock OTLP exporter. */
  environment: NodeJS.ProcessEnv;
  /** Every window up to and with this one has arrived. */
  onExported: (window: number) => void;
  /** True: no window is to be closed, until it is called with false. */
  hold: (isHeld: boolean) => void;
  /** The thread has died. */
  fail: (error: Error) => void;
}

export class Exports {
  readonly #options: ExportThreadOptions;
  readonly #dependencies: ExportsDependencies;
  /** What the thread says of an error is serialized already. */
  readonly #threadLog: Logger;
  #worker: Worker | undefined;
  #started = Promise.withResolvers<TcpAddress | undefined>();
  #stopped = Promise.withResolvers<void>();
  #isStopping = false;
  /** Windows that were expected, and those that the thread has taken, since the start. */
  #expected = 0;
  #taken = 0;
  #holds = 0;
  /** Windows that the thread has. */
  #queued = 0;

  constructor(options: ExportThreadOptions, dependencies: ExportsDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#threadLog = dependencies.log.child({}, { serializers: { err: (error) => error } });
  }

  /** Windows that wait to be packed, for the thread or for its OTLP exporter. */
  get queueLength(): number {
    return this.#untaken + this.#queued;
  }

  get #untaken(): number {
    return this.#expected - this.#taken;
  }

  /** Returns where a Prometheus may scrape. Throws UsageError when the address is taken or must not be used. */
  async start(credentials?: Credentials): Promise<TcpAddress | undefined> {
    const { environment: env } = this.#dependencies;
    const thread = new URL('./export-thread.ts', import.meta.url);
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MIB_MAX };
    this.#worker = new Worker(thread, { name: THREAD_NAME, env, workerData: this.#options, resourceLimits });
    this.#worker.on('message', (message: FromThread) => this.#receive(message));
    this.#worker.on('error', (error) => this.#failed(error));
    this.#worker.on('exit', (code) => this.#failed(new Error(`the export thread ended with code ${code}`)));
    this.#post({ kind: 'start', credentials });
    return this.#started.promise;
  }

  /** For connections from now on. */
  renew(credentials: Credentials): void {
    this.#post({ kind: 'renew', credentials });
  }

  /** The reducer's own readings: what is exported until the next ones come. */
  tellSelf(readings: readonly SelfReading[]): void {
    this.#post({
      kind: 'self',
      readings: [...readings, { metric: 'exportHolds', attributes: {}, value: this.#holds }],
    });
  }

  /** A window has closed, which will be pushed. */
  expect(): void {
    this.#expected++;
    if (this.#untaken !== POSTED_WINDOWS_MAX) return;
    this.#holds++;
    this.#dependencies.hold(true);
  }

  /** The next window that was expected; its outputs are the thread's from now on. `levels`: what of it is exported. */
  push(closed: ClosedWindow, levels: ReadonlySet<Level>): void {
    const buffers = closed.outputs.map(({ buffer }) => buffer as ArrayBuffer);
    this.#post({ kind: 'window', closed, levels }, buffers);
  }

  /** The agents were told that everything up to and with `window` is committed. */
  committed(window: number): void {
    this.#post({ kind: 'committed', window });
  }

  /** Waits a while for what is queued to arrive, and ends the thread. */
  async stop(): Promise<void> {
    if (this.#worker === undefined) return;
    this.#post({ kind: 'stop' });
    const timeout = setTimeout(() => this.#stopped.resolve(), STOP_TIMEOUT_MS);
    await this.#stopped.promise;
    clearTimeout(timeout);
    this.#isStopping = true;
    await this.#worker.terminate();
  }

  #receive(message: FromThread): void {
    switch (message.kind) {
      case 'started':
        return this.#started.resolve(message.prometheus);
      case 'not_started':
        return this.#started.reject(new UsageError(message.code, message.message));
      case 'exported':
        return this.#dependencies.onExported(message.window);
      case 'queue':
        return this.#took(message.taken, message.length);
      case 'log':
        return this.#write(message.line);
      case 'stopped':
        return this.#stopped.resolve();
    }
  }

  #took(taken: number, queued: number): void {
    const isHeld = this.#untaken >= POSTED_WINDOWS_MAX;
    this.#taken = taken;
    this.#queued = queued;
    if (isHeld && this.#untaken < POSTED_WINDOWS_MAX) this.#dependencies.hold(false);
  }

  #write(line: string): void {
    const { level, msg, ...fields } = JSON.parse(line) as { level: number; msg: string };
    this.#threadLog[levels.labels[level] as LogLevel](fields, msg);
  }

  #failed(error: unknown): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    const reason = error instanceof Error ? error : new Error(String(error));
    this.#dependencies.log.fatal({ err: reason }, 'the export thread failed');
    this.#started.reject(reason);
    this.#stopped.resolve();
    this.#dependencies.fail(reason);
  }

  #post(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }
}

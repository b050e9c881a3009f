/**
 * What people call a container, asked of the runtime whose socket is there. All that run are asked for at the start, so that they have their
 * names before anything is told of them; another when its first process is seen, which as a rule is answered before the window ends.
 *
 * One question at a time is on its way. While nobody answers, it is asked again at growing distances, and containers that are seen meanwhile
 * wait, up to a limit: so a host without a runtime is asked once a minute, whatever runs there.
 */
import type { Logger } from 'pino';
import { Backoff } from '../lib/backoff.ts';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Process } from '../wire/gen/wire-tables.ts';
import type { ContainerName, ContainerRuntime } from './container-runtime.ts';

export interface ContainerNamesOptions {
  runtime: ContainerRuntime;
  /** RETRY_FIRST_MS by default. */
  retryFirstMs?: number;
}

export interface ContainerNamesDependencies {
  log: Logger;
  /** Uniform in [0, 1). */
  random: () => number;
  /** A container that had no name has one now. */
  named: (containerId: string, name: ContainerName) => void;
}

/** Containers whose answer is kept; the oldest go. */
const ANSWER_COUNT_MAX = 16_384;
/** Further ones keep their id as name until one of their processes is seen again. */
export const WAITING_COUNT_MAX = 1_024;
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 60_000;
/** A container may be there before its runtime says so. */
export const ATTEMPTS_MAX = 3;
const ID = /^[0-9a-f]{64}$/;

export type NamedContainer = Pick<Process, 'containerId' | 'containerRuntime' | 'containerName' | 'podUid'>;

export class ContainerNames {
  readonly #runtime: ContainerRuntime;
  readonly #dependencies: ContainerNamesDependencies;
  readonly #log: LimitedLog;
  readonly #backoff: Backoff;
  /** Undefined for one that the runtime does not know. */
  readonly #answers = new Map<string, ContainerName | undefined>();
  /** How often each was asked for. */
  readonly #waiting = new Map<string, number>();
  #isAsking = false;
  #retryTimer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(
    { runtime, retryFirstMs = RETRY_FIRST_MS }: ContainerNamesOptions,
    dependencies: ContainerNamesDependencies,
  ) {
    const { log, random } = dependencies;
    this.#runtime = runtime;
    this.#dependencies = dependencies;
    this.#log = new LimitedLog(log);
    this.#backoff = new Backoff({ firstMs: retryFirstMs, maxMs: RETRY_MAX_MS, random });
  }

  /** Learns of all that run. Without a runtime it is done at once. */
  async start(): Promise<void> {
    try {
      for (const { id, name } of await this.#runtime.list()) this.#learn(id, name);
    } catch (error) {
      this.#failed(error);
    }
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#retryTimer);
    this.#log.flush();
  }

  /** With the name of its container, as far as it is known by now. */
  complete<Named extends NamedContainer>(process: Named): Named & Partial<ContainerName> {
    const { containerId, containerRuntime, containerName = '', podUid = '' } = process;
    if (containerName !== '' || !ID.test(containerId) || !this.#runtime.runtimes.includes(containerRuntime))
      return process;
    const answer = this.#answers.get(containerId);
    if (answer !== undefined) return { ...process, ...answer, podUid: podUid || answer.podUid };
    if (!this.#answers.has(containerId)) this.#wait(containerId);
    return process;
  }

  #wait(id: string): void {
    if (this.#waiting.has(id) || this.#waiting.size >= WAITING_COUNT_MAX) return;
    this.#waiting.set(id, 0);
    void this.#askAll();
  }

  async #askAll(): Promise<void> {
    if (this.#isAsking || this.#retryTimer !== undefined) return;
    this.#isAsking = true;
    try {
      for (const [id, attempts] of this.#waiting) {
        if (this.#isStopped || !(await this.#ask(id, attempts))) break;
      }
    } finally {
      this.#isAsking = false;
    }
    if (this.#waiting.size > 0 && this.#retryTimer === undefined) this.#retryLater();
  }

  /** False when it makes no sense to ask for another one now. */
  async #ask(id: string, attempts: number): Promise<boolean> {
    try {
      const name = await this.#runtime.find(id);
      this.#backoff.reset();
      if (name !== undefined) this.#learn(id, name);
      else if (attempts + 1 < ATTEMPTS_MAX) this.#waiting.set(id, attempts + 1);
      else this.#keep(id, undefined);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  #learn(id: string, name: ContainerName | undefined): void {
    if (name === undefined) {
      this.#wait(id);
      return;
    }
    this.#keep(id, name);
    this.#dependencies.named(id, name);
  }

  #keep(id: string, answer: ContainerName | undefined): void {
    this.#waiting.delete(id);
    this.#answers.set(id, answer);
    if (this.#answers.size <= ANSWER_COUNT_MAX) return;
    const [oldest] = this.#answers.keys();
    this.#answers.delete(oldest);
  }

  #failed(error: unknown): void {
    const isAbsent = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const message = `containers have no names: ${this.#runtime.socket} does not answer`;
    if (!isAbsent && !this.#isStopped) this.#log.warn('container_runtime', { err: error }, message);
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#isStopped || this.#retryTimer !== undefined) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      void this.#askAll();
    }, this.#backoff.nextMs()).unref();
  }
}

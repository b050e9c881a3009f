// The process of a probe, as its parent holds it.

import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { ProbeReport, ProbeSettings } from './probe-process.ts';

const PROGRAM = join(import.meta.dirname, 'probe-process.ts');
/** A reducer answers a Hello between two slices of its work; who is not welcome by then is refused every time. */
const ANSWER_MS_MAX = 120_000;

export class ProbeHandle {
  readonly #child: ChildProcess;
  readonly #answerMsMax: number;

  /** Resolves when the probe is welcome; rejects, and ends it, when it is not in time. */
  static async start(settings: ProbeSettings, answerMsMax = ANSWER_MS_MAX): Promise<ProbeHandle> {
    const probe = new ProbeHandle(settings, answerMsMax);
    try {
      await probe.#told('its Welcome');
    } catch (error) {
      probe.stop();
      throw error;
    }
    return probe;
  }

  private constructor(settings: ProbeSettings, answerMsMax: number) {
    this.#child = fork(PROGRAM, [JSON.stringify(settings)]);
    this.#answerMsMax = answerMsMax;
  }

  /** What it has timed. */
  async take(): Promise<ProbeReport> {
    this.#child.send('report');
    return await this.#told('its report');
  }

  async #told(what: string): Promise<ProbeReport> {
    const { promise, resolve, reject } = Promise.withResolvers<ProbeReport>();
    const ended = (code: number | null) => reject(new Error(`the probe ended with ${code}`));
    const overdue = () => reject(new Error(`the probe waited ${this.#answerMsMax} ms for ${what}`));
    const timeout = setTimeout(overdue, this.#answerMsMax);
    this.#child.once('message', resolve).once('exit', ended);
    try {
      return await promise;
    } finally {
      clearTimeout(timeout);
      this.#child.off('message', resolve).off('exit', ended);
    }
  }

  stop(): void {
    this.#child.kill();
  }
}

// The process of a fleet, as its parent holds it.

import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { FleetOrder, FleetReport, FleetSettings } from './fleet-process.ts';

const PROGRAM = join(import.meta.dirname, 'fleet-process.ts');

export class FleetHandle {
  readonly #child: ChildProcess;
  #report: FleetReport | undefined;

  constructor(settings: FleetSettings) {
    this.#child = fork(PROGRAM, [JSON.stringify(settings)]);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the fleet did not start');
    return this.#child.pid;
  }

  get report(): FleetReport {
    if (this.#report === undefined) throw new Error('the fleet has told nothing');
    return this.#report;
  }

  /** Resolves when what the order told is committed. */
  async perform(order: FleetOrder): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<FleetReport>();
    const ended = (code: number | null) => reject(new Error(`the fleet ended with ${code}`));
    this.#child.once('message', resolve).once('exit', ended);
    this.#child.send(order);
    this.#report = await promise;
    this.#child.off('exit', ended);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.once('exit', () => resolve());
    this.#child.send({ kind: 'stop' });
    await promise;
  }
}

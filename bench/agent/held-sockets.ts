// Connections over loopback that live for long and move once a period. Both ends count: N sockets are N / 2 connections.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Bench } from './hosts.ts';

const PROGRAM = fileURLToPath(new URL('./held-sockets-holder.ts', import.meta.url));
/** Of one process: below the usual hard limit of descriptors, which root may not always raise. */
const SOCKETS_PER_HOLDER = 16_000;

export class HeldSockets {
  readonly #holders: ChildProcess[] = [];

  /** Resolves when all are connected; a few more than `count`, when that is odd. */
  static async open(bench: Bench, count: number, periodMs: number): Promise<HeldSockets> {
    const held = new HeldSockets();
    for (let left = count; left > 0; left -= SOCKETS_PER_HOLDER) {
      await held.#addHolder(bench, Math.ceil(Math.min(left, SOCKETS_PER_HOLDER) / 2), periodMs);
    }
    return held;
  }

  async #addHolder(bench: Bench, connections: number, periodMs: number): Promise<void> {
    const holder = bench.run(bench.server, process.execPath, PROGRAM, String(connections), String(periodMs));
    this.#holders.push(holder);
    if (holder.stdout === null) throw new Error('no pipe');
    for await (const line of createInterface({ input: holder.stdout })) {
      if (line === 'connected') return;
    }
    throw new Error(`${connections} connections were not made`);
  }

  async stop(): Promise<void> {
    const ended = this.#holders.map((holder) => once(holder, 'exit'));
    for (const holder of this.#holders) holder.kill('SIGKILL');
    await Promise.all(ended);
  }
}

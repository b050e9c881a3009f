// Short connections from a lab host, at a steady rate until the test has enough of them. What their client saw is the truth.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Lab } from './lab.ts';

export const SHORT_CONNECTIONS_CLIENT = fileURLToPath(new URL('./short-connections-client.ts', import.meta.url));

export interface ShortConnectionsReport {
  connections: number;
  refused: number;
  /** By the error's code. */
  other: Record<string, number>;
}

export interface ShortConnectionsOptions {
  /** Of the lab: where they come from. */
  host: string;
  address: string;
  port: number;
  /** Where nobody listens: some of the attempts go there. */
  closedPort: number;
  ratePerSecond: number;
}

export class ShortConnections {
  readonly #client: ChildProcess;
  readonly #output: Promise<string>;

  constructor({ host, address, port, closedPort, ratePerSecond }: ShortConnectionsOptions, lab: Lab) {
    const args = [SHORT_CONNECTIONS_CLIENT, address, ...[port, closedPort, ratePerSecond].map(String)];
    this.#client = lab.network.host(host).spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    lab.others.push(this.#client);
    assert.ok(this.#client.stdout !== null);
    this.#output = text(this.#client.stdout);
  }

  /** Opens no more, and returns when the last one has closed. */
  async end(): Promise<ShortConnectionsReport> {
    this.#client.kill('SIGTERM');
    return JSON.parse(await this.#output) as ShortConnectionsReport;
  }
}

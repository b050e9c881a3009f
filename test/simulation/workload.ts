// Programs on the hosts: connections that begin, move bytes and end. Every connection has a server port of its own, except those of a
// burst, which share one, so a wrong sum names its connection.
import { Role } from '../../host/wire/gen/kernel-events-layout.ts';
import type { Connection, Host, ModelKernel } from './model-kernel.ts';
import type { Random } from './random.ts';
import type { Scenario } from './scenario.ts';
import type { Schedule } from './schedule.ts';

/** Server ports lie below the ephemeral range, so that an end without a role is oriented by them. */
const FIRST_PORT = 10_000;
const CLOSE_GAP_MS_MAX = 6_000;
const OUTSIDE_CHANCE = 0.15;
const FAILURE_CHANCE = 0.12;
const SHORT_CHANCE = 0.4;
const JOINLESS_CHANCE = 0.1;
const ODD_CHANCE = 0.1;
const FIRST_ODD_CLIENT_PORT = 25_000;
const FIRST_ODD_SERVER_PORT = 61_500;

export class Workload {
  readonly #scenario: Scenario;
  readonly #kernel: ModelKernel;
  readonly #schedule: Schedule;
  readonly #random: Random;
  #nextPort = FIRST_PORT;
  #oddCount = 0;

  constructor(scenario: Scenario, kernel: ModelKernel, schedule: Schedule, random: Random) {
    this.#scenario = scenario;
    this.#kernel = kernel;
    this.#schedule = schedule;
    this.#random = random;
  }

  /** Everything that will happen until `endMs`; all connections are closed by then. */
  plan(endMs: number): void {
    const { windows, connectionsPerWindow, burst } = this.#scenario;
    for (let count = windows * connectionsPerWindow; count > 0; count--) {
      const atMs = this.#random.next() * (endMs - 1_500);
      this.#schedule.at(atMs, () => this.#begin(endMs));
    }
    for (let count = burst === 0 ? 0 : this.#random.between(1, 3); count > 0; count--) {
      const atMs = this.#random.next() * (endMs - 2_500);
      // Several in a row fill what one agent may send without an answer.
      for (let round = 0; round < this.#scenario.burstRounds; round++)
        this.#schedule.at(Math.min(atMs + round * 1_000, endMs - 2_500), () => this.#burst(burst, endMs));
    }
  }

  #begin(endMs: number): void {
    const random = this.#random;
    const port = this.#nextPort++;
    const [client, server] = this.#pickHosts();
    if (random.chance(FAILURE_CHANCE)) return this.#kernel.failConnect(client, port, this.#schedule.nowMs);
    this.#live(this.#connect(client, server, port), random.chance(SHORT_CHANCE) ? 300 : 15_000, endMs);
  }

  #burst(count: number, endMs: number): void {
    const [client, server] = this.#pickHosts();
    const port = this.#nextPort++;
    for (let index = 0; index < count; index++) {
      this.#schedule.after(this.#random.next() * 600, () => {
        this.#live(this.#connect(client, server, port), this.#random.chance(0.9) ? 200 : 2_000, endMs);
      });
    }
  }

  #connect(client: Host, server: Host | undefined, port: number): Connection {
    if (this.#scenario.joinless && server !== undefined && this.#random.chance(ODD_CHANCE)) {
      const index = this.#oddCount++;
      return this.#kernel.connectOdd(
        client,
        server,
        FIRST_ODD_CLIENT_PORT + index,
        FIRST_ODD_SERVER_PORT + index,
        this.#schedule.nowMs,
      );
    }
    const isJoined = !this.#scenario.joinless || server === undefined || !this.#random.chance(JOINLESS_CHANCE);
    return this.#kernel.connect(client, server, port, this.#schedule.nowMs, isJoined);
  }

  /** The last host has no agent; undefined stands for an address that is nobody's. */
  #pickHosts(): [Host, Host | undefined] {
    const { hosts } = this.#kernel;
    const watched = hosts.slice(0, -1);
    if (this.#random.chance(OUTSIDE_CHANCE)) return [this.#random.pick(watched), undefined];
    if (this.#random.chance(OUTSIDE_CHANCE)) return [hosts[hosts.length - 1], this.#random.pick(watched)];
    return [this.#random.pick(watched), this.#random.pick(watched)];
  }

  #live(connection: Connection, lifeMsMax: number, endMs: number): void {
    const random = this.#random;
    const openedMs = this.#schedule.nowMs;
    const closeMs = Math.min(endMs, openedMs + 20 + random.next() * lifeMsMax);
    for (let atMs = openedMs + random.next() * 50; atMs < closeMs; atMs += 20 + random.next() ** 2 * 1_500) {
      this.#schedule.at(atMs, () => this.#transfer(connection));
    }
    const [first, second] = random.chance(0.5) ? [Role.Client, Role.Server] : [Role.Server, Role.Client];
    const gapMs = random.chance(0.3) ? random.next() * CLOSE_GAP_MS_MAX : random.next() * 30;
    this.#schedule.at(closeMs, () => this.#kernel.closeEnd(connection, first, this.#schedule.nowMs));
    this.#schedule.at(Math.min(endMs, closeMs + gapMs), () =>
      this.#kernel.closeEnd(connection, second, this.#schedule.nowMs),
    );
  }

  #transfer(connection: Connection): void {
    const size = (): number => Math.floor(this.#random.next() ** 4 * 200_000);
    this.#kernel.transfer(connection, size(), this.#random.chance(0.7) ? size() : 0, this.#schedule.nowMs);
  }
}

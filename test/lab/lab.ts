// One lab: hosts, one scoped agent for each, one reducer; the programs under test run as users run them, as processes of their own.

import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EdgesAnswer, ListenersAnswer } from '../../host/api/edge-answer.ts';
import type { LevelName } from '../../host/export/levels.ts';
import { type LabHost, LabNetwork } from './network.ts';
import { waitFor } from './wait.ts';

const MAIN = fileURLToPath(new URL('../../host/cmd/main.ts', import.meta.url));

/** A running `tributary ROLE`, with its log. */
export class Role {
  readonly name: string;
  readonly process: ChildProcess;
  log = '';
  #exit: Promise<number | null>;

  constructor(island: LabHost, name: string, args: string[], environment: Record<string, string> = {}) {
    this.name = name;
    this.process = island.spawn(process.execPath, [MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.log += chunk.toString();
      });
    }
    this.#exit = new Promise((resolve) => this.process.once('close', resolve));
  }

  get isRunning(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  async logged(pattern: RegExp): Promise<RegExpMatchArray> {
    return waitFor(
      () => {
        const match = this.log.match(pattern);
        if (match === null && !this.isRunning) throw new Error(`${this.name} ended early:\n${this.log}`);
        return match ?? undefined;
      },
      `${this.name} to log ${pattern}`,
      { detail: () => this.log },
    );
  }

  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.isRunning) this.process.kill(signal);
    return this.#exit;
  }
}

export interface LabOptions {
  hosts: string[];
  /** Hosts of a second network, which has the same addresses. */
  twinHosts?: string[];
  /** Hosts that get no agent, e.g. a router. */
  unwatched?: string[];
  windowSeconds?: number;
  reducerArgs?: string[];
  /** Further flags of the agent of a host. */
  agentArgs?: (host: string) => string[];
  reducerEnvironment?: Record<string, string>;
  /** Loopback address at which an agent finds the reducer, by host; 127.0.0.1 unless named. */
  reducerAddress?: Record<string, string>;
}

export const REDUCER_PORT = 4320;

export class Lab {
  readonly network = new LabNetwork();
  readonly directory = mkdtempSync(join(tmpdir(), 'tributary-lab-'));
  readonly agents = new Map<string, Role>();
  readonly others: ChildProcess[] = [];
  island!: LabHost;
  reducer!: Role;
  readonly #options: LabOptions;

  constructor(options: LabOptions) {
    this.#options = options;
  }

  get apiPath(): string {
    return join(this.directory, 'api.sock');
  }

  get windowSeconds(): number {
    return this.#options.windowSeconds ?? 1;
  }

  async start(): Promise<void> {
    await this.prepare();
    await this.begin();
  }

  /** The network alone: hosts, and the island for the programs that watch them. */
  async prepare(): Promise<LabHost> {
    const { hosts, twinHosts } = this.#options;
    await this.network.start(...(twinHosts === undefined ? [hosts] : [hosts, twinHosts]));
    this.island = await this.network.addIsland('mgmt');
    return this.island;
  }

  /** Reducer and agents. */
  async begin(): Promise<void> {
    this.startReducer();
    await this.reducer.logged(/listening/);
    const watched = [...this.network.hosts.keys()].filter((name) => !this.#options.unwatched?.includes(name));
    for (const name of watched) this.startAgent(name);
    await Promise.all(watched.map((name) => this.agents.get(name)?.logged(/connected/)));
  }

  startReducer(): void {
    this.reducer = new Role(
      this.island,
      'reducer',
      [
        'reducer',
        ...['--listen', `127.0.0.1:${REDUCER_PORT}`, '--api', `unix:${this.apiPath}`],
        ...['--window', `${this.windowSeconds}s`, '--lateness', '2s'],
        ...(this.#options.reducerArgs ?? []),
      ],
      this.#options.reducerEnvironment,
    );
  }

  startAgent(name: string): Role {
    const scope = `netns=${this.network.host(name).path}`;
    const agent = new Role(this.island, `agent ${name}`, [
      'agent',
      '--reducer',
      `${this.#options.reducerAddress?.[name] ?? '127.0.0.1'}:${REDUCER_PORT}`,
      '--scope',
      scope,
      '--node',
      name,
      ...(this.#options.agentArgs?.(name) ?? []),
    ]);
    this.agents.set(name, agent);
    return agent;
  }

  /** An agent that looks at a host and writes a recording, without a reducer. It ends with the lab. */
  recordAgent(name: string, path: string): Role {
    const scope = `netns=${this.network.host(name).path}`;
    const window = `${this.windowSeconds}s`;
    const args = ['agent', '--output', `file:${path}`, '--scope', scope, '--node', name, '--window', window];
    const agent = new Role(this.island, `recording agent ${name}`, args);
    this.agents.set(name, agent);
    return agent;
  }

  /** Runs a long-lived program on a host; it ends with the lab. */
  run(host: string, program: string, ...args: string[]): ChildProcess {
    const child = this.network.host(host).spawn(program, args, { stdio: 'ignore' });
    this.others.push(child);
    return child;
  }

  async listeners(): Promise<ListenersAnswer> {
    return JSON.parse(await getOverUnix(this.apiPath, '/api/v1/listeners')) as ListenersAnswer;
  }

  async edges(level: LevelName, windows = 1000): Promise<EdgesAnswer> {
    return JSON.parse(
      await getOverUnix(this.apiPath, `/api/v1/edges?level=${level}&windows=${windows}`),
    ) as EdgesAnswer;
  }

  /** Polls the edges until `done` returns a value. */
  async untilEdges<T>(level: LevelName, what: string, done: (answer: EdgesAnswer) => T | undefined): Promise<T> {
    let last: EdgesAnswer | undefined;
    return waitFor(
      async () => {
        last = await this.edges(level);
        return done(last);
      },
      what,
      { detail: () => `${JSON.stringify(last, undefined, 1)}\n${this.reducer.log.slice(-4000)}` },
    );
  }

  async stop(): Promise<void> {
    for (const agent of this.agents.values()) await agent.kill('SIGKILL');
    if (this.reducer !== undefined) await this.reducer.kill('SIGKILL');
    for (const child of this.others) child.kill('SIGKILL');
    await this.network.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Resolves when a program on the host listens on the port. */
export async function listening(host: LabHost, port: number): Promise<void> {
  await waitFor(
    async () => ((await host.exec('ss', '-Hltn', `sport = :${port}`)).trim() !== '' ? true : undefined),
    `a listener on port ${port} of ${host.name}`,
  );
}

function getOverUnix(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(`${path}: ${response.statusCode} ${body}`));
      });
    });
    call.once('error', reject);
    call.end();
  });
}

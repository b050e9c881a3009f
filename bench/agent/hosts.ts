// Two hosts made of network namespaces, nginx on one of them, and agents that come and go.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LabHost, LabNetwork } from '../../test/lab/network.ts';
import { waitFor } from '../../test/lab/wait.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'host/cmd/main.ts');
export const WEB_PORT = 8080;
const BULK_PORT = 5201;

/** `one end`: the client is on another host, which nobody watches. `both ends`: it is on the same host, over loopback. */
export type Topology = 'one end' | 'both ends';

export const AGENTS = ['none', 'tcp', 'all'] as const;
export type AgentKind = (typeof AGENTS)[number];

const FLAGS: Record<AgentKind, string[]> = {
  none: [],
  tcp: ['--no-udp', '--no-dns', '--no-drops'],
  all: [],
};

export class RunningAgent {
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  /** What it tells. */
  readonly path: string;
  #log = '';

  constructor(args: string[], path: string) {
    this.path = path;
    this.#process = spawn(process.execPath, [MAIN, 'agent', '--output', `file:${path}`, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // As `npm start` does.
      env: { ...process.env, NODE_COMPILE_CACHE: join(ROOT, '.cache/compiled') },
    });
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      this.#log += chunk.toString();
    });
    this.#ended = once(this.#process, 'exit');
  }

  get pid(): number {
    const { pid } = this.#process;
    if (pid === undefined) throw new Error('the agent did not start');
    return pid;
  }

  async started(): Promise<void> {
    await waitFor(() => {
      if (this.#process.exitCode !== null) throw new Error(`the agent ended:\n${this.#log}`);
      return this.#log.includes('looking') ? true : undefined;
    }, 'the agent to look');
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGTERM');
    await this.#ended;
  }
}

export class Bench {
  readonly #windowMs: number;
  readonly #network = new LabNetwork();
  readonly directory = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
  readonly #others: ChildProcess[] = [];
  #agents = 0;

  /** `windowMs`: of the agents. */
  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  get server(): LabHost {
    return this.#network.host('server');
  }

  get client(): LabHost {
    return this.#network.host('client');
  }

  async start(): Promise<void> {
    await this.#network.start(['client', 'server']);
    // A client that opens twenty thousand connections a second is out of ports after two, and waits instead of asking.
    for (const host of [this.client, this.server])
      await host.exec('sysctl', '-qw', 'net.ipv4.ip_local_port_range=10000 65535', 'net.ipv4.tcp_tw_reuse=1');
    this.#startNginx();
    await this.listening(WEB_PORT);
  }

  /** Where the clients of a topology run, and what they connect to. */
  place(topology: Topology): { host: LabHost; address: string } {
    return topology === 'one end'
      ? { host: this.client, address: this.server.v4 }
      : { host: this.server, address: '127.0.0.1' };
  }

  /** An agent that watches the server's host alone; undefined for none. */
  async startAgent(kind: AgentKind, isCompressed = false): Promise<RunningAgent | undefined> {
    if (kind === 'none') return undefined;
    const path = join(this.directory, `agent-${this.#agents++}.rec${isCompressed ? '.zst' : ''}`);
    const agent = new RunningAgent(
      ['--scope', `netns=${this.server.path}`, '--window', `${this.#windowMs}ms`, ...FLAGS[kind]],
      path,
    );
    await agent.started();
    return agent;
  }

  /** Runs a program on a host until the benchmark ends or it is killed. */
  run(host: LabHost, program: string, ...args: string[]): ChildProcess {
    const child = host.spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#others.push(child);
    return child;
  }

  async listening(port: number): Promise<void> {
    await waitFor(
      async () => ((await this.server.exec('ss', '-Hln', `sport = :${port}`)).trim() !== '' ? true : undefined),
      `a listener on port ${port}`,
    );
  }

  /** One connection from the client's host as fast as it goes; returns the bytes that arrived. */
  async runBulk(seconds: number): Promise<number> {
    this.run(this.server, 'iperf3', '-s', '-1', '-p', String(BULK_PORT));
    await this.listening(BULK_PORT);
    const output = await this.client.exec(
      ...(['iperf3', '-J', '-c', this.server.v4, '-p', String(BULK_PORT), '-t', String(seconds)] as const),
    );
    const { end } = JSON.parse(output) as { end: { sum_received: { bytes: number } } };
    return end.sum_received.bytes;
  }

  async stop(): Promise<void> {
    for (const child of this.#others) child.kill('SIGKILL');
    await this.#network.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #startNginx(): void {
    const root = join(this.directory, 'nginx');
    mkdirSync(join(root, 'html'), { recursive: true });
    writeFileSync(join(root, 'html', 'page'), 'x'.repeat(10_000));
    writeFileSync(join(root, 'nginx.conf'), nginxConfiguration(root));
    this.run(this.server, 'nginx', '-p', root, '-c', join(root, 'nginx.conf'));
  }
}

function nginxConfiguration(root: string): string {
  return `
user root;
daemon off;
worker_processes 1;
pid ${root}/nginx.pid;
error_log ${root}/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${root}/body;
  proxy_temp_path ${root}/proxy;
  fastcgi_temp_path ${root}/fastcgi;
  uwsgi_temp_path ${root}/uwsgi;
  scgi_temp_path ${root}/scgi;
  server { listen ${WEB_PORT}; root ${root}/html; location / { rewrite ^ /page break; } }
}
`;
}

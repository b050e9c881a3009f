// Hosts made of network namespaces. Every host has a veth to a switch (a bridge in a namespace of its own), IPv4 10.99.0.N and IPv6 fd99::N.
// Programs enter with nsenter, not `ip netns exec`, which would hide /sys/fs/cgroup. Names carry the pid, so runs do not meet.

import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
let nextLab = 0;

export class LabHost {
  readonly name: string;
  readonly namespace: string;
  readonly v4: string;
  readonly v6: string;

  constructor(prefix: string, name: string, index: number) {
    this.name = name;
    this.namespace = `${prefix}-${name}`;
    this.v4 = `10.99.0.${index}`;
    this.v6 = `fd99::${index}`;
  }

  get path(): string {
    return `/run/netns/${this.namespace}`;
  }

  /** Runs a program to its end inside the host; throws with its output when it fails. */
  async exec(program: string, ...args: string[]): Promise<string> {
    const { stdout } = await run('nsenter', [`--net=${this.path}`, program, ...args], { maxBuffer: 1 << 26 });
    return stdout;
  }

  /** Like exec, but a failing program is an answer, too. */
  async attempt(program: string, ...args: string[]): Promise<{ code: number; output: string }> {
    try {
      return { code: 0, output: await this.exec(program, ...args) };
    } catch (error) {
      const failure = error as { code?: number; stdout?: string; stderr?: string };
      return { code: failure.code ?? 1, output: `${failure.stdout ?? ''}${failure.stderr ?? ''}` };
    }
  }

  spawn(program: string, args: string[], options: SpawnOptions = {}): ChildProcess {
    return spawn('nsenter', [`--net=${this.path}`, program, ...args], options);
  }

  /** Runs a ruleset inside the host; as an argument, since nft 1.0.9 of Ubuntu 24.04 reads no socket, which Node's pipes are. */
  async nft(ruleset: string): Promise<void> {
    await this.exec('nft', ruleset);
  }
}

export class LabNetwork {
  readonly prefix = `tl${process.pid.toString(36)}${(nextLab++).toString(36)}`;
  readonly hosts = new Map<string, LabHost>();
  #namespaces: string[] = [];

  /** Hosts by network. Networks have the same addresses and nothing that links them. */
  async start(...networks: string[][]): Promise<void> {
    for (const [network, names] of networks.entries()) {
      const bridge = `${this.prefix}-sw${network}`;
      await this.#addNamespace(bridge);
      await run('ip', ['-n', bridge, 'link', 'add', 'br0', 'type', 'bridge']);
      await run('ip', ['-n', bridge, 'link', 'set', 'br0', 'up']);
      for (const [index, name] of names.entries()) await this.#addHost(name, index + 1, bridge);
    }
  }

  /** `index`: within its network, from 1. `bridge`: namespace of its switch. */
  async #addHost(name: string, index: number, bridge: string): Promise<void> {
    const host = new LabHost(this.prefix, name, index);
    await this.#addNamespace(host.namespace);
    const port = `p${index}`;
    await run('ip', [
      ...['link', 'add', 'eth0', 'netns', host.namespace],
      ...['type', 'veth', 'peer', 'name', port, 'netns', bridge],
    ]);
    await run('ip', ['-n', bridge, 'link', 'set', port, 'master', 'br0', 'up']);
    await run('ip', ['-n', host.namespace, 'addr', 'add', `${host.v4}/24`, 'dev', 'eth0']);
    await run('ip', ['-n', host.namespace, 'addr', 'add', `${host.v6}/64`, 'dev', 'eth0', 'nodad']);
    await run('ip', ['-n', host.namespace, 'link', 'set', 'eth0', 'up']);
    this.hosts.set(name, host);
  }

  /** A namespace without a link to the others: the place of reducer, agents and collector. */
  async addIsland(name: string): Promise<LabHost> {
    const host = new LabHost(this.prefix, name, 0);
    await this.#addNamespace(host.namespace);
    return host;
  }

  host(name: string): LabHost {
    const host = this.hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name} in this lab`);
    return host;
  }

  /** Ends what still runs in the namespaces of this lab, then removes them. */
  async stop(): Promise<void> {
    for (const namespace of this.#namespaces) {
      const { stdout } = await run('ip', ['netns', 'pids', namespace]).catch(() => ({ stdout: '' }));
      for (const pid of stdout.split('\n').filter(Boolean)) tryKill(Number(pid));
      await run('ip', ['netns', 'del', namespace]).catch((error: Error) => console.error(`lab: ${error.message}`));
    }
    this.#namespaces = [];
  }

  async #addNamespace(namespace: string): Promise<void> {
    await run('ip', ['netns', 'add', namespace]);
    this.#namespaces.push(namespace);
    await run('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

// Hosts for the tests: network namespaces with unique names, joined by veth pairs, removed at the end whatever happened.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Calls } from './peer.ts';

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Waits until the condition holds. */
export async function waitFor(what: string, condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(5)) if (condition()) return;
  throw new Error(`this did not come: ${what}`);
}

/** A peer program: its calls, and its process. */
export type Peer = Calls & { process: ChildProcess };

/** Far more than anything here takes on a busy machine. */
const PATIENCE_MS = 60_000;
let labs = 0;

export class Lab {
  readonly #prefix: string;
  readonly #hosts: Host[] = [];

  constructor() {
    if (process.getuid?.() !== 0)
      throw new Error('these tests make network namespaces and load eBPF programs: run them as root');
    labs += 1;
    this.#prefix = `tb${process.pid}x${labs}`;
  }

  host(name: string): Host {
    const host = new Host(`${this.#prefix}${name}`);
    this.#hosts.push(host);
    return host;
  }

  /** A cable: `left` gets the first address, `right` the second; give the prefix length with them. */
  connect(left: Host, right: Host, [leftAddress, rightAddress]: [string, string]): [string, string] {
    const [leftDevice, rightDevice] = [left.nextDevice(), right.nextDevice()];
    run(
      'ip',
      'link',
      'add',
      leftDevice,
      'netns',
      left.name,
      'type',
      'veth',
      'peer',
      'name',
      rightDevice,
      'netns',
      right.name,
    );
    left.address(leftDevice, leftAddress);
    right.address(rightDevice, rightAddress);
    return [leftDevice, rightDevice];
  }

  close(): void {
    for (const host of this.#hosts) host.close();
  }
}

export class Host {
  readonly name: string;
  /** Inode of the network namespace, as in SocketEvent.netns. */
  readonly netns: number;
  #devices = 0;
  readonly #peers: Peer[] = [];
  readonly #programs: Program[] = [];

  constructor(name: string) {
    this.name = name;
    run('ip', 'netns', 'add', name);
    this.netns = statSync(`/run/netns/${name}`).ino;
    this.ip('link', 'set', 'lo', 'up');
  }

  ip(...args: string[]): string {
    return run('ip', '-n', this.name, ...args);
  }

  /** Runs a command inside, to its end. */
  run(...command: string[]): string {
    return run('ip', 'netns', 'exec', this.name, ...command);
  }

  sysctl(name: string, value: number | string): void {
    this.run('sysctl', '-q', '-w', `${name}=${value}`);
  }

  /** Rules as an argument: nft 1.0.9 of Ubuntu 24.04 reads no socket, which is what Node's pipes are. */
  nft(rules: string): void {
    this.run('nft', rules);
  }

  nextDevice(): string {
    return `e${this.#devices++}`;
  }

  address(device: string, address: string): void {
    this.ip('address', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []));
    this.ip('link', 'set', device, 'up');
  }

  /** A counter of this namespace, Tcp RetransSegs or TcpExt ListenDrops for example. */
  counter(protocol: string, name: string): number {
    const lines = this.run('cat', '/proc/net/snmp', '/proc/net/netstat')
      .split('\n')
      .filter((line) => line.startsWith(`${protocol}: `));
    const [names, values] = lines.map((line) => line.split(' '));
    return Number(values[names.indexOf(name)]);
  }

  /** This host's sockets with `port` at either end in one TCP state, as `ss` lists them; queues in bytes. */
  sockets(state: string, port: number): { receive: number; send: number; timer: string }[] {
    const lines = this.run('ss', '-Htno', 'state', state, `( sport = :${port} or dport = :${port} )`)
      .split('\n')
      .filter((line) => line !== '');
    return lines.map((line) => {
      const [receive, send] = line.trim().split(/ +/).map(Number);
      return { receive, send, timer: line.match(/timer:\((\w+)/)?.[1] ?? '' };
    });
  }

  /** Starts a command here; it ends with the host. */
  start(...command: string[]): Program {
    const program = new Program(this.name, command);
    this.#programs.push(program);
    return program;
  }

  /** Starts a socket program here. */
  peer(): Peer {
    const child = spawn('ip', ['netns', 'exec', this.name, process.execPath, join(import.meta.dirname, 'peer.ts')], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const pending = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
    let next = 0;
    child.on('message', (reply: { id: number; result?: unknown; error?: string }) => {
      const call = pending.get(reply.id);
      pending.delete(reply.id);
      if (reply.error === undefined) call?.resolve(reply.result);
      else call?.reject(new Error(reply.error));
    });
    const peer = new Proxy({ process: child } as Peer, {
      get(target, name: keyof Calls | 'process' | 'then') {
        if (name === 'process') return target.process;
        if (name === 'then') return undefined;
        return (...args: unknown[]) =>
          new Promise((resolve, reject) => {
            next += 1;
            const timer = setTimeout(
              () => reject(new Error(`the socket program did not finish: ${name}(${args})`)),
              PATIENCE_MS,
            );
            const settle =
              <T>(finish: (value: T) => void) =>
              (value: T) => {
                clearTimeout(timer);
                finish(value);
              };
            pending.set(next, { resolve: settle(resolve), reject: settle(reject) });
            child.send({ id: next, name, arguments: args });
          });
      },
    });
    this.#peers.push(peer);
    return peer;
  }

  close(): void {
    for (const peer of this.#peers) peer.process.kill('SIGKILL');
    for (const program of this.#programs) program.kill();
    run('ip', 'netns', 'delete', this.name);
  }
}

/** A program that runs in a host; what it writes is kept. */
export class Program {
  readonly #child: ChildProcess;
  output = '';

  constructor(host: string, command: readonly string[]) {
    this.#child = spawn('ip', ['netns', 'exec', host, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
  }

  /** Its first line, once it has written it. */
  async firstLine(): Promise<string> {
    await waitFor('a line of output', () => this.output.includes('\n'));
    return this.output.slice(0, this.output.indexOf('\n'));
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

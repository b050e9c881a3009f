// A containerd of its own in a folder of its own: the daemon, its store and its API, without snapshots, images and tasks.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { callGrpc, openGrpc } from '../grpc-call.ts';

export interface ContainerRecord {
  namespace: string;
  id: string;
  image: string;
  labels: Record<string, string>;
}

/** Why there can be none here. */
export function whyNoContainerd(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.some((folder) => isExecutable(join(folder, 'containerd'))) ? undefined : 'needs containerd';
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export class Containerd {
  readonly socket: string;
  readonly #folder: string;
  #daemon: ChildProcess | undefined;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'containerd-'));
    this.socket = join(this.#folder, 'c.sock');
  }

  async start(): Promise<void> {
    const at = (name: string): string => JSON.stringify(join(this.#folder, name));
    const config = [
      'version = 2',
      `root = ${at('root')}\nstate = ${at('state')}`,
      // Of Kubernetes' interface the daemon would need a network; the records of its containers are the same without.
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      `[grpc]\naddress = ${at('c.sock')}\n[ttrpc]\naddress = ${at('t.sock')}\n`,
    ];
    writeFileSync(join(this.#folder, 'config.toml'), config.join('\n'));
    const args = ['--config', join(this.#folder, 'config.toml'), '--log-level', 'error'];
    const daemon = spawn('containerd', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#daemon = daemon;
    while (!(await this.#answers())) {
      if (daemon.exitCode !== null) throw new Error(`containerd ended with ${daemon.exitCode}`);
      await sleep(20);
    }
  }

  async #answers(): Promise<boolean> {
    if (!existsSync(this.socket)) return false;
    try {
      (await openGrpc(this.socket)).close();
      return true;
    } catch {
      return false;
    }
  }

  /** By its own client, which knows no image without having its layers. */
  createByClient({ namespace, id, labels }: Omit<ContainerRecord, 'image'>): void {
    const rootfs = join(this.#folder, 'rootfs');
    mkdirSync(rootfs, { recursive: true });
    const told = Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]);
    const args = ['-a', this.socket, '-n', namespace, 'containers', 'create', ...told, '--rootfs', rootfs, id];
    execFileSync('ctr', args);
  }

  /** As Kubernetes' interface does it. */
  async create({ namespace, id, image, labels }: ContainerRecord): Promise<void> {
    const container = new BinaryWriter();
    text(container, 1, id);
    for (const [key, value] of Object.entries(labels)) {
      part(container, 2, (entry) => {
        text(entry, 1, key);
        text(entry, 2, value);
      });
    }
    text(container, 3, image);
    part(container, 4, (runtime) => text(runtime, 1, 'io.containerd.runc.v2'));
    part(container, 5, (spec) => text(spec, 1, 'types.containerd.io/opencontainers/runtime-spec/1/Spec'));
    const message = new BinaryWriter().uint32(tag(1)).bytes(container.finish()).finish();
    const session = await openGrpc(this.socket);
    const path = '/containerd.services.containers.v1.Containers/Create';
    await callGrpc(session, { path, metadata: { 'containerd-namespace': namespace }, message });
    session.close();
  }

  async stop(): Promise<void> {
    if (this.#daemon?.exitCode === null && this.#daemon.kill()) await once(this.#daemon, 'exit');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const LENGTH_DELIMITED = 2;

function tag(field: number): number {
  return (field << 3) | LENGTH_DELIMITED;
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.uint32(tag(field)).string(value);
}

function part(writer: BinaryWriter, field: number, write: (inner: BinaryWriter) => void): void {
  const inner = new BinaryWriter();
  write(inner);
  writer.uint32(tag(field)).bytes(inner.finish());
}

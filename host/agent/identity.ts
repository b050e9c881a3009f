// Who this agent is (docs/protocol.md, section 1): the machine, its boot, and what of it is looked at. One agent per identity at a time.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { UsageError } from '../lib/usage-error.ts';

const MACHINE_ID_PATHS = ['/etc/machine-id', '/var/lib/dbus/machine-id'];
const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id';

export interface Identity {
  /** Hash of the machine id. */
  nodeId: bigint;
  /** Hash of the boot id. */
  bootId: bigint;
  /** The boot id as text: makes the names of network namespaces unique. */
  boot: string;
  session: bigint;
}

/** A new session of this machine. */
export function createIdentity(): Identity {
  const boot = readFileSync(BOOT_ID_PATH, 'utf8').trim();
  return {
    nodeId: hash64(readMachineId()),
    bootId: hash64(boot),
    boot,
    session: randomBytes(8).readBigUInt64LE() || 1n,
  };
}

/** A machine without an id is known by its name. */
function readMachineId(): string {
  for (const path of MACHINE_ID_PATHS) {
    try {
      const id = readFileSync(path, 'utf8').trim();
      if (id !== '') return id;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return hostname();
}

function hash64(text: string): bigint {
  return createHash('sha256').update(text).digest().readBigUInt64LE();
}

/**
 * Held by the process: an abstract socket (unix(7)) is gone when its process is, however it ended. It is seen within one network namespace,
 * so agents of one host share the host's.
 */
export class AgentLock {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Throws UsageError TRB_AGENT_RUNS when another agent of this identity runs. */
  static async take({ nodeId, bootId }: Identity, scope: string): Promise<AgentLock> {
    const server = createServer((connection) => connection.destroy());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      const what = scope === '' ? 'this host' : `the scope ${scope}`;
      reject(new UsageError('TRB_AGENT_RUNS', `another agent looks at ${what}: stop it first`));
    });
    server.listen({ path: `\0tributary-agent-${nodeId.toString(16)}-${bootId.toString(16)}-${scope}` }, resolve);
    await promise;
    return new AgentLock(server);
  }

  release(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

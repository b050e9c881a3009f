// Who this agent is (docs/protocol.md, section 1): the machine, its boot, and what of it is looked at. One agent per identity at a time.
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../lib/usage-error.ts';

const MACHINE_ID_PATHS = ['/etc/machine-id', '/var/lib/dbus/machine-id'];
const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id';
/** Gone with the boot, as what is noted there should be. */
const STATE_FOLDER = '/run/tributary';

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

/** When an agent looked at the same thing last, so that the next one can say for how long nobody did. */
export class LookNote {
  readonly #path: string;

  /** `name`: of what is looked at. */
  constructor(name: string, folder = STATE_FOLDER) {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    this.#path = join(folder, `${name.replaceAll('/', '_')}.seen`);
  }

  /** Milliseconds since the last look in this boot; 0 when there was none. */
  blindMs(nowMs: number): number {
    try {
      return Math.max(0, Math.round(nowMs - statSync(this.#path).mtimeMs));
    } catch (error) {
      if (isMissing(error)) return 0;
      throw error;
    }
  }

  /** Somebody looks now. */
  touch(nowMs: number): void {
    try {
      utimesSync(this.#path, nowMs / 1000, nowMs / 1000);
    } catch (error) {
      if (!isMissing(error)) throw error;
      writeFileSync(this.#path, '');
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

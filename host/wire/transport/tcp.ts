// Sockets for the channel: TCP and unix domain. They carry out what the protocol decides and report what happened; nothing else is known here.
import { strict as assert } from 'node:assert';
import { chmod, lstat, unlink } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { UsageError } from '../../lib/usage-error.ts';
import { formatAddress, isLocal, type ListenAddress } from './address.ts';

/** A dead host is noticed after about this, times the kernel's number of probes. */
const KEEP_ALIVE_MS = 10_000;
/** How long the last bytes, a Goodbye, may take to leave after `close`. */
const CLOSE_TIMEOUT_MS = 1_000;
/** A connection beyond this many is closed at once. */
const CONNECTION_COUNT_MAX = 8_192;

/** What happens on a connection. `closed` comes once and last. */
export interface ConnectionEvents {
  /** `piece` is not reused. */
  bytes(piece: Uint8Array): void;
  /** After `send` had returned false: everything has been handed to the kernel. */
  drained(): void;
  closed(error: Error | undefined): void;
}

export class Connection {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get peer(): string {
    const { remoteAddress, remotePort } = this.#socket;
    return remoteAddress === undefined ? 'unix' : formatAddress({ host: remoteAddress, port: remotePort ?? 0 });
  }

  /** False when the bytes had to be buffered in this process: `drained` will follow. */
  send(bytes: Uint8Array): boolean {
    return !this.#socket.writable || this.#socket.write(bytes);
  }

  /** After what was sent. Nothing is reported any more but `closed`. */
  close(): void {
    if (this.#socket.connecting) this.#socket.destroy();
    this.#socket.removeAllListeners('data').removeAllListeners('drain').resume().end();
    setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS).unref();
  }

  /** Reports events from now on. */
  listen(events: ConnectionEvents): void {
    let failure: Error | undefined;
    this.#socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
    this.#socket.on('data', (piece: Buffer) => events.bytes(piece));
    this.#socket.on('drain', () => events.drained());
    this.#socket.on('error', (error) => {
      failure = error;
    });
    this.#socket.once('close', () => events.closed(failure));
  }
}

export interface ReachOptions {
  address: ListenAddress;
  /** Plaintext may leave this host. */
  insecure: boolean;
}

/** Throws UsageError TRB_INSECURE when plaintext would leave this host. */
export function assertReachable({ address, insecure }: ReachOptions): void {
  if (insecure || isLocal(address)) return;
  const where = formatAddress(address);
  throw new UsageError(
    'TRB_INSECURE',
    `${where} is not on this host and TLS is not available: add --insecure to use plaintext`,
  );
}

/** `connected` is called before any event. A failure to connect is reported as `closed`. */
export function connect(options: ReachOptions, connected: () => void, events: ConnectionEvents): Connection {
  assertReachable(options);
  const socket = createConnection(options.address, connected);
  const connection = new Connection(socket);
  connection.listen(events);
  return connection;
}

export interface ListenerOptions extends ReachOptions {
  /** Several threads listen on the same port, and the kernel spreads the connections; TCP only. */
  reusePort?: boolean;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #accept: (connection: Connection) => ConnectionEvents;
  #server: Server | undefined;

  constructor(options: ListenerOptions, accept: (connection: Connection) => ConnectionEvents) {
    this.#options = options;
    this.#accept = accept;
  }

  /** The address with the port that was chosen when it was 0. */
  get address(): ListenAddress {
    const bound = this.#server?.address();
    assert(bound, 'listening');
    return typeof bound === 'string' ? { path: bound } : { host: bound.address, port: bound.port };
  }

  /** Throws UsageError when the address is taken or must not be used. */
  async start(): Promise<void> {
    assertReachable(this.#options);
    const { address, reusePort = false } = this.#options;
    if ('path' in address) await removeStaleSocket(address.path);
    const server = createServer({ noDelay: true }, (socket) => {
      const connection = new Connection(socket);
      connection.listen(this.#accept(connection));
    });
    server.maxConnections = CONNECTION_COUNT_MAX;
    await listening(server, 'path' in address ? address : { ...address, reusePort });
    this.#server = server;
    // Until now the mode was 0755 at most, and connecting needs the right to write.
    if ('path' in address) await chmod(address.path, 0o660);
  }

  /** Accepts nothing more; resolves when the connections, which the caller closes, are gone. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

/** Removes the socket file of a process that was killed. Throws UsageError TRB_LISTEN_IN_USE when somebody answers on it. */
export async function removeStaleSocket(path: string): Promise<void> {
  const status = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (status === undefined) return;
  if (!status.isSocket()) throw new UsageError('TRB_LISTEN', `${path} exists and is not a socket: choose another path`);
  if (await isAnswered(path)) throw inUse({ path });
  await unlink(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection({ path }, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

async function listening(server: Server, options: ListenAddress & { reusePort?: boolean }): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  }).catch((error: NodeJS.ErrnoException) => {
    throw listenError(options, error);
  });
}

/** Why a server does not listen on `address`, said to the user. */
export function listenError(address: ListenAddress, error: NodeJS.ErrnoException): UsageError {
  if (error.code === 'EADDRINUSE') return inUse(address);
  return new UsageError('TRB_LISTEN', `cannot listen on ${formatAddress(address)}: ${error.message}`);
}

function inUse(address: ListenAddress): UsageError {
  return new UsageError(
    'TRB_LISTEN_IN_USE',
    `${formatAddress(address)} is in use: stop the other process or choose another address`,
  );
}

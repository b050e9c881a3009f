// Sockets for the channel: TCP, TLS and unix domain. They carry out what the protocol decides and report what happened; nothing else is known here.
import { strict as assert } from 'node:assert';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { UsageError } from '../../lib/usage-error.ts';
import type { Credentials } from '../../tls/credentials.ts';
import type { RefusedConnection } from '../../tls/refusal.ts';
import { GoodbyeReason } from '../gen/wire-layout.ts';
import { formatAddress, isLocal, type ListenAddress } from './address.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import { beginsTls, Handshakes, sayGoodbye } from './handshakes.ts';
import { listenError } from './listen-error.ts';
import { secureConnect } from './secure-connect.ts';
import { placeSocket, removeSocket } from './unix-socket.ts';

/** A connection beyond this many is closed at once. */
const CONNECTION_COUNT_MAX = 8_192;

export interface ReachOptions {
  address: ListenAddress;
  /** Plaintext may leave this host. */
  insecure: boolean;
}

/** Throws UsageError TRB_INSECURE when plaintext would leave this host. A unix socket has no need of TLS. */
export function assertReachable({ address, insecure }: ReachOptions, hasTls = false): void {
  if (insecure || hasTls || isLocal(address)) return;
  const where = formatAddress(address);
  throw new UsageError(
    'TRB_INSECURE',
    `${where} is not on this host and there are no certificates: give tls.ca, tls.cert and tls.key ` +
      '(`tributary certs init` makes an authority), or add --insecure to use plaintext',
  );
}

export interface ConnectOptions extends ReachOptions {
  /** With it a TCP connection is TLS. `credentials` is asked for each connection, so that it may change. */
  tls?: { credentials: () => Credentials; serverName?: string };
}

export interface ConnectEvents extends ConnectionEvents {
  /** The TCP connection stands, and TLS begins. */
  securing(): void;
  /** Comes before any bytes. */
  connected(): void;
}

/** A failure to connect is reported as `closed`. */
export function connect(options: ConnectOptions, events: ConnectEvents): Connection {
  const { address, tls } = options;
  assertReachable(options, tls !== undefined);
  const socket =
    'path' in address || tls === undefined
      ? createConnection(address, () => events.connected())
      : secureConnect({ address, credentials: tls.credentials(), serverName: tls.serverName ?? address.host }, () =>
          events.connected(),
        ).once('connect', () => events.securing());
  const connection = new Connection(socket);
  connection.listen(events);
  return connection;
}

export interface ListenerOptions extends ReachOptions {
  /** With them TCP connections have to be TLS, with a certificate. */
  credentials?: Credentials;
  /** Several threads listen on the same port, and the kernel spreads the connections; TCP only. */
  reusePort?: boolean;
}

export interface ListenerDependencies {
  accept: (connection: Connection) => ConnectionEvents;
  /** A connection that `accept` never saw, or that ends with its first bytes. */
  refused: (refused: RefusedConnection) => void;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #dependencies: ListenerDependencies;
  readonly #handshakes: Handshakes | undefined;
  #server: Server | undefined;

  constructor(options: ListenerOptions, dependencies: ListenerDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    const { credentials, address } = options;
    if (credentials === undefined || 'path' in address) return;
    const secured = (connection: Connection): void => connection.listen(dependencies.accept(connection));
    this.#handshakes = new Handshakes({ credentials }, { secured, refused: dependencies.refused });
  }

  /** The address with the port that was chosen when it was 0. */
  get address(): ListenAddress {
    const { address } = this.#options;
    if ('path' in address) return address;
    const bound = this.#server?.address();
    assert(bound && typeof bound === 'object', 'listening');
    return { host: bound.address, port: bound.port };
  }

  /** Throws UsageError when the address is taken or must not be used. */
  async start(): Promise<void> {
    const { address, reusePort = false } = this.#options;
    assertReachable(this.#options, this.#handshakes !== undefined);
    const server = createServer({ noDelay: true }, (socket) => {
      if (this.#handshakes === undefined) this.#acceptPlain(socket);
      else this.#handshakes.take(socket);
    });
    server.maxConnections = CONNECTION_COUNT_MAX;
    if ('path' in address) await placeSocket(address.path, (path) => listening(server, address, { path }));
    else await listening(server, address, { ...address, reusePort });
    this.#server = server;
  }

  /** For connections from now on; those that exist go on. */
  renew(credentials: Credentials): void {
    this.#handshakes?.renew(credentials);
  }

  /** Accepts nothing more; resolves when the connections, which the caller closes, are gone. */
  async stop(): Promise<void> {
    const { address } = this.#options;
    const server = this.#server;
    if (server === undefined) return;
    if ('path' in address) await removeSocket(address.path);
    this.#handshakes?.stop();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #acceptPlain(socket: Socket): void {
    const connection = new Connection(socket);
    const events = this.#dependencies.accept(connection);
    let isFirst = true;
    connection.listen({
      bytes: (piece) => {
        if (isFirst && beginsTls(piece)) {
          this.#dependencies.refused({ refusal: 'tls_to_plaintext', peer: connection.peer, detail: '' });
          sayGoodbye(socket, GoodbyeReason.ProtocolVersion);
          return;
        }
        isFirst = false;
        events.bytes(piece);
      },
      drained: () => events.drained(),
      closed: (error) => events.closed(error),
    });
  }
}

async function listening(
  server: Server,
  address: ListenAddress,
  options: { path: string } | { host: string; port: number; reusePort: boolean },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  }).catch((error: NodeJS.ErrnoException) => {
    throw listenError(address, error);
  });
}

// Where the reducer's HTTP API listens: on a unix socket by default, since it shows other users' connections.
import { createServer } from 'node:https';
import { dirname } from 'node:path';
import fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { limitHttp } from '../lib/http-limits.ts';
import { makeFolder } from '../lib/make-folder.ts';
import { UsageError } from '../lib/usage-error.ts';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Credentials } from '../tls/credentials.ts';
import { reasonOf, type TlsError } from '../tls/openssl-error.ts';
import { HANDSHAKE_TIMEOUT_MS, TLS_VERSION } from '../tls/parameters.ts';
import { type HandshakeRefusal, refusalOfHandshake } from '../tls/refusal.ts';
import { peerOf } from '../wire/transport/connection.ts';
import { listenError } from '../wire/transport/listen-error.ts';
import { assertReachable, type ReachOptions } from '../wire/transport/tcp.ts';
import { giveToGroup, placeSocket, removeSocket } from '../wire/transport/unix-socket.ts';
import { type ApiRefusal, readOrMakeToken, requireToken } from './api-access.ts';
import { type ApiServerDependencies, addApi } from './api-routes.ts';
import { WAIT_SECONDS_MAX } from './edge-query.ts';

export interface ApiServerOptions extends ReachOptions {
  /** Holds the token that is asked for over TCP; without it the token of this host is used. */
  tokenFile?: string;
}

/** Why a request or a connection was refused, in words. */
const WORDS: Readonly<Partial<Record<ApiRefusal | HandshakeRefusal, string>>> = {
  no_token: 'it sent no token',
  wrong_token: 'it sent another token than that of api.token-file',
  plaintext: 'it spoke HTTP to a port for HTTPS',
  tls_version: 'it offers no TLS 1.3',
  abandoned: 'it ended the handshake: it may not trust the certificate of the API',
  too_many: 'too many connections are open',
};

const CONNECTION_COUNT_MAX = 256;
/** Longer than an answer may wait for a window. */
const SILENCE_MS_MAX = 1.5 * WAIT_SECONDS_MAX * 1000;

export class ApiServer {
  readonly #options: ApiServerOptions;
  readonly #dependencies: ApiServerDependencies;
  readonly #log: LimitedLog;
  readonly #refused: Partial<Record<ApiRefusal | HandshakeRefusal, number>> = {};
  #server: FastifyInstance | undefined;
  #token = '';
  #renew: ((credentials: Credentials) => void) | undefined;

  constructor(options: ApiServerOptions, dependencies: ApiServerDependencies & { log: Logger }) {
    this.#options = options;
    this.#log = new LimitedLog(dependencies.log);
    this.#dependencies = dependencies;
  }

  /** Requests and connections refused since the start, by reason; reasons that never occurred are left out. */
  get refused(): Readonly<Partial<Record<ApiRefusal | HandshakeRefusal, number>>> {
    return this.#refused;
  }

  /** With `credentials` a TCP address is HTTPS. Throws UsageError when the address is taken, cannot be made or must not be used. */
  async start(credentials?: Credentials): Promise<void> {
    const { address, tokenFile } = this.#options;
    assertReachable(this.#options, credentials !== undefined);
    const isTcp = 'port' in address;
    const server = isTcp && credentials !== undefined ? this.#createSecure(credentials) : createPlain();
    const limits = { connectionCountMax: CONNECTION_COUNT_MAX, silenceMsMax: SILENCE_MS_MAX };
    limitHttp(server.server, limits, (address = 'unix') => this.#refuse('too_many', address));
    if (isTcp) {
      this.#token = await readOrMakeToken(tokenFile);
      requireToken(
        server,
        () => this.#token,
        (refusal, peer) => this.#refuse(refusal, peer),
      );
    }
    addApi(server, this.#dependencies);
    const listen = async (options: { path: string } | { host: string; port: number }): Promise<void> => {
      await server.listen(options).catch((error: NodeJS.ErrnoException) => {
        throw listenError(address, error);
      });
    };
    if (isTcp) {
      await listen(address);
    } else {
      await makeSocketFolder(dirname(address.path));
      await placeSocket(address.path, (path) => listen({ path }));
    }
    this.#server = server;
  }

  /** Reads the token again, for requests from now on. Throws UsageError TRB_API_TOKEN; then the old one stays. */
  async reload(): Promise<void> {
    const { address, tokenFile } = this.#options;
    if ('port' in address) this.#token = await readOrMakeToken(tokenFile);
  }

  /** For connections from now on. */
  renew(credentials: Credentials): void {
    this.#renew?.(credentials);
  }

  async stop(): Promise<void> {
    const { address } = this.#options;
    if (this.#server === undefined) return;
    if ('path' in address) await removeSocket(address.path);
    await this.#server.close();
    this.#log.flush();
  }

  #createSecure(credentials: Credentials): FastifyInstance {
    return fastify({
      ...{ logger: false, forceCloseConnections: true },
      serverFactory: (handler) => {
        const server = createServer({ ...contextOf(credentials), handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, handler);
        server.on('tlsClientError', (error: TlsError, socket) => {
          this.#refuse(refusalOfHandshake(error), peerOf(socket), reasonOf(error) || error.message);
        });
        this.#renew = (renewed) => server.setSecureContext(contextOf(renewed));
        return server;
      },
    });
  }

  /** `detail`: OpenSSL's words. */
  #refuse(refusal: ApiRefusal | HandshakeRefusal, peer: string, detail = ''): void {
    this.#refused[refusal] = (this.#refused[refusal] ?? 0) + 1;
    this.#log.warn(`api_${refusal}`, { peer }, `the API refused ${peer}: ${WORDS[refusal] ?? detail}`);
  }
}

function createPlain(): FastifyInstance {
  return fastify({ logger: false, forceCloseConnections: true });
}

/** The token tells who asks: browsers and curl have no certificates. */
function contextOf({ cert, key }: Credentials): { cert: string; key: string; minVersion: typeof TLS_VERSION } {
  return { cert, key, minVersion: TLS_VERSION };
}

/** /run/tributary does not survive a restart of the machine. */
async function makeSocketFolder(path: string): Promise<void> {
  const made = await makeFolder(path, 0o750).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError('TRB_API_FOLDER', `cannot make ${path}: ${error.message}; run this as root or choose --api`);
  });
  if (made !== undefined) await giveToGroup(path);
}

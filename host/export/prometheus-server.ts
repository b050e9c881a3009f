/**
 * GET /metrics for Prometheus, on a listener of its own. A scrape tells the sums as of the last closed window and our own counters as of now.
 * It reads and consumes nothing: windows close and commit whether or not anybody scrapes, and two scrapers see the same.
 */
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer, type Server } from 'node:https';
import { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { createGzip } from 'node:zlib';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { Logger } from 'pino';
import { limitHttp } from '../lib/http-limits.ts';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Credentials } from '../tls/credentials.ts';
import { reasonOf, type TlsError } from '../tls/openssl-error.ts';
import { HANDSHAKE_TIMEOUT_MS, mutualContext } from '../tls/parameters.ts';
import { type HandshakeRefusal, refusalOfCertificate, refusalOfHandshake } from '../tls/refusal.ts';
import type { ListenAddress } from '../wire/transport/address.ts';
import { peerOf } from '../wire/transport/connection.ts';
import { listenError } from '../wire/transport/listen-error.ts';
import { assertReachable, type ReachOptions } from '../wire/transport/tcp.ts';
import type { SelfReading } from './otlp-metrics.ts';
import { exposeText, type Snapshot } from './prometheus-text.ts';

/** A Prometheus scrapes no unix sockets. */
export type TcpAddress = Exclude<ListenAddress, { path: string }>;

export interface PrometheusServerOptions extends ReachOptions {
  address: TcpAddress;
  /** SCRAPE_MS_MAX by default. */
  scrapeMsMax?: number;
}

export interface PrometheusServerDependencies {
  log: Logger;
  /** Rows as of the last closed window. Nobody changes them later. */
  snapshot: () => Snapshot;
}

/** Scrapes that are answered at the same time; each keeps the rows of its window in memory. */
export const SCRAPES_MAX = 8;
/** Further ones are refused. A Prometheus needs one. */
export const SCRAPERS_MAX = 64;
/** A scraper that takes nothing for so long is gone. */
const SILENCE_MS_MAX = 30_000;
/** For a whole answer: whoever takes it drop by drop would keep its place from others. A Prometheus waits for ten seconds, if not told otherwise. */
const SCRAPE_MS_MAX = 60_000;
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Why a scraper was refused, in words. */
const WORDS: Readonly<Partial<Record<HandshakeRefusal, string>>> = {
  plaintext: 'it spoke HTTP to a port for HTTPS: set `scheme: https` and a tls_config',
  tls_version: 'it offers no TLS 1.3',
  no_certificate: 'it showed no certificate: set cert_file and key_file in its tls_config',
  unknown_authority: 'its certificate is not from an authority in tls.ca',
  certificate_expired: 'its certificate has expired, or the clocks disagree',
  certificate_not_yet_valid: 'its certificate is not valid yet, or the clocks disagree',
  abandoned: 'it ended the handshake: it may not trust the certificate of this reducer',
  too_many: 'too many scrapers are connected',
};

export class PrometheusServer {
  readonly #options: PrometheusServerOptions;
  readonly #snapshot: () => Snapshot;
  readonly #log: LimitedLog;
  #server: FastifyInstance | undefined;
  #renew: ((credentials: Credentials) => void) | undefined;
  #running = 0;
  #counts = { complete: 0, aborted: 0, busy: 0, refused: 0 };

  constructor(options: PrometheusServerOptions, { log, snapshot }: PrometheusServerDependencies) {
    this.#options = options;
    this.#log = new LimitedLog(log);
    this.#snapshot = snapshot;
  }

  /** Where it listens, with the port that was chosen when it was 0. */
  get address(): TcpAddress {
    const { address } = this.#options;
    const bound = this.#server?.server.address();
    return bound && typeof bound === 'object' ? { host: address.host, port: bound.port } : address;
  }

  /**
   * With `credentials` it is HTTPS, and a scraper has to show a certificate of their authority. Throws UsageError when the address is taken or
   * must not be used.
   */
  async start(credentials?: Credentials): Promise<void> {
    assertReachable(this.#options, credentials !== undefined);
    const { address } = this.#options;
    const server = fastify({
      forceCloseConnections: true,
      serverFactory: (answer) =>
        credentials === undefined ? createServer(answer) : this.#createSecure(credentials, answer),
    });
    const limits = { connectionCountMax: SCRAPERS_MAX, silenceMsMax: SILENCE_MS_MAX };
    limitHttp(server.server, limits, (address = '') => this.#refuse('too_many', address));
    server.get('/metrics', (request, reply) => this.#scrape(request.headers['accept-encoding'] ?? '', reply));
    await server.listen(address).catch((error: NodeJS.ErrnoException) => {
      throw listenError(address, error);
    });
    this.#server = server;
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    this.#log.flush();
  }

  /** For connections from now on. */
  renew(credentials: Credentials): void {
    this.#renew?.(credentials);
  }

  readings(): SelfReading[] {
    return Object.entries(this.#counts).map(([reason, value]) => ({
      metric: 'scrapes',
      attributes: { reason },
      value,
    }));
  }

  #createSecure(credentials: Credentials, answer: RequestListener): Server {
    const server = createSecureServer(
      {
        ...mutualContext(credentials),
        // Whoever is not authorized is cut off below: where Node does it, it does not say who it was.
        ...{ requestCert: true, rejectUnauthorized: false, handshakeTimeout: HANDSHAKE_TIMEOUT_MS },
      },
      answer,
    );
    server.on('tlsClientError', (error: TlsError, socket) =>
      this.#refuse(refusalOfHandshake(error), peerOf(socket), reasonOf(error) || error.message),
    );
    // Before the listener that would read requests from it.
    server.prependListener('secureConnection', (socket) => {
      if (socket.authorized) return;
      this.#refuse(judge(socket), peerOf(socket), String(socket.authorizationError));
      socket.destroy();
    });
    this.#renew = (renewed) => server.setSecureContext(mutualContext(renewed));
    return server;
  }

  /** `detail`: OpenSSL's words. */
  #refuse(refusal: HandshakeRefusal, peer: string, detail = ''): void {
    this.#counts.refused++;
    const message = `the listener for Prometheus refused ${peer}: ${WORDS[refusal] ?? detail}`;
    this.#log.warn(`prometheus_${refusal}`, { peer }, message);
  }

  #scrape(acceptEncoding: string, reply: FastifyReply): FastifyReply {
    if (this.#running >= SCRAPES_MAX) {
      this.#counts.busy++;
      return reply.code(503).send(`${SCRAPES_MAX} scrapes are being answered; scrape less often\n`);
    }
    this.#running++;
    const timer = setTimeout(() => reply.raw.destroy(), this.#options.scrapeMsMax ?? SCRAPE_MS_MAX).unref();
    reply.raw.once('close', () => {
      clearTimeout(timer);
      this.#running--;
      if (reply.raw.writableFinished) this.#counts.complete++;
      else this.#counts.aborted++;
    });
    const text = Readable.from(exposeText(this.#snapshot()), { objectMode: false });
    reply.header('content-type', CONTENT_TYPE);
    if (!/\bgzip\b/.test(acceptEncoding)) return reply.send(text);
    return reply.header('content-encoding', 'gzip').send(text.compose(createGzip()));
  }
}

function judge(socket: TLSSocket): HandshakeRefusal {
  if (socket.getPeerX509Certificate() === undefined) return 'no_certificate';
  return refusalOfCertificate(String(socket.authorizationError));
}

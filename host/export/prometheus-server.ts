/**
 * GET /metrics for Prometheus, on a listener of its own. A scrape tells the sums as of the last closed window and our own counters as of now.
 * It reads and consumes nothing: windows close and commit whether or not anybody scrapes, and two scrapers see the same.
 */
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer, type Server } from 'node:https';
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { limitHttp } from '../lib/http-limits.ts';
import type { Credentials } from '../tls/credentials.ts';
import { HANDSHAKE_TIMEOUT_MS, mutualContext } from '../tls/parameters.ts';
import type { ListenAddress } from '../wire/transport/address.ts';
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

export class PrometheusServer {
  readonly #options: PrometheusServerOptions;
  readonly #snapshot: () => Snapshot;
  #server: FastifyInstance | undefined;
  #renew: ((credentials: Credentials) => void) | undefined;
  #running = 0;
  #counts = { complete: 0, aborted: 0, busy: 0, refused: 0 };

  constructor(options: PrometheusServerOptions, { snapshot }: PrometheusServerDependencies) {
    this.#options = options;
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
    limitHttp(server.server, limits, () => this.#counts.refused++);
    server.get('/metrics', (request, reply) => this.#scrape(request.headers['accept-encoding'] ?? '', reply));
    await server.listen(address).catch((error: NodeJS.ErrnoException) => {
      throw listenError(address, error);
    });
    this.#server = server;
  }

  async stop(): Promise<void> {
    await this.#server?.close();
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
        ...{ requestCert: true, rejectUnauthorized: true, handshakeTimeout: HANDSHAKE_TIMEOUT_MS },
      },
      answer,
    );
    server.on('tlsClientError', () => this.#counts.refused++);
    this.#renew = (renewed) => server.setSecureContext(mutualContext(renewed));
    return server;
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

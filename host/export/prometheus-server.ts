/**
 * GET /metrics for Prometheus, on a listener of its own. A scrape tells the sums as of the last closed window and our own counters as of now.
 * It reads and consumes nothing: windows close and commit whether or not anybody scrapes, and two scrapers see the same.
 */
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { listenError } from '../wire/transport/listen-error.ts';
import { assertReachable, type ReachOptions } from '../wire/transport/tcp.ts';
import type { Profile } from './gen/metrics.ts';
import type { SelfReading } from './otlp-metrics.ts';
import { exposeText, type Snapshot } from './prometheus-text.ts';

export interface PrometheusServerOptions extends ReachOptions {
  profile: Profile;
}

export interface PrometheusServerDependencies {
  /** Rows as of the last closed window. Nobody changes them later. */
  snapshot: () => Snapshot;
}

/** Answers at once; each keeps the rows of its window in memory. */
export const SCRAPES_MAX = 8;
/** A scraper that takes nothing for so long is gone. */
const SILENCE_MS = 30_000;
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export class PrometheusServer {
  readonly #options: PrometheusServerOptions;
  readonly #snapshot: () => Snapshot;
  readonly #server: FastifyInstance;
  #running = 0;
  #counts = { complete: 0, aborted: 0, busy: 0 };

  constructor(options: PrometheusServerOptions, { snapshot }: PrometheusServerDependencies) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#server = fastify({ logger: false, forceCloseConnections: true, connectionTimeout: SILENCE_MS });
    this.#server.get('/metrics', (request, reply) => this.#scrape(request.headers['accept-encoding'] ?? '', reply));
  }

  /** Throws UsageError when the address is taken or must not be used. */
  async start(): Promise<void> {
    assertReachable(this.#options);
    const { address } = this.#options;
    await this.#server.listen(address).catch((error: NodeJS.ErrnoException) => {
      throw listenError(address, error);
    });
  }

  async stop(): Promise<void> {
    await this.#server.close();
  }

  readings(): SelfReading[] {
    return Object.entries(this.#counts).map(([reason, value]) => ({
      metric: 'scrapes',
      attributes: { reason },
      value,
    }));
  }

  #scrape(acceptEncoding: string, reply: FastifyReply): FastifyReply {
    if (this.#running >= SCRAPES_MAX) {
      this.#counts.busy++;
      return reply.code(503).send(`${SCRAPES_MAX} scrapes are being answered; scrape less often\n`);
    }
    this.#running++;
    reply.raw.once('close', () => {
      this.#running--;
      if (reply.raw.writableFinished) this.#counts.complete++;
      else this.#counts.aborted++;
    });
    const text = Readable.from(exposeText(this.#snapshot(), this.#options.profile), { objectMode: false });
    reply.header('content-type', CONTENT_TYPE);
    if (!/\bgzip\b/.test(acceptEncoding)) return reply.send(text);
    return reply.header('content-encoding', 'gzip').send(text.compose(createGzip()));
  }
}

// The reducer's HTTP API: /healthz, /readyz, /api/v1/edges. On a unix socket by default, since it shows other users' connections.
import { chmod, unlink } from 'node:fs/promises';
import { createConnection } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { LEVEL_NAMES, parseLevel } from '../export/levels.ts';
import type { ListenAddress } from '../wire/transport/address.ts';
import { readEdges } from './edges.ts';
import { WINDOW_COUNT_MAX, type WindowStore } from './window-store.ts';

export interface ApiServerOptions {
  address: ListenAddress;
}

export interface ApiServerDependencies {
  store: WindowStore;
  log: Logger;
  /** Why the reducer is not ready; undefined when it is. */
  notReady: () => string | undefined;
  /** Totals of the pipeline, for the health line. */
  pipeline: () => object;
}

export class ApiServer {
  readonly #options: ApiServerOptions;
  readonly #server: FastifyInstance;

  constructor(options: ApiServerOptions, dependencies: ApiServerDependencies) {
    this.#options = options;
    this.#server = fastify({ logger: false, forceCloseConnections: true });
    addRoutes(this.#server, dependencies);
  }

  async start(): Promise<void> {
    const { address } = this.#options;
    if ('path' in address) {
      await removeStaleSocket(address.path);
      await this.#server.listen({ path: address.path });
      await chmod(address.path, 0o660);
    } else {
      await this.#server.listen({ host: address.host, port: address.port });
    }
  }

  async stop(): Promise<void> {
    await this.#server.close();
  }
}

interface EdgesQuery {
  level?: string;
  windows?: string;
}

function addRoutes(server: FastifyInstance, { store, notReady, pipeline }: ApiServerDependencies): void {
  server.get('/healthz', () => ({ status: 'ok' }));
  server.get('/readyz', (_request, reply) => {
    const reason = notReady();
    return reply
      .code(reason === undefined ? 200 : 503)
      .send({ status: reason === undefined ? 'ready' : 'not ready', reason });
  });
  server.get('/api/v1/pipeline', () => pipeline());
  server.get<{ Querystring: EdgesQuery }>('/api/v1/edges', (request, reply) => {
    const level = parseLevel(request.query.level ?? 'az_az');
    const windows = Number(request.query.windows ?? 1);
    if (level === undefined)
      return reply.code(400).send({ error: `level is one of ${Object.keys(LEVEL_NAMES).join(', ')}` });
    if (!Number.isInteger(windows) || windows < 1 || windows > WINDOW_COUNT_MAX) {
      return reply.code(400).send({ error: `windows is a whole number from 1 to ${WINDOW_COUNT_MAX}` });
    }
    return reply.send(readEdges(store, level, windows));
  });
}

/** A socket file that nobody answers on is left over from a process that was killed. */
async function removeStaleSocket(path: string): Promise<void> {
  const isAnswered = await new Promise<boolean>((resolve) => {
    const probe = createConnection({ path }, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (isAnswered) return;
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

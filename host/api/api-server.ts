// The reducer's HTTP API: /healthz, /readyz, /api/v1/edges, /api/v1/pipeline. On a unix socket by default, since it shows other users' connections.
import { chmod, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import fastify, { type FastifyInstance } from 'fastify';
import { LEVEL_NAMES, parseLevel } from '../export/levels.ts';
import { UsageError } from '../lib/usage-error.ts';
import { assertReachable, listenError, type ReachOptions, removeStaleSocket } from '../wire/transport/tcp.ts';
import { readEdges } from './edges.ts';
import { WINDOW_COUNT_MAX, type WindowStore } from './window-store.ts';

export interface ApiServerDependencies {
  store: WindowStore;
  /** Why the reducer is not ready; undefined when it is. */
  notReady: () => string | undefined;
  /** Totals of the pipeline, for the health line. */
  pipeline: () => object;
}

export class ApiServer {
  readonly #options: ReachOptions;
  readonly #server: FastifyInstance;

  constructor(options: ReachOptions, dependencies: ApiServerDependencies) {
    this.#options = options;
    this.#server = fastify({ logger: false, forceCloseConnections: true });
    addRoutes(this.#server, dependencies);
  }

  /** Throws UsageError when the address is taken, cannot be made or must not be used. */
  async start(): Promise<void> {
    assertReachable(this.#options);
    const { address } = this.#options;
    if ('path' in address) {
      await makeFolder(dirname(address.path));
      await removeStaleSocket(address.path);
    }
    await this.#server.listen(address).catch((error: NodeJS.ErrnoException) => {
      throw listenError(address, error);
    });
    if ('path' in address) await chmod(address.path, 0o660);
  }

  async stop(): Promise<void> {
    await this.#server.close();
  }
}

/** As a parameter is given twice, its value is a list. */
interface EdgesQuery {
  level?: string | string[];
  windows?: string | string[];
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
    const level = parseLevel(String(request.query.level ?? 'az_az'));
    const windows = Number(request.query.windows ?? 1);
    if (level === undefined)
      return reply.code(400).send({ error: `level is one of ${Object.keys(LEVEL_NAMES).join(', ')}` });
    if (!Number.isInteger(windows) || windows < 1 || windows > WINDOW_COUNT_MAX) {
      return reply.code(400).send({ error: `windows is a whole number from 1 to ${WINDOW_COUNT_MAX}` });
    }
    return reply.send(readEdges(store, level, windows));
  });
}

/** /run/tributary does not survive a restart of the machine. */
async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o750 }).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError('TRB_API_FOLDER', `cannot make ${path}: ${error.message}; run this as root or choose --api`);
  });
}

// The routes of the HTTP API. The schemas that check their queries also describe them, at /api/v1/openapi.json.
import { STATUS_CODES } from 'node:http';
import swagger from '@fastify/swagger';
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import {
  type AgentsAnswer,
  AgentsAnswerSchema,
  EdgesAnswerSchema,
  ErrorAnswerSchema,
  HistoryAnswerSchema,
  type ListenersAnswer,
  ListenersAnswerSchema,
  type PipelineAnswer,
  PipelineAnswerSchema,
  type WindowsAnswer,
  WindowsAnswerSchema,
} from './edge-answer.ts';
import {
  describeIssue,
  EdgesQuerySchema,
  HistoryQuerySchema,
  HostsQuerySchema,
  type WindowsQuery,
  WindowsQuerySchema,
} from './edge-query.ts';
import { queryEdges, readHistory } from './edges.ts';
import { HostsAnswerSchema, readHosts } from './hosts.ts';
import type { WindowStore } from './window-store.ts';

export interface ApiServerDependencies {
  store: WindowStore;
  /** Why the reducer is not ready; undefined when it is. */
  notReady: () => string | undefined;
  pipeline: () => PipelineAnswer;
  agents: () => AgentsAnswer;
  listeners: () => ListenersAnswer;
}

/** Requests that wait for a window to close; further ones are answered at once. */
const WAITING_COUNT_MAX = 64;

const HealthAnswerSchema = z
  .strictObject({ status: z.string(), reason: z.string().optional() })
  .meta({ id: 'HealthAnswer' });

type Routes = ReturnType<typeof withZod>;

/** Schemas are zod's; each answer is what its schema's type says, so it is written as it is. */
export function addApi(server: FastifyInstance, dependencies: ApiServerDependencies): void {
  server.setValidatorCompiler<z.ZodType>(
    ({ schema }) =>
      (query) =>
        validate(schema, query),
  );
  server.setSerializerCompiler(() => (answer) => JSON.stringify(answer));
  server.setErrorHandler((error: FastifyError, _request, reply) =>
    reply.code(error.statusCode ?? 500).send({ error: error.message }),
  );
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ error: `there is no ${request.method} ${request.url}; /api/v1/openapi.json lists what is` }),
  );
  server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tributary reducer',
        description: 'Who talks to whom, from the closed windows that a reducer keeps in memory.',
        version: '1',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
    },
    transform: jsonSchemaTransform,
    transformObject: describeAnswers,
  });
  // The description lists routes that are added after its plugin has loaded.
  server.register(async (scope) => {
    addEdgeRoutes(withZod(scope), dependencies);
    addReducerRoutes(withZod(scope), dependencies);
    scope.get('/api/v1/openapi.json', { schema: { hide: true } }, () => server.swagger());
  });
}

/** Queries are spelled out with their routes; of each shared schema only the form in which it is answered is referred to. */
const describeAnswers: typeof jsonSchemaTransformObject = (document) => {
  const described = jsonSchemaTransformObject(document);
  if (!('components' in described)) return described;
  const { schemas = {} } = described.components ?? {};
  for (const name of Object.keys(schemas)) if (name.endsWith('Input')) delete schemas[name];
  for (const path of Object.values(described.paths ?? {}))
    for (const [status, response] of Object.entries(path?.get?.responses ?? {}))
      if ('description' in response) response.description = STATUS_CODES[status] ?? status;
  return described;
};

function withZod(server: FastifyInstance) {
  return server.withTypeProvider<ZodTypeProvider>();
}

function validate(schema: z.ZodType, query: unknown): { value: unknown } | { error: Error } {
  const result = schema.safeParse(query);
  if (result.success) return { value: result.data };
  const { parameter, message } = describeIssue(result.error);
  return { error: new Error(`${parameter} ${message}`) };
}

function addEdgeRoutes(routes: Routes, { store }: ApiServerDependencies): void {
  routes.get(
    '/api/v1/edges',
    {
      schema: {
        operationId: 'edges',
        summary: 'Edges of one level, over one window or several.',
        querystring: EdgesQuerySchema,
        response: { 200: EdgesAnswerSchema, 400: ErrorAnswerSchema, 404: ErrorAnswerSchema },
      },
    },
    async (request, reply) => {
      const { until } = request.query;
      if (until === undefined || store.has(until)) return queryEdges(store, request.query);
      reply.code(404);
      return notKept(store, until);
    },
  );
  routes.get(
    '/api/v1/edges/history',
    {
      schema: {
        operationId: 'edgeHistory',
        summary: 'One edge, window by window, with the histogram of its round-trip times.',
        querystring: HistoryQuerySchema,
        response: { 200: HistoryAnswerSchema, 400: ErrorAnswerSchema, 404: ErrorAnswerSchema },
      },
    },
    async (request, reply) => {
      const { until, key, level, windows } = request.query;
      if (until !== undefined && !store.has(until)) {
        reply.code(404);
        return notKept(store, until);
      }
      const answer = await readHistory(store, request.query);
      if (answer !== undefined) return answer;
      reply.code(404);
      return { error: `no edge at ${level} has the key ${key} in these ${windows} windows` };
    },
  );
  routes.get(
    '/api/v1/hosts',
    {
      schema: {
        operationId: 'hosts',
        summary: 'What hosts counted that belongs to no edge, over one window or several.',
        querystring: HostsQuerySchema,
        response: { 200: HostsAnswerSchema, 400: ErrorAnswerSchema, 404: ErrorAnswerSchema },
      },
    },
    async (request, reply) => {
      const { until } = request.query;
      if (until === undefined || store.has(until)) return readHosts(store, request.query);
      reply.code(404);
      return notKept(store, until);
    },
  );
  routes.get(
    '/api/v1/windows',
    {
      schema: {
        operationId: 'windows',
        summary: 'Which windows have closed; with `since` and `wait` a way to follow them without missing one.',
        querystring: WindowsQuerySchema,
        response: { 200: WindowsAnswerSchema, 400: ErrorAnswerSchema },
      },
    },
    async (request, reply) => {
      const answer = readWindows(store, request.query);
      if (answer.windows.length > 0 || request.query.wait === 0) return answer;
      if (store.waitingCount >= WAITING_COUNT_MAX) return answer;
      await store.nextClosed(AbortSignal.any([closed(reply), AbortSignal.timeout(request.query.wait * 1000)]));
      return readWindows(store, request.query);
    },
  );
}

function addReducerRoutes(routes: Routes, { notReady, pipeline, agents, listeners }: ApiServerDependencies): void {
  routes.get(
    '/healthz',
    {
      schema: {
        operationId: 'health',
        summary: 'The process answers.',
        response: { 200: HealthAnswerSchema },
      },
    },
    () => ({ status: 'ok' }),
  );
  routes.get(
    '/readyz',
    {
      schema: {
        operationId: 'readiness',
        summary: 'A window has closed.',
        response: { 200: HealthAnswerSchema, 503: HealthAnswerSchema },
      },
    },
    (_request, reply) => {
      const reason = notReady();
      if (reason === undefined) return { status: 'ready' };
      reply.code(503);
      return { status: 'not ready', reason };
    },
  );
  routes.get(
    '/api/v1/pipeline',
    {
      schema: {
        operationId: 'pipeline',
        summary: 'What the pipeline says of itself.',
        response: { 200: PipelineAnswerSchema },
      },
    },
    () => pipeline(),
  );
  routes.get(
    '/api/v1/agents',
    {
      schema: {
        operationId: 'agents',
        summary: 'Who looks, with what, and how far each has told.',
        response: { 200: AgentsAnswerSchema },
      },
    },
    () => agents(),
  );
  routes.get(
    '/api/v1/listeners',
    {
      schema: {
        operationId: 'listeners',
        summary: 'The open ports of each node.',
        response: { 200: ListenersAnswerSchema },
      },
    },
    () => listeners(),
  );
}

function readWindows(store: WindowStore, { since }: WindowsQuery): WindowsAnswer {
  const { windowNs, oldest, newest } = store;
  const known = since ?? (newest === undefined ? 0 : newest - 1);
  return { windowNs, oldest: oldest ?? null, newest: newest ?? null, windows: store.since(known) };
}

function notKept({ oldest, newest }: WindowStore, until: number): { error: string } {
  const kept = oldest === undefined ? 'none has closed yet' : `from ${oldest} to ${newest} they are`;
  return { error: `window ${until} is not kept: ${kept}` };
}

/** Aborts when the client is gone. */
function closed({ raw }: FastifyReply): AbortSignal {
  const controller = new AbortController();
  raw.once('close', () => controller.abort());
  return controller.signal;
}

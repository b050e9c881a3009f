// The description of the API: current in docs/, accepted by a validator of OpenAPI 3.1, and true of what is really answered.
// `OPENAPI=write` writes docs/openapi.json.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fastify, { type FastifyInstance } from 'fastify';
import { encodeWindowOutput } from '../export/testing/window-output.ts';
import { Level, TallySide } from '../wire/gen/records-layout.ts';
import { FindingStatus, TallyKind } from '../wire/gen/wire-layout.ts';
import { hello } from '../wire/testing/hello.ts';
import { listAgents } from './agents.ts';
import { addApi } from './api-routes.ts';
import type { AgentsAnswer, EdgesAnswer, PipelineAnswer } from './edge-answer.ts';
import { WindowStore } from './window-store.ts';

const PAGE = new URL('../../docs/openapi.json', import.meta.url);

interface Description {
  openapi: string;
  paths: Record<string, { get: { operationId: string; responses: Record<string, object> } }>;
  components: { schemas: Record<string, object> };
}

const AGENTS: AgentsAnswer = {
  windowNs: 1e9,
  agents: listAgents(
    [
      {
        hello: hello({
          findings: [{ id: 'btf', status: FindingStatus.Missing, text: 'none' }],
          hooks: [
            { name: 'totals', backend: 'iter/tcp', error: '' },
            { name: 'live', backend: '', error: 'iter: EINVAL' },
          ],
        }),
        ...{ isConnected: true, toldWindow: 0, listeners: [], listenersOmitted: 0 },
      },
      {
        hello: hello({ nodeName: 'a', session: 0xabcn }),
        isConnected: false,
        toldWindow: 7,
        listeners: [],
        listenersOmitted: 0,
      },
    ],
    10,
  ),
};
const PIPELINE: PipelineAnswer = {
  ...{ agents: 1, framesAccepted: 1, framesRefused: 0, socketsLive: 1, socketsRefused: 0 },
  ...{ lost: 0, lateWindows: 0, exportQueue: 0, refused: { Structure: 2 } },
};

function serve(store = new WindowStore()): FastifyInstance {
  const server = fastify();
  addApi(server, {
    store,
    notReady: () => (store.newest === undefined ? 'not yet' : undefined),
    pipeline: () => PIPELINE,
    agents: () => AGENTS,
    listeners: () => ({ listeners: [], omitted: 0 }),
  });
  return server;
}

function filledStore(): WindowStore {
  const store = new WindowStore();
  const nodes = [{ id: 'h/curl', role: 'curl', host: 'h', process: 'curl' }, { role: 'nginx' }];
  for (const window of [7, 8, 9]) {
    const histogram = { scale: 3, offset: -100 - window, counts: [1, 0, 2] };
    const points = [
      {
        level: Level.IdId,
        forwardBytes: 10n,
        connections: 1n,
        rttCount: 3,
        rttSumUs: 30n,
        rttMinUs: 5,
        rttMaxUs: 20,
        histogram,
      },
      { level: Level.IdId, protocol: 132, serverPort: 0, refused: 2, flowsClient: 1 },
      { level: Level.RoleRole, forwardBytes: 10n },
    ];
    const tallies = [
      { kind: TallyKind.Duration, side: TallySide.Client, code: 1, serverNode: 1, sum: 5n, histogram },
      { kind: TallyKind.Drop, label: 'NO_SOCKET tcp_v4_rcv', protocol: 0, serverPort: 0 },
    ];
    const outputs = [encodeWindowOutput(window, nodes, points, tallies)];
    store.push({ window, windowNs: 1e9, incarnation: 1n, outputs });
  }
  return store;
}

async function describe(server: FastifyInstance): Promise<string> {
  const { body } = await server.inject('/api/v1/openapi.json');
  return `${JSON.stringify(JSON.parse(body), undefined, 2)}\n`;
}

test('docs/openapi.json is what the API says of itself', async () => {
  const text = await describe(serve());
  if (process.env.OPENAPI === 'write') writeFileSync(PAGE, text);
  assert.equal(readFileSync(PAGE, 'utf8'), text, 'OPENAPI=write node --test host/api/openapi.test.ts');
});

test('it is valid OpenAPI 3.1', async () => {
  const description = JSON.parse(await describe(serve())) as Description;
  assert.match(description.openapi, /^3\.1/);
  const { valid, errors } = await new Validator().validate({ ...description });
  assert.ok(valid, JSON.stringify(errors));
});

test('every answer is as it is described, and every route that is described answers', async () => {
  const server = serve(filledStore());
  const empty = serve();
  const description = JSON.parse(await describe(server)) as Description;
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  ajv.addSchema({ ...description, $id: 'api' });
  const { json } = await ask(server, '/api/v1/edges?level=id_id');
  const [{ key }] = (json as EdgesAnswer).edges;
  const cases: [FastifyInstance, string, number, string?][] = [
    [server, '/healthz', 200],
    [server, '/readyz', 200],
    [empty, '/readyz', 503],
    [server, '/api/v1/pipeline', 200],
    [server, '/api/v1/agents', 200],
    [server, '/api/v1/listeners', 200],
    [server, '/api/v1/edges', 200],
    [empty, '/api/v1/edges', 200],
    [server, '/api/v1/edges', 200, 'level=id_id&windows=3&by=rate&limit=1&match=curl&port=443&min_rate=1B'],
    [server, '/api/v1/edges', 200, 'level=id_id&detail=tallies'],
    [server, '/api/v1/edges', 400, 'level=pod'],
    [server, '/api/v1/hosts', 200, 'windows=3'],
    [empty, '/api/v1/hosts', 200],
    [server, '/api/v1/hosts', 400, 'windows=0'],
    [server, '/api/v1/hosts', 404, 'until=99'],
    [server, '/api/v1/edges', 404, 'until=99'],
    [server, '/api/v1/edges/history', 200, `level=id_id&key=${key}`],
    [server, '/api/v1/edges/history', 400],
    [server, '/api/v1/edges/history', 404, 'key=unknown'],
    [server, '/api/v1/windows', 200],
    [empty, '/api/v1/windows', 200],
    [server, '/api/v1/windows', 200, 'since=7'],
    [server, '/api/v1/windows', 400, 'since=yesterday'],
  ];
  for (const [instance, path, status, query] of cases) {
    const answer = await ask(instance, query === undefined ? path : `${path}?${query}`);
    assert.equal(answer.status, status, `${path}?${query}`);
    const pointer = `${path.replaceAll('/', '~1')}/get/responses/${status}/content/application~1json/schema`;
    const isValid = ajv.validate({ $ref: `api#/paths/${pointer}` }, answer.json);
    assert.ok(isValid, `${path}?${query}: ${ajv.errorsText()}`);
  }
  assert.deepEqual([...new Set(cases.map(([, path]) => path))].sort(), Object.keys(description.paths).sort());
});

test('a field that is not described would be noticed', async () => {
  const description = JSON.parse(await describe(serve())) as Description;
  for (const [name, schema] of Object.entries(description.components.schemas))
    if (name !== 'PipelineAnswer')
      assert.equal((schema as { additionalProperties?: boolean }).additionalProperties, false, name);
});

async function ask(server: FastifyInstance, url: string): Promise<{ status: number; json: unknown }> {
  const { statusCode, body } = await server.inject(url);
  return { status: statusCode, json: JSON.parse(body) };
}

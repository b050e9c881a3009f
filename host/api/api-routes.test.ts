import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import fastify, { type FastifyInstance } from 'fastify';
import type { Node } from '../export/edge-rows.ts';
import { encodeWindowOutput, type PointSpec } from '../export/testing/window-output.ts';
import { TallySide } from '../wire/gen/records-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { addApi } from './api-routes.ts';
import type { EdgesAnswer, HistoryAnswer, PipelineAnswer, WindowsAnswer } from './edge-answer.ts';
import { WindowStore } from './window-store.ts';

const NO_AGENTS = { windowNs: 1e9, agents: [] };
const PIPELINE: PipelineAnswer = {
  ...{ agents: 1, framesAccepted: 1, framesRefused: 0, socketsLive: 1, socketsRefused: 0 },
  ...{ lost: 0, lateWindows: 0, exportQueue: 0, refused: {} },
};
const NODES: Partial<Node>[] = [
  { id: 'h/curl', role: 'curl', host: 'h', process: 'curl' },
  { id: 'h/nginx', role: 'nginx', host: 'h', process: 'nginx' },
  { id: '10.1.2.3', role: '(private)', kind: 5, address: '10.1.2.3' },
];

interface Api {
  store: WindowStore;
  server: FastifyInstance;
  close: (window: number, ...points: PointSpec[]) => void;
  get: <T>(path: string) => Promise<T>;
}

function serve(): Api {
  const store = new WindowStore();
  const server = fastify();
  addApi(server, {
    store,
    notReady: () => undefined,
    pipeline: () => PIPELINE,
    agents: () => NO_AGENTS,
    listeners: () => ({ listeners: [], omitted: 0 }),
  });
  return {
    store,
    server,
    close: (window, ...points) =>
      store.push({ window, windowNs: 1e9, incarnation: 1n, outputs: [encodeWindowOutput(window, NODES, points)] }),
    get: async <T>(path: string) => {
      const { statusCode, body } = await server.inject(path);
      assert.equal(statusCode, 200, body);
      return JSON.parse(body) as T;
    },
  };
}

const WEB: PointSpec = { clientNode: 0, serverNode: 1, serverPort: 8080, forwardBytes: 2_000n, flowsBoth: 1 };
const FAR: PointSpec = { clientNode: 0, serverNode: 2, serverPort: 443, forwardBytes: 9_000n };
const FAILED: PointSpec = { clientNode: 1, serverNode: 2, serverPort: 6379, refused: 3 };

test('each filter leaves the edges that meet it, together those that meet all', async () => {
  const { close, get } = serve();
  close(7, WEB, FAR, FAILED);
  const cases: [string, number[]][] = [
    ['', [443, 6379, 8080]],
    ['from=curl', [443, 8080]],
    ['to=10.0.0.0/8', [443, 6379]],
    ['from=curl&to=10.0.0.0/8', [443]],
    ['process=nginx', [6379, 8080]],
    ['port=443&port=6000-7000', [443, 6379]],
    ['failed=true', [6379]],
    ['min_rate=2kB', [443, 8080]],
    ['min_rate=2KiB', [443]],
    ['match=6379', [6379]],
    ['protocol=udp', []],
    ['by=failures&limit=1', [6379]],
    ['by=rate', [443, 8080, 6379]],
  ];
  for (const [query, expected] of cases) {
    const { edges } = await get<EdgesAnswer>(`/api/v1/edges?level=id-id&${query}`);
    const ports = edges.map((edge) => edge.serverPort ?? 0);
    assert.deepEqual(query.startsWith('by') ? ports : ports.sort((a, b) => a - b), expected, query);
  }
});

test('a question that cannot be answered names its parameter and what is allowed', async () => {
  const { server, close } = serve();
  close(7, WEB);
  const cases: [string, string][] = [
    ['level=pod', 'level is one of id_id, id_az, az_id, az_az, role_az, az_role, role_role'],
    ['level=id_id&level=az_az', 'level is one of id_id, id_az, az_id, az_az, role_az, az_role, role_role'],
    ['windows=0', 'windows is a whole number from 1 to 1024'],
    ['windows=1025', 'windows is a whole number from 1 to 1024'],
    ['windows=1.5', 'windows is a whole number from 1 to 1024'],
    ['windows=', 'windows is a whole number from 1 to 1024'],
    ['windows=1&windows=2', 'windows is a whole number from 1 to 1024'],
    ['by=name', 'by is one of rate, bytes, rtt, retransmits, failures, active, new'],
    ['port=http', 'port "http" is not a port from 1 to 65535, or a range such as 8000-8999'],
    ['level=id_id&address=x', 'address "x" is not an address, or a range such as 10.0.0.0/8'],
    ['process=curl', 'process is not kept at az_az: ask at id_id, id_az, az_id'],
    ['failed=yes', 'failed is true or false'],
    ['min_rate=fast', 'min_rate "fast" is not a rate in bytes per second, such as 500, 10kB or 1.5MiB'],
    ['limit=0', 'limit is a whole number from 1 to 1000000'],
    ['colour=red', 'colour is not a parameter'],
  ];
  for (const [query, error] of cases) {
    const { statusCode, body } = await server.inject(`/api/v1/edges?${query}`);
    assert.deepEqual([statusCode, JSON.parse(body)], [400, { error }], query);
  }
});

test('the history of an edge has its windows, their sum and the histogram of all samples', async () => {
  const { server, close, get } = serve();
  const histogram = (offset: number, ...counts: number[]) => ({ scale: 3, offset, counts });
  close(7, { ...WEB, rttCount: 2, rttSumUs: 30n, rttMinUs: 10, rttMaxUs: 20, histogram: histogram(-130, 2) });
  close(8, FAR);
  close(9, {
    ...WEB,
    forwardBytes: 500n,
    rttCount: 1,
    rttSumUs: 12n,
    rttMinUs: 12,
    rttMaxUs: 12,
    histogram: histogram(-132, 1),
  });
  const { edges } = await get<EdgesAnswer>('/api/v1/edges?level=id_id&port=8080');
  const history = await get<HistoryAnswer>(`/api/v1/edges/history?level=id_id&windows=3&key=${edges[0].key}`);
  assert.deepEqual([history.firstWindow, history.lastWindow], [7, 9]);
  assert.deepEqual(
    history.windows.map(({ window, bytes }) => [window, bytes.forward]),
    [
      [7, 2_000],
      [9, 500],
    ],
  );
  assert.deepEqual([history.edge.key, history.edge.bytes.forward], [edges[0].key, 2_500]);
  assert.deepEqual(history.edge.rtt, { count: 3, minUs: 10, maxUs: 20, meanUs: 14 });
  assert.deepEqual(history.rttHistogram, histogram(-132, 1, 0, 2));
  const unknown = await server.inject(`/api/v1/edges/history?level=role_role&key=${edges[0].key}`);
  assert.deepEqual([unknown.statusCode, /no edge at role_role/.test(unknown.body)], [404, true]);
});

test('a past window can be asked for as long as it is kept', async () => {
  const { server, close, get } = serve();
  for (const window of [7, 8, 9]) close(window, { ...WEB, forwardBytes: BigInt(window), active: BigInt(window) });
  const answer = await get<EdgesAnswer>('/api/v1/edges?level=id_id&until=8&windows=2');
  assert.deepEqual([answer.firstWindow, answer.lastWindow], [7, 8]);
  assert.deepEqual([answer.edges[0].bytes.forward, answer.edges[0].active], [15, 8]);
  const { statusCode, body } = await server.inject('/api/v1/edges?until=10');
  assert.deepEqual([statusCode, JSON.parse(body)], [404, { error: 'window 10 is not kept: from 7 to 9 they are' }]);
});

test('who follows the windows is told of each once, also of those that closed together', async () => {
  const { close, get } = serve();
  const first = get<WindowsAnswer>('/api/v1/windows?since=6&wait=60');
  close(7);
  assert.deepEqual((await first).windows, [7]);
  for (const window of [8, 9, 10]) close(window);
  assert.deepEqual(await get<WindowsAnswer>('/api/v1/windows?since=7&wait=60'), {
    ...{ windowNs: 1e9, oldest: 7, newest: 10, windows: [8, 9, 10] },
  });
  assert.deepEqual((await get<WindowsAnswer>('/api/v1/windows')).windows, [10]);
  assert.deepEqual((await get<WindowsAnswer>('/api/v1/windows?since=10&wait=1')).windows, []);
});

test('no more than sixty-four wait, the next is answered at once', async () => {
  const { store, close, get } = serve();
  let answered = 0;
  const waiting = Array.from({ length: 64 }, async () => {
    const answer = await get<WindowsAnswer>('/api/v1/windows?since=6&wait=60');
    answered++;
    return answer;
  });
  while (store.waitingCount < waiting.length) await setImmediate();
  assert.deepEqual((await get<WindowsAnswer>('/api/v1/windows?since=6&wait=60')).windows, []);
  assert.equal(answered, 0);
  close(7);
  for (const { windows } of await Promise.all(waiting)) assert.deepEqual(windows, [7]);
});

test('tallies of an edge are told when they are asked for, summed over the windows', async () => {
  const { store, get } = serve();
  const histogram = { scale: 3, offset: -40, counts: [1] };
  const place = { serverNode: 1, serverPort: 8080, side: TallySide.Server };
  for (const window of [7, 8]) {
    const tallies = [
      { ...place, kind: TallyKind.Duration, code: 1, sum: 250_000_000n, histogram },
      { ...place, kind: TallyKind.OutOfOrder, count: 3n },
      { ...place, kind: 63 },
    ];
    const outputs = [encodeWindowOutput(window, NODES, [WEB], tallies)];
    store.push({ window, windowNs: 1e9, incarnation: 1n, outputs });
  }
  const plain = await get<EdgesAnswer>('/api/v1/edges?level=id_id&windows=2');
  assert.equal(plain.edges[0].tallies, undefined);
  const { edges } = await get<EdgesAnswer>('/api/v1/edges?level=id_id&windows=2&detail=tallies');
  const side = { 'tributary.side': 'server' };
  assert.deepEqual(edges[0].tallies, [
    {
      metric: 'tributary.tcp.connection.duration',
      attributes: { ...side, 'tributary.tcp.close.reason': 'closed' },
      ...{ count: 2, seconds: 0.5, histogram: { ...histogram, counts: [2] } },
    },
    { metric: 'tributary.tcp.out_of_order.count', attributes: side, count: 6, seconds: null, histogram: null },
  ]);
});

test('hosts tell what they counted, and edges nothing of it', async () => {
  const { store, get } = serve();
  const host = { id: 'h', role: 'h', host: 'h', zone: 'eu-1a' };
  for (const window of [7, 8]) {
    const overflow = { kind: TallyKind.AcceptOverflow, code: 80, count: 2n, protocol: 0, serverPort: 0 };
    const outputs = [encodeWindowOutput(window, [host], [], [overflow])];
    store.push({ window, windowNs: 1e9, incarnation: 1n, outputs });
  }
  const attributes = { 'tributary.listener.port': 80 };
  const metric = 'tributary.tcp.accept_queue.overflow.count';
  assert.deepEqual(await get('/api/v1/hosts?windows=2'), {
    ...{ windowNs: 1e9, firstWindow: 7, lastWindow: 8 },
    hosts: [{ name: 'h', zone: 'eu-1a', tallies: [{ metric, attributes, count: 4, seconds: null, histogram: null }] }],
  });
  assert.deepEqual((await get<EdgesAnswer>('/api/v1/edges?level=id_id&windows=2')).edges, []);
});

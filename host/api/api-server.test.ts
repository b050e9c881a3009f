import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { waitFor } from '../../test/lab/wait.ts';
import { encodeWindowOutput } from '../export/testing/window-output.ts';
import { Level } from '../wire/gen/records-layout.ts';
import { ApiServer } from './api-server.ts';
import { fetchJson } from './client.ts';
import type { EdgesAnswer } from './edge-answer.ts';
import { WindowStore } from './window-store.ts';

const SILENT = pino({ level: 'silent' });
const NO_AGENTS = { windowNs: 1e9, agents: [] };
const PIPELINE = {
  ...{ agents: 1, framesAccepted: 1, framesRefused: 0, socketsLive: 1, socketsRefused: 0 },
  ...{ lost: 0, lateWindows: 0, exportQueue: 0, refused: { Structure: 2 } },
};
const NODES = [{ id: 'h/curl', role: 'curl' }, { role: 'nginx' }];

function temporaryFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-api-'));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

async function startServer(context: TestContext, path: string, store = new WindowStore()): Promise<ApiServer> {
  const notReady = (): string | undefined => (store.newest === undefined ? 'no window has closed yet' : undefined);
  const server = new ApiServer(
    { address: { path }, insecure: false },
    {
      store,
      notReady,
      pipeline: () => PIPELINE,
      agents: () => NO_AGENTS,
      listeners: () => ({ listeners: [], omitted: 0 }),
      log: SILENT,
    },
  );
  await server.start();
  context.after(() => server.stop());
  return server;
}

function get(socketPath: string, path: string): Promise<{ status: number | undefined; body: unknown }> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.once('end', () => resolve({ status: response.statusCode, body: JSON.parse(text) }));
    })
      .once('error', reject)
      .end();
  });
}

const closeWindow = (store: WindowStore, window: number, forwardBytes: bigint): Promise<void> =>
  store.push({
    window,
    windowNs: 1e9,
    incarnation: 1n,
    outputs: [encodeWindowOutput(window, NODES, [{ level: Level.IdId, forwardBytes, active: 2n }])],
  });

test('a reducer is healthy at once and ready from its first closed window on', async (context) => {
  const path = join(temporaryFolder(context), 'api.sock');
  const store = new WindowStore();
  await startServer(context, path, store);
  assert.equal((await get(path, '/healthz')).status, 200);
  const before = await get(path, '/readyz');
  assert.deepEqual(before, { status: 503, body: { status: 'not ready', reason: 'no window has closed yet' } });
  closeWindow(store, 7, 10n);
  assert.deepEqual(await get(path, '/readyz'), { status: 200, body: { status: 'ready' } });
});

test('the edges of several windows are added up; active is that of the last', async (context) => {
  const path = join(temporaryFolder(context), 'api.sock');
  const store = new WindowStore();
  await startServer(context, path, store);
  for (const [window, bytes] of [[7, 10n] as const, [8, 5n] as const]) closeWindow(store, window, bytes);
  const answer = await fetchJson<EdgesAnswer>({ path }, '/api/v1/edges?level=id-id&windows=2');
  assert.deepEqual([answer.firstWindow, answer.lastWindow], [7, 8]);
  const [{ client, bytes, active, spanSeconds }] = answer.edges;
  assert.deepEqual([client.id, bytes.forward, active, spanSeconds], ['h/curl', 15, 2, 2]);
});

test('an edge with late bytes spans the windows that they cover, so that its rate divides by all of them', async (context) => {
  const path = join(temporaryFolder(context), 'api.sock');
  const store = new WindowStore();
  await startServer(context, path, store);
  const points = [{ level: Level.IdId, forwardBytes: 60n, lateBytes: 60n, fromWindow: 5 }];
  const outputs = [encodeWindowOutput(8, NODES, points)];
  closeWindow(store, 7, 0n);
  store.push({ window: 8, windowNs: 1e9, incarnation: 1n, outputs });
  const answer = await fetchJson<EdgesAnswer>({ path }, '/api/v1/edges?level=id-id&windows=2');
  const [{ bytes, spanSeconds }] = answer.edges;
  assert.deepEqual([answer.firstWindow, answer.lastWindow, bytes.forward, spanSeconds], [7, 8, 60, 4]);
});

test('the folder of the socket is made, and others can neither read nor write the socket', async (context) => {
  const path = join(temporaryFolder(context), 'run/api.sock');
  await startServer(context, path);
  assert.equal(statSync(path).mode & 0o777, 0o660);
});

test('the socket of a killed process is replaced, that of a living one is not', async (context) => {
  const path = join(temporaryFolder(context), 'api.sock');
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log())`;
  const killed = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(killed.stdout, 'data');
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  await startServer(context, path);
  assert.equal((await get(path, '/healthz')).status, 200);
  await assert.rejects(startServer(context, path), { code: 'TRB_LISTEN_IN_USE' });
  assert.equal((await get(path, '/healthz')).status, 200);
});

test('other hosts are served only when that was asked for', async () => {
  const dependencies = {
    store: new WindowStore(),
    notReady: () => undefined,
    pipeline: () => PIPELINE,
    agents: () => NO_AGENTS,
    listeners: () => ({ listeners: [], omitted: 0 }),
    log: SILENT,
  };
  const server = new ApiServer({ address: { host: '0.0.0.0', port: 0 }, insecure: false }, dependencies);
  await assert.rejects(server.start(), { code: 'TRB_INSECURE' });
});

test('more connections than there is room for are closed and counted', async (context) => {
  const path = join(temporaryFolder(context), 'api.sock');
  const server = await startServer(context, path);
  const sockets = Array.from({ length: 257 }, () => connect(path).on('error', () => {}));
  await waitFor(async () => server.refused.too_many, 'a refusal');
  assert.deepEqual(server.refused, { too_many: 1 });
  for (const socket of sockets) socket.destroy();
  await waitFor(
    () =>
      get(path, '/healthz').then(
        () => true,
        () => undefined,
      ),
    'an answer',
  );
});

// The API over TCP: who has the token, with and without TLS.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { pino } from 'pino';
import type { Credentials } from '../tls/credentials.ts';
import { TestAuthority } from '../tls/testing/test-credentials.ts';
import { readOrMakeToken, readToken } from './api-access.ts';
import { ApiServer } from './api-server.ts';
import { type ApiTarget, resolveApiTarget } from './api-target.ts';
import { fetchJson } from './client.ts';
import { WindowStore } from './window-store.ts';

const TOKEN = 'a-token-of-the-test';
const NO_AGENTS = { windowNs: 1e9, agents: [] };
const PIPELINE = {
  ...{ agents: 1, framesAccepted: 1, framesRefused: 0, socketsLive: 1, socketsRefused: 0 },
  ...{ lost: 0, lateWindows: 0, exportQueue: 0, refused: {} },
};

interface Api {
  server: ApiServer;
  target: ApiTarget & { port: number };
  folder: string;
  tokenFile: string;
  /** Of the log. */
  lines: string[];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  await new Promise((resolve) => server.close(resolve));
  return address.port;
}

async function startApi(context: TestContext, credentials?: Credentials): Promise<Api> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-access-'));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, `${TOKEN}\n`);
  const target = { host: '127.0.0.1', port: await freePort() };
  const lines: string[] = [];
  const dependencies = {
    store: new WindowStore(),
    notReady: () => undefined,
    pipeline: () => PIPELINE,
    agents: () => NO_AGENTS,
    listeners: () => ({ listeners: [], omitted: 0 }),
    log: pino({}, { write: (text: string) => lines.push(JSON.parse(text).msg) }),
  };
  const server = new ApiServer({ address: target, insecure: false, tokenFile }, dependencies);
  await server.start(credentials);
  context.after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });
  return { server, target, folder, tokenFile, lines };
}

test('over TCP only health is told without the token; each refusal is counted', async (context) => {
  const { server, target, tokenFile, lines } = await startApi(context);
  const url = `http://127.0.0.1:${target.port}`;
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  assert.equal((await fetch(`${url}/readyz`)).status, 200);
  const cases: [string, string | undefined, string][] = [
    ['/api/v1/edges', undefined, 'Bearer'],
    ['/api/v1/pipeline', `Basic ${TOKEN}`, 'Bearer'],
    ['/api/v1/nothing', undefined, 'Bearer'],
    ['/healthz/../api/v1/pipeline', undefined, 'Bearer'],
    ['/api/v1/pipeline', `Bearer ${TOKEN}x`, 'Bearer error="invalid_token"'],
    ['/api/v1/pipeline', 'Bearer', 'Bearer'],
  ];
  for (const [path, authorization, challenge] of cases) {
    const answer = await fetch(url + path, authorization === undefined ? {} : { headers: { authorization } });
    assert.equal(answer.status, 401, path);
    assert.equal(answer.headers.get('www-authenticate'), challenge);
  }
  assert.deepEqual(server.refused, { no_token: 5, wrong_token: 1 });
  assert.deepEqual(lines, [
    'the API refused 127.0.0.1: it sent no token',
    'the API refused 127.0.0.1: it sent another token than that of api.token-file',
  ]);
  const answer = await fetch(`${url}/api/v1/pipeline`, { headers: { authorization: `bearer ${TOKEN}` } });
  assert.deepEqual(await answer.json(), PIPELINE);

  const status = async (token: string): Promise<number> =>
    (await fetch(`${url}/api/v1/pipeline`, { headers: { authorization: `Bearer ${token}` } })).status;
  writeFileSync(tokenFile, 'the-token-that-follows');
  await server.reload();
  assert.deepEqual([await status(TOKEN), await status('the-token-that-follows')], [401, 200]);
  writeFileSync(tokenFile, 'short');
  await assert.rejects(server.reload(), { code: 'TRB_API_TOKEN' });
  assert.equal(await status('the-token-that-follows'), 200);
});

test('the client sends the token of a file, and says what is missing or wrong', async (context) => {
  const { target, folder, tokenFile } = await startApi(context);
  const api = `127.0.0.1:${target.port}`;
  const own = await resolveApiTarget({ api, apiTokenFile: tokenFile, insecure: false });
  assert.deepEqual(await fetchJson(own, '/api/v1/pipeline'), PIPELINE);
  await assert.rejects(fetchJson(target, '/api/v1/pipeline'), { code: 'TRB_API_TOKEN', message: /--api-token-file/ });
  const wrong = { ...target, token: 'some-other-token' };
  await assert.rejects(fetchJson(wrong, '/api/v1/pipeline'), { code: 'TRB_API_TOKEN', message: /does not know/ });
  await assert.rejects(resolveApiTarget({ api, apiTokenFile: join(folder, 'absent'), insecure: false }), {
    code: 'TRB_API_TOKEN',
    message: /absent/,
  });
  writeFileSync(join(folder, 'short'), 'short');
  await assert.rejects(resolveApiTarget({ api, apiTokenFile: join(folder, 'short'), insecure: false }), {
    message: /at least 16 characters.*openssl rand/,
  });
  await assert.rejects(resolveApiTarget({ api: '10.0.0.1:80', insecure: false }), { code: 'TRB_INSECURE' });
});

test('with certificates the API is HTTPS, for clients that know its authority, and new certificates are used', async (context) => {
  const authority = await TestAuthority.create();
  const credentials = await authority.issue();
  const { server, target, folder, lines } = await startApi(context, credentials);
  const own = { ...target, token: TOKEN, ca: authority.certificate };
  assert.deepEqual(await fetchJson(own, '/api/v1/pipeline'), PIPELINE);
  const caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, authority.certificate);
  const headers = ['-H', `Authorization: Bearer ${TOKEN}`];
  const url = `https://127.0.0.1:${target.port}/api/v1/pipeline`;
  const { stdout } = await promisify(execFile)('curl', ['-sS', '--cacert', caFile, ...headers, url]);
  assert.deepEqual(JSON.parse(stdout), PIPELINE);

  const stranger = await TestAuthority.create();
  await assert.rejects(fetchJson({ ...own, ca: stranger.certificate }, '/api/v1/pipeline'), {
    code: 'TRB_API_TLS',
    message: /certificate of 127\.0\.0\.1:\d+ is not to be trusted/,
  });
  while (lines.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.match(lines[0], /^the API refused (127\.0\.0\.1:\d+|a peer that had gone): /);
  await assert.rejects(fetchJson({ ...target, token: TOKEN }, '/api/v1/pipeline'), {
    code: 'TRB_API_TLS',
    message: /--api-ca/,
  });
  assert.equal(server.refused.plaintext, 1);
  await assert.rejects(
    promisify(execFile)('curl', ['-sS', '--cacert', caFile, '--tls-max', '1.2', ...headers, url]),
    /alert protocol version|unsupported protocol/,
  );
  assert.equal(server.refused.tls_version, 1);

  server.renew(await stranger.issue());
  assert.deepEqual(await fetchJson({ ...own, ca: stranger.certificate }, '/api/v1/pipeline'), PIPELINE);
});

test('HTTPS to an API without certificates is explained', async (context) => {
  const { target } = await startApi(context);
  const authority = await TestAuthority.create();
  await assert.rejects(fetchJson({ ...target, token: TOKEN, ca: authority.certificate }, '/api/v1/pipeline'), {
    code: 'TRB_API_TLS',
    message: /leave --api-ca out/,
  });
});

test('the token of this host is made once, for root and the group', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-token-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'run', 'api-token');
  const tokens = await Promise.all([1, 2, 3].map(() => readOrMakeToken(undefined, path)));
  assert.ok(tokens[0].length >= 32 && tokens.every((token) => token === tokens[0]));
  assert.equal(await readToken(path), tokens[0]);
  assert.equal(statSync(path).mode & 0o777, 0o640);
  assert.equal(statSync(join(folder, 'run')).mode & 0o777, 0o750);
  assert.deepEqual(readdirSync(join(folder, 'run')), ['api-token']);
});

import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type TestContext, test } from 'node:test';
import { fetchJson } from './client.ts';

async function serve(context: TestContext, answer: RequestListener): Promise<{ host: string; port: number }> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  context.after(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { host: '127.0.0.1', port: address.port };
}

test('an answer that breaks off is an error, before its first byte and within', async (context) => {
  const target = await serve(context, (request, response) => {
    if (request.url === '/before') return void response.destroy();
    response.writeHead(200, { 'content-length': 1_000 }).write('{', () => response.destroy());
  });
  await assert.rejects(fetchJson(target, '/before'), { code: 'TRB_API_TLS', message: /hung up; if it speaks TLS/ });
  await assert.rejects(fetchJson(target, '/within'), { code: 'TRB_API_ABSENT', message: /hung up: its reducer has/ });
});

test('who asks can give up while the answer comes', async (context) => {
  const controller = new AbortController();
  const target = await serve(context, (_, response) => {
    response.writeHead(200, { 'content-length': 1_000 }).write('{', () => controller.abort());
  });
  await assert.rejects(fetchJson(target, '/', { signal: controller.signal }), { name: 'AbortError' });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { onFreePort } from './free-port.ts';

async function listen(port: number): Promise<Server> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

test('a program whose port was taken meanwhile is started on another one', async (context) => {
  const tried: number[] = [];
  const server = await onFreePort(async (port) => {
    tried.push(port);
    if (tried.length === 1) throw new Error(`listen tcp 127.0.0.1:${port}: bind: address already in use`);
    return listen(port);
  });
  context.after(() => server.close());
  assert.equal(tried.length, 2);
});

test('what fails for another reason, or every time, is an error', async () => {
  let attempts = 0;
  const fail = (message: string) => () => {
    attempts++;
    return Promise.reject(new Error(message));
  };
  await assert.rejects(onFreePort(fail('bad configuration')), /bad configuration/);
  assert.equal(attempts, 1);
  await assert.rejects(onFreePort(fail('address already in use')), /already in use/);
  assert.ok(attempts > 2);
});

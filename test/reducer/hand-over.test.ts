// Connections that one thread has accepted and another reads: the kernel says who has which descriptor, and the peer what it got.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { pino } from 'pino';
import { startClock } from '../../host/lib/clock.ts';
import { loadAddon } from '../../host/reducer/addon.ts';
import { Reducer } from '../../host/reducer/reducer.ts';
import { ScriptedAgent } from '../../host/reducer/testing/scripted-agent.ts';
import { Connection } from '../../host/wire/transport/connection.ts';

const { duplicate } = loadAddon();
const CONNECTION_URL = new URL('../../host/wire/transport/connection.ts', import.meta.url).href;
const WINDOW_NS = 1_000_000_000n;
const timeout = 240_000;

/** Takes a connection, keeps what it reads and, when the peer has ended, says all of it to the main thread and its length to the peer. */
const READER = `
  import { parentPort } from 'node:worker_threads';
  import { Connection } from ${JSON.stringify(CONNECTION_URL)};
  parentPort.once('message', (descriptor) => {
    const connection = Connection.taken(descriptor);
    const pieces = [];
    connection.listen({
      bytes: (piece) => {
        pieces.push(piece);
        if (piece.at(-1) !== 255) return;
        const all = Buffer.concat(pieces);
        connection.send(Buffer.from(String(all.length)));
        connection.close();
        parentPort.postMessage(new Uint8Array(all));
      },
      drained: () => {},
      closed: () => {},
    });
  });
`;

function countDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

interface Pair {
  server: Server;
  client: Socket;
  accepted: Socket;
}

async function connectPair(context: TestContext): Promise<Pair> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = createConnection((server.address() as AddressInfo).port, '127.0.0.1');
  const [accepted] = await once(server, 'connection');
  context.after(() => {
    client.destroy();
    accepted.destroy();
    server.close();
  });
  return { server, client, accepted };
}

test('a connection that is given while its peer sends goes on in the other thread without a byte more or less', {
  timeout,
}, async (context) => {
  const before = countDescriptors();
  const { server, client, accepted } = await connectPair(context);
  const reader = new Worker(new URL(`data:text/javascript,${encodeURIComponent(READER)}`));
  context.after(() => reader.terminate());
  const connection = new Connection(accepted);
  const here: Uint8Array[] = [];
  let isOver = false;
  connection.listen({
    bytes: (piece) => {
      assert.equal(isOver, false, 'read after it was given');
      here.push(piece);
      if (here.length < 3) return;
      isOver = true;
      connection.send(Buffer.from('from the first, '));
      const descriptor = connection.give(duplicate);
      assert.ok(descriptor !== undefined);
      reader.postMessage(descriptor);
    },
    drained: () => {},
    closed: () => assert.fail('who gives a connection does not hear that it closed'),
  });
  const sent = randomBytes(16 << 20).map((byte) => byte % 251);
  sent[sent.length - 1] = 255;
  let answer = '';
  client.on('data', (text) => {
    answer += text;
  });
  client.write(sent);
  const [there] = await once(reader, 'message');
  await once(client, 'close');
  assert.ok(Buffer.concat([...here, there]).equals(sent));
  assert.ok(there.length > 0);
  assert.equal(answer, `from the first, ${there.length}`);
  await reader.terminate();
  server.close();
  await once(server, 'close');
  assert.equal(countDescriptors(), before);
});

test('a connection whose peer has ended it is not given', { timeout }, async (context) => {
  const { client, accepted } = await connectPair(context);
  const connection = new Connection(accepted);
  const closed = Promise.withResolvers<void>();
  connection.listen({ bytes: () => {}, drained: () => {}, closed: () => closed.resolve() });
  const ended = once(accepted, 'end');
  client.end();
  await ended;
  assert.equal(connection.give(duplicate), undefined);
  await closed.promise;
});

test('a connection of which bytes have not left is not given, and goes on where it is', {
  timeout,
}, async (context) => {
  const { client, accepted } = await connectPair(context);
  const connection = new Connection(accepted);
  const drained = Promise.withResolvers<void>();
  connection.listen({ bytes: () => {}, drained: () => drained.resolve(), closed: () => {} });
  const sent = Buffer.alloc(32 << 20, 'x');
  assert.equal(connection.send(sent), false);
  assert.equal(connection.give(duplicate), undefined);
  let received = 0;
  client.on('data', (piece) => {
    received += piece.length;
  });
  await drained.promise;
  connection.close();
  await once(client, 'close');
  assert.equal(received, sent.length);
});

test('a connection is not given when no descriptor is left for it', { timeout }, async (context) => {
  const { client, accepted } = await connectPair(context);
  const connection = new Connection(accepted);
  const heard = Promise.withResolvers<string>();
  connection.listen({ bytes: (piece) => heard.resolve(String(piece)), drained: () => {}, closed: () => {} });
  assert.equal(
    connection.give(() => undefined),
    undefined,
  );
  client.write('still here');
  assert.equal(await heard.promise, 'still here');
  assert.throws(() => duplicate(-1), /Bad file descriptor/);
});

test('a worker that has the session of a connection takes it, and says goodbye on it when the reducer stops', {
  timeout,
}, async (context) => {
  const AGENTS = 6;
  const folder = mkdtempSync(join(tmpdir(), 'tributary-hand-over-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const clock = startClock();
  const address = { path: join(folder, 'agents.sock') };
  const times = { windowNs: WINDOW_NS, latenessNs: WINDOW_NS };
  const reducer: Reducer = new Reducer(
    { listen: [address], insecure: false, workers: 2, ...times },
    {
      log: pino({ level: 'silent' }),
      clock,
      random64: () => randomBytes(8).readBigUInt64LE(),
      closeWindow: ({ window }) => reducer.exported(window),
      fail: (error) => assert.fail(error),
    },
  );
  await reducer.start();
  const agents = Array.from({ length: AGENTS }, (_, index) => {
    const session = BigInt(index + 1);
    return new ScriptedAgent({
      ...{ address, clock, name: `node-${index}`, session, windowNs: WINDOW_NS, snapshot: [], script: [] },
    });
  });
  for (const agent of agents) agent.start();
  context.after(() => Promise.all(agents.map((agent) => agent.stop())));
  while (!agents.every(({ committedWindow }) => committedWindow > 0)) await sleep(10);
  const counts = (await reducer.readCounters()).map((reading) => reading.counts);
  // A unix socket is accepted by the first worker alone.
  assert.deepEqual(
    counts.map(({ sessions, connections, connectionsTaken }) => ({ sessions, connections, connectionsTaken })),
    [
      { sessions: AGENTS / 2, connections: AGENTS / 2, connectionsTaken: 0 },
      { sessions: AGENTS / 2, connections: AGENTS / 2, connectionsTaken: AGENTS / 2 },
    ],
  );
  await reducer.stop();
  while (!agents.every(({ goodbyes }) => goodbyes.length > 0)) await sleep(10);
  for (const { goodbyes, losses } of agents) {
    assert.match(goodbyes[0], /stopping/i);
    assert.equal(losses[0], 'goodbye');
  }
});

// Whatever answers in place of containerd, there is a list or an error.
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../schemas/testing/random.ts';
import { listContainers } from './containerd-api.ts';

const ROUNDS = 300;

test('random answers, and real ones with bytes changed, are a list or an error', async (context) => {
  const random = new Random(chooseSeed());
  const folder = mkdtempSync(join(tmpdir(), 'containerd-'));
  const socket = join(folder, 'c.sock');
  // ListNamespacesResponse { namespaces { name: "a" } }; ListContainersResponse { containers { id: "b", labels { "k": "v" }, image: "i" } }
  const real = [
    [10, 3, 10, 1, 97],
    [10, 14, 10, 1, 98, 18, 6, 10, 1, 107, 18, 1, 118, 26, 1, 105],
  ];
  const server = createServer();
  let isWhole = true;
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const message = [...real[String(headers[':path']).includes('Namespaces') ? 0 : 1]];
    if (!isWhole)
      for (let count = 1 + random.below(3); count > 0; count--)
        message[random.below(message.length)] = random.below(256);
    if (!isWhole && random.chance(0.2)) message.length = random.below(message.length);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.from([0, 0, 0, 0, message.length, ...message]));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  context.after(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  assert.deepEqual(await listContainers(socket), [{ id: 'b', image: 'i', labels: { k: 'v' } }]);
  isWhole = false;
  const outcomes = { list: 0, error: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const answer = await listContainers(socket).catch((error: Error) => error);
    outcomes[Array.isArray(answer) ? 'list' : 'error']++;
  }
  assert.ok(outcomes.list > 0 && outcomes.error > 0, JSON.stringify(outcomes));
});

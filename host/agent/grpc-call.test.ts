// A server that speaks HTTP/2 on a unix socket, and answers as gRPC's servers do, or not.
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { callGrpc, openGrpc } from './grpc-call.ts';

type Answer = (stream: ServerHttp2Stream) => void;

const HEAD = { ':status': 200, 'content-type': 'application/grpc' };

function message(bytes: number[], length = bytes.length, compressed = 0): Buffer {
  return Buffer.from([compressed, 0, 0, length >> 8, length & 0xff, ...bytes]);
}

function answerOf(body: Buffer, status = '0'): Answer {
  return (stream) => {
    stream.respond(HEAD, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status }));
    stream.end(body);
  };
}

async function ask(context: TestContext, answer: Answer): Promise<Uint8Array | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'grpc-'));
  const path = join(folder, 's.sock');
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream) => {
    // What the client does with it is what counts.
    stream.on('error', () => undefined);
    answer(stream);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const session = await openGrpc(path);
  context.after(() => {
    session.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return callGrpc(session, { path: '/a.B/C', metadata: { 'a-name': 'x' }, message: Uint8Array.of(1, 2) });
}

test('a message is framed, and its answer is what stands in the frame', async (context) => {
  const told: unknown[] = [];
  const answer = await ask(context, (stream) => {
    stream.once('data', (bytes: Buffer) => {
      told.push([...bytes]);
      answerOf(message([7, 8, 9]))(stream);
    });
  });
  assert.deepEqual(told, [[0, 0, 0, 0, 2, 1, 2]]);
  assert.deepEqual([...(answer ?? [])], [7, 8, 9]);
});

test('an empty message is an answer, and NOT_FOUND is none, in the head too', async (context) => {
  assert.deepEqual([...((await ask(context, answerOf(message([])))) ?? [1])], []);
  assert.equal(await ask(context, answerOf(Buffer.alloc(0), '5')), undefined);
  assert.equal(
    await ask(context, (stream) => stream.respond({ ...HEAD, 'grpc-status': '5' }, { endStream: true })),
    undefined,
  );
});

const FAULTS: [string, Answer, RegExp][] = [
  ['another status', answerOf(Buffer.alloc(0), '14'), /\/a.B\/C: status 14/],
  ['no status', (stream) => stream.respond(HEAD, { endStream: true }), /status missing/],
  ['a message that is cut off', answerOf(message([1, 2], 9)), /status 0/],
  ['a compressed message', answerOf(message([1], 1, 1)), /status 0/],
  ['no message', answerOf(Buffer.alloc(0)), /status 0/],
  ['nothing at all', () => {}, /aborted/],
  ['a reset', (stream) => stream.close(2), /INTERNAL_ERROR|status missing/],
  ['the end of the connection', (stream) => stream.session?.destroy(), /cancel|closed|status missing/i],
];

for (const [name, answer, error] of FAULTS)
  test(`${name} is an error`, async (context) => {
    await assert.rejects(ask(context, answer), error);
  });

test('without a socket it says so', async () => {
  await assert.rejects(openGrpc('/nonexistent/c.sock'), { code: 'ENOENT' });
});

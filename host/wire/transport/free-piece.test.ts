import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { freePiece, ownPiece } from './free-piece.ts';

test('the memory of every piece that a socket received is freed, whatever its size', async (t) => {
  for (const bytes of [1, 100, 4_096, 50_000, 60_000, 65_536, 200_000]) {
    const server = createServer((socket) => socket.end(Buffer.alloc(bytes, 1))).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    let received = 0;
    let kept = 0;
    socket.on('data', (piece: Buffer) => {
      received += piece.length;
      freePiece(piece);
      kept += piece.buffer.byteLength;
    });
    await once(socket, 'close');
    assert.deepEqual({ received, kept }, { received: bytes, kept: 0 });
  }
});

test('memory that others share stays, and a copy is handed on', () => {
  const pooled = Buffer.from('a few bytes');
  const own = ownPiece(pooled);
  assert.equal(own.buffer.byteLength, pooled.length);
  structuredClone(own, { transfer: [own.buffer] });
  freePiece(pooled);
  assert.equal(pooled.toString(), 'a few bytes');
});

test('memory of one piece alone is handed on as it is', () => {
  const piece = new Uint8Array(new ArrayBuffer(100), 10, 80).fill(7);
  const received = structuredClone(ownPiece(piece), { transfer: [ownPiece(piece).buffer] });
  assert.deepEqual([...received], new Array(80).fill(7));
  assert.equal(piece.byteLength, 0, 'it has left');
});

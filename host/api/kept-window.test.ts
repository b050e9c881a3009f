import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeptWindow } from './kept-window.ts';

test('a packed window takes less memory, reads the same, and gives back what it was made with', async () => {
  const outputs = [1, 2].map((worker) => new Uint8Array(100_000).map((_, index) => (index % 100 === 0 ? worker : 0)));
  const expected = outputs.map((output) => Uint8Array.from(output));
  const kept = new KeptWindow({ window: 7, windowNs: 1e9, incarnation: 1n, outputs });
  assert.equal(kept.byteLength, 200_000);
  const packing = kept.pack();
  assert.deepEqual(kept.outputs, expected, 'while it is being packed');
  const given = await packing;
  assert.ok(kept.byteLength < 10_000, `${kept.byteLength} bytes`);
  assert.deepEqual(
    kept.outputs.map((output) => Uint8Array.from(output)),
    expected,
  );
  for (const [index, output] of outputs.entries()) assert.equal(given[index], output);
});

test('a window is unpacked without a copy', async () => {
  const plainBytes = 16 << 20;
  const kept = new KeptWindow({ window: 7, windowNs: 1e9, incarnation: 1n, outputs: [new Uint8Array(plainBytes)] });
  await kept.pack();
  const before = process.memoryUsage().arrayBuffers;
  const [output] = kept.outputs;
  const taken = process.memoryUsage().arrayBuffers - before;
  assert.equal(output.byteLength, plainBytes);
  assert.ok(taken < 1.5 * plainBytes, `${taken} bytes`);
});

test('outputs of no bytes and of few are packed, too', async () => {
  const outputs = [new Uint8Array(0), Uint8Array.of(1, 2, 3)];
  const kept = new KeptWindow({ window: 7, windowNs: 1e9, incarnation: 1n, outputs });
  await kept.pack();
  assert.deepEqual(
    kept.outputs.map((output) => [...output]),
    [[], [1, 2, 3]],
  );
});

test('a window that cannot be packed stays as it is, and gives copies', async () => {
  const outputs = [new Uint8Array(100), { byteLength: 1 } as Uint8Array];
  const kept = new KeptWindow({ window: 7, windowNs: 1e9, incarnation: 1n, outputs });
  const [given] = await kept.pack();
  assert.deepEqual([kept.outputs, kept.byteLength], [outputs, 101]);
  assert.deepEqual([given, given === outputs[0]], [outputs[0], false]);
});

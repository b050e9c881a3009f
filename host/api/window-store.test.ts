// Which windows the store keeps, and how.
import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { encodeWindowOutput } from '../export/testing/window-output.ts';
import { Level } from '../wire/gen/records-layout.ts';
import { WINDOW_COUNT_MAX, WindowStore } from './window-store.ts';

const MIB = 1 << 20;

function push(store: WindowStore, window: number, ...outputs: Uint8Array[]): void {
  store.push({ window, windowNs: 1e9, incarnation: 1n, outputs });
}

/** Which can hardly be packed. */
const random = (byteCount: number): Uint8Array => randomFillSync(new Uint8Array(byteCount));

/** Who pushes a window and does not want its outputs back has them freed when it has been packed. */
async function packed(...outputs: Uint8Array[]): Promise<void> {
  while (outputs.some(({ byteLength }) => byteLength > 0)) await setTimeout(1);
}

test('a window is packed when it has closed, and read as it was before and after', async () => {
  const store = new WindowStore();
  const output = encodeWindowOutput(
    1,
    [{ role: 'client' }, { role: 'server' }],
    [{ level: Level.IdId, forwardBytes: 10n }],
  );
  push(store, 1, output);
  const before = await store.read(Level.IdId, 1);
  assert.equal(output.byteLength > 0, true, 'read before it was packed');
  await packed(output);
  assert.deepEqual(await store.read(Level.IdId, 1), before);
  assert.equal(before?.rows.size, 1);
});

test('a window that is large before it is packed drops none', async () => {
  const store = new WindowStore();
  const [second, large] = [new Uint8Array(MIB), new Uint8Array(40 * MIB)];
  push(store, 1, new Uint8Array(MIB));
  push(store, 2, second);
  push(store, 3, large);
  assert.deepEqual(store.since(0), [1, 2, 3], 'the newest');
  await packed(second);
  push(store, 4, new Uint8Array(MIB));
  assert.deepEqual(store.since(0), [1, 2, 3, 4], 'the one that is being packed');
  await packed(large);
  assert.deepEqual(store.since(0), [1, 2, 3, 4]);
});

test('windows that are large when they are packed drop the oldest', async () => {
  const store = new WindowStore();
  const outputs = Array.from({ length: 4 }, () => random(12 * MIB));
  for (const [index, output] of outputs.entries()) push(store, index + 1, output);
  assert.deepEqual(store.since(0), [1, 2, 3, 4]);
  await packed(...outputs.slice(0, 3));
  await setTimeout(1);
  assert.deepEqual(store.since(0), [2, 3, 4]);
});

test('a window whose turn it is drops none', async () => {
  const store = new WindowStore();
  const [first, second] = [random(10 * MIB), new Uint8Array(30 * MIB)];
  for (const [index, output] of [first, second, new Uint8Array(MIB)].entries()) push(store, index + 1, output);
  await packed(first, second);
  assert.deepEqual(store.since(0), [1, 2, 3]);
});

test('the outputs of each window are given back in order, also of one that was dropped before its turn', async () => {
  const store = new WindowStore();
  const outputs = Array.from({ length: 4 }, () => random(20 * MIB));
  const given: (readonly Uint8Array[])[] = [];
  const give = (back: readonly Uint8Array[]): void => void given.push(back);
  for (const [index, output] of outputs.entries())
    store.push({ window: index + 1, windowNs: 1e9, incarnation: 1n, outputs: [output] }, give);
  assert.deepEqual(store.since(0), [3, 4]);
  await store.packed;
  assert.equal(given.length, outputs.length);
  for (const [index, [output]] of given.entries()) assert.equal(output, outputs[index]);
});

test('who reads windows of which one is dropped meanwhile reads that one, too', async () => {
  const store = new WindowStore();
  const nodes = [{ role: 'client' }, { role: 'server' }];
  const pushes = (window: number, roomBytes: number) => {
    const output = encodeWindowOutput(window, nodes, [{ level: Level.IdId, forwardBytes: 10n }]);
    push(store, window, Buffer.concat([output, new Uint8Array(roomBytes)]));
  };
  for (const window of [1, 2]) pushes(window, 10 * MIB);
  const reading = store.read(Level.IdId, 2);
  for (const window of [3, 4, 5]) pushes(window, 20 * MIB);
  assert.equal(store.has(2), false, 'dropped');
  const { rows } = (await reading) ?? assert.fail('nothing was read');
  assert.deepEqual(
    [...rows.values()].map(({ sums }) => sums.forwardBytes),
    [20],
  );
  await store.packed;
});

test('a window whose outputs nobody can take does not keep the next ones from being given', async () => {
  const store = new WindowStore();
  const given: number[] = [];
  const pushes = [1, 2].map((window) =>
    store.push({ window, windowNs: 1e9, incarnation: 1n, outputs: [new Uint8Array(8)] }, () => {
      given.push(window);
      if (window === 1) throw new RangeError('no memory');
    }),
  );
  await assert.rejects(pushes[0], { name: 'RangeError' });
  await pushes[1];
  assert.deepEqual(given, [1, 2]);
});

test('a window that cannot be packed does not keep the others from it', async () => {
  const store = new WindowStore();
  const outputs = [{ byteLength: 1 } as Uint8Array, new Uint8Array(MIB), new Uint8Array(MIB)];
  for (const [index, output] of outputs.entries()) push(store, index + 1, output);
  await packed(outputs[1]);
  assert.deepEqual(store.since(0), [1, 2, 3]);
});

test('of more windows than are kept the oldest are dropped', () => {
  const store = new WindowStore();
  for (let window = 1; window <= WINDOW_COUNT_MAX + 2; window++) push(store, window, new Uint8Array(8));
  assert.deepEqual([store.oldest, store.newest], [3, WINDOW_COUNT_MAX + 2]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '../../test/lab/wait.ts';
import { SpentMemory } from './spent-memory.ts';

function newMemory(): { memory: SpentMemory; calls: string[] } {
  const calls: string[] = [];
  const memory = new SpentMemory({
    trimHeap: () => calls.push('heap'),
    dropFilePages: () => calls.push('files'),
  });
  return { memory, calls };
}

/** As payloads of a window that was told. */
function payloads(count: number): Uint8Array[] {
  return Array.from({ length: count }, () => new Uint8Array(64 * 1024));
}

test('payloads of a large window are freed a second after it was told', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { memory, calls } = newMemory();
  const before = process.memoryUsage().arrayBuffers;
  memory.afterWindow(payloads(128).reduce((sum, { length }) => sum + length, 0));
  mock.timers.tick(1_000);
  // V8 frees what it collected on a thread of its own.
  await waitFor(
    () => (process.memoryUsage().arrayBuffers - before < 1 << 20 ? true : undefined),
    'the payloads to be freed',
  );
  mock.timers.tick(1_000);
  assert.deepEqual(calls, ['heap']);
});

test('small windows change nothing', ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { memory, calls } = newMemory();
  for (let window = 0; window < 100; window++) memory.afterWindow(60_000);
  mock.timers.tick(60_000);
  assert.deepEqual(calls, []);
});

test('what the start and the snapshots of one time left is released together, and what was compiled meanwhile later', ({
  mock,
}) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { memory, calls } = newMemory();
  memory.afterBurst();
  mock.timers.tick(9_000);
  memory.afterBurst();
  mock.timers.tick(9_000);
  assert.deepEqual(calls, []);
  mock.timers.tick(1_000);
  assert.deepEqual(calls, ['heap', 'files']);
  mock.timers.tick(60_000);
  assert.deepEqual(calls, ['heap', 'files', 'heap', 'files']);
});

test('nothing is released after the stop', ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { memory, calls } = newMemory();
  memory.afterBurst();
  memory.afterWindow(2 << 20);
  memory.stop();
  mock.timers.tick(60_000);
  assert.deepEqual(calls, []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXPORT_QUEUE_ROWS_MAX, ExportQueue } from './export-queue.ts';

const sumQueue = (countMax: number): ExportQueue<number> =>
  new ExportQueue<number>({ merge: (older, newer) => older + newer, random: () => 0, countMax });

const pushWindows = (queue: ExportQueue<number>, windows: number[]): void => {
  for (const window of windows) queue.push({ firstWindow: window, lastWindow: window, content: window });
};

test('windows are exported in order, one at a time, and each success commits its own', () => {
  const queue = sumQueue(4);
  pushWindows(queue, [7, 8]);
  assert.equal(queue.next(0)?.lastWindow, 7);
  assert.equal(queue.next(0), undefined);
  assert.equal(queue.succeeded(), 7);
  assert.equal(queue.next(0), undefined, 'the agents were not told of window 7 yet');
  queue.committed(6);
  assert.equal(queue.next(0), undefined);
  queue.committed(7);
  assert.equal(queue.next(0)?.lastWindow, 8);
  assert.equal(queue.succeeded(), 8);
  assert.equal(queue.next(0), undefined);
});

test('a failed batch stays first and waits longer each time', () => {
  const queue = sumQueue(4);
  pushWindows(queue, [1, 2]);
  queue.next(0);
  assert.equal(queue.failed(0), 1_000);
  assert.equal(queue.next(999), undefined);
  assert.equal(queue.next(1_000)?.lastWindow, 1);
  assert.equal(queue.failed(1_000), 3_000);
  assert.equal(queue.next(3_000)?.lastWindow, 1);
  assert.equal(queue.succeeded(), 1);
  queue.committed(1);
  assert.equal(queue.next(3_000)?.lastWindow, 2);
});

test('a full queue takes a new window into its newest waiting batch and counts it', () => {
  const queue = sumQueue(2);
  pushWindows(queue, [1, 2, 3, 4]);
  assert.equal(queue.length, 2);
  assert.equal(queue.merged, 2);
  assert.equal(queue.next(0)?.content, 1);
  assert.equal(queue.succeeded(), 1);
  queue.committed(1);
  assert.deepEqual(queue.next(0), { firstWindow: 2, lastWindow: 4, content: 9 });
  assert.equal(queue.succeeded(), 4);
});

test('what is in flight does not change, even when the queue holds nothing else', () => {
  const queue = sumQueue(1);
  pushWindows(queue, [1]);
  const inFlight = queue.next(0);
  pushWindows(queue, [2, 3]);
  assert.deepEqual(inFlight, { firstWindow: 1, lastWindow: 1, content: 1 });
  assert.equal(queue.succeeded(), 1);
  queue.committed(1);
  assert.deepEqual(queue.next(0), { firstWindow: 2, lastWindow: 3, content: 5 });
});

test('a batch that failed does not change: parts of it may have arrived', () => {
  const queue = sumQueue(1);
  pushWindows(queue, [1]);
  queue.next(0);
  queue.failed(0);
  pushWindows(queue, [2, 3]);
  assert.deepEqual(queue.next(1_000), { firstWindow: 1, lastWindow: 1, content: 1 });
  assert.equal(queue.succeeded(), 1);
  queue.committed(1);
  assert.deepEqual(queue.next(1_000), { firstWindow: 2, lastWindow: 3, content: 5 });
});

test('more rows than may wait are a full queue, whatever the number of windows', () => {
  const queue = new ExportQueue<number>({ merge: Math.max, random: () => 0, rowsOf: (rows) => rows });
  const half = EXPORT_QUEUE_ROWS_MAX / 2;
  for (const [window, rows] of [half, half, 1, half].entries())
    queue.push({ firstWindow: window, lastWindow: window, content: rows });
  assert.equal(queue.merged, 2);
  assert.deepEqual(queue.next(0), { firstWindow: 0, lastWindow: 0, content: half });
  queue.push({ firstWindow: 4, lastWindow: 4, content: 2 });
  assert.equal(queue.succeeded(), 0);
  queue.committed(0);
  assert.deepEqual(queue.next(0), { firstWindow: 1, lastWindow: 4, content: half });
});

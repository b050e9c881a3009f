import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type EdgeProcesses,
  mergeProcesses,
  NO_NAMES,
  PROCESS_NAME_COUNT_MAX,
  readProcesses,
} from './edge-processes.ts';

const client = (names: string[], more = 0): EdgeProcesses => ({ client: { names, more }, server: NO_NAMES });

test('names of two windows are one set in the order of their bytes', () => {
  const merged = mergeProcesses(client(['nginx', 'php']), client(['Xvfb', 'nginx', 'ä']));
  assert.deepEqual(merged, client(['Xvfb', 'nginx', 'php', 'ä']));
  assert.equal(mergeProcesses(undefined, merged), merged);
});

test('beyond the limit the number is what is certain', () => {
  const names = Array.from({ length: PROCESS_NAME_COUNT_MAX }, (_, index) => `p${10 + index}`);
  assert.deepEqual(mergeProcesses(client(names, 3), client(names, 5)), client(names, 5));
  assert.deepEqual(mergeProcesses(client(names), client(['a'])), client(['a', ...names.slice(0, -1)], 1));
});

test('no records are no names', () => {
  assert.equal(readProcesses(new DataView(new ArrayBuffer(8)), 8).size, 0);
});

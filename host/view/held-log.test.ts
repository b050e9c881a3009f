import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeldLog } from './held-log.ts';

test('lines are shown while they are held and written once they are released', () => {
  const written: string[] = [];
  const shown: string[] = [];
  const log = new HeldLog((text) => written.push(text));
  log.write('before\n');
  log.hold((text) => shown.push(text));
  log.write('within\n');
  assert.deepEqual([written, shown], [['before\n'], ['within']]);
  log.release();
  log.release();
  log.write('after\n');
  assert.deepEqual(written, ['before\n', 'within\n', 'after\n']);
});

test('the newest thousand lines are held, the number of the others is said', () => {
  const written: string[] = [];
  const log = new HeldLog((text) => written.push(text));
  log.hold(() => {});
  for (let line = 0; line < 1_005; line++) log.write(`${line}\n`);
  log.release();
  assert.deepEqual([written[0], written[1], written.length], ['5 lines of the log were left out here\n', '5\n', 1_001]);
});

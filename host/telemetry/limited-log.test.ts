import { strict as assert } from 'node:assert';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { pino } from 'pino';
import { LimitedLog } from './limited-log.ts';

interface Line {
  msg: string;
  reason: string;
  repeated?: number;
  peer?: string;
}

const PERIOD_MS = 10_000;

function startLog(): { log: LimitedLog; lines: Line[] } {
  const lines: Line[] = [];
  const log = pino({ base: undefined, timestamp: false }, { write: (text: string) => lines.push(JSON.parse(text)) });
  return { log: new LimitedLog(log, { periodMs: PERIOD_MS }), lines };
}

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
afterEach(() => mock.timers.reset());

test('a flood is told by its first line and by one line with a count for each period', () => {
  const { log, lines } = startLog();
  for (let period = 0; period < 3; period++) {
    for (let turn = 0; turn < 1000; turn++) log.warn('tls', { peer: `peer ${turn}` }, 'handshake failed');
    mock.timers.tick(PERIOD_MS);
  }
  assert.deepEqual(
    lines.map(({ repeated }) => repeated),
    [undefined, 999, 1000, 1000],
  );
  assert.deepEqual([lines[0].peer, lines[1].peer], ['peer 0', 'peer 999']);
  assert.deepEqual([...new Set(lines.map(({ msg, reason }) => `${reason}: ${msg}`))], ['tls: handshake failed']);
});

test('a period without a word ends the silence, so that the next line is not held back', () => {
  const { log, lines } = startLog();
  log.warn('tls', {}, 'first');
  mock.timers.tick(PERIOD_MS);
  log.warn('tls', {}, 'second');
  assert.deepEqual(
    lines.map(({ msg, repeated }) => [msg, repeated]),
    [
      ['first', undefined],
      ['second', undefined],
    ],
  );
});

test('one reason does not hold back another', () => {
  const { log, lines } = startLog();
  for (const reason of ['tls', 'refused', 'tls', 'refused']) log.warn(reason, {}, reason);
  assert.deepEqual(
    lines.map(({ reason }) => reason),
    ['tls', 'refused'],
  );
});

test('no line is lost: what was logged and what was counted add up, at the end too', () => {
  const { log, lines } = startLog();
  const told = new Map<string, number>();
  let seed = 7;
  for (let turn = 0; turn < 5000; turn++) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    const reason = `reason ${seed >>> 29}`;
    told.set(reason, (told.get(reason) ?? 0) + 1);
    log.warn(reason, {}, 'x');
    if (seed % 50 === 0) mock.timers.tick(PERIOD_MS / 3);
  }
  log.flush();
  const heard = new Map<string, number>();
  for (const { reason, repeated = 1 } of lines) heard.set(reason, (heard.get(reason) ?? 0) + repeated);
  assert.deepEqual([...heard].sort(), [...told].sort());
  assert.ok(lines.length < 2500, `${lines.length} lines`);
});

test('reasons beyond the limit share one line', () => {
  const { log, lines } = startLog();
  for (let reason = 0; reason < 1000; reason++) log.warn(`reason ${reason}`, {}, 'x');
  assert.equal(lines.length, 65);
  log.flush();
  assert.deepEqual(
    lines.slice(65).map(({ reason, repeated }) => [reason, repeated]),
    [['other', 935]],
  );
});

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { startClock } from './clock.ts';

test('a step of the wall clock, forward or back, is none of a clock that has started', (context) => {
  const startMs = Date.UTC(2026, 0, 1);
  mock.timers.enable({ apis: ['Date'], now: startMs });
  context.after(() => mock.timers.reset());
  const before = process.hrtime.bigint();
  const clock = startClock();
  let last = clock();
  for (const wallMs of [startMs + 3_600_000, startMs - 3_600_000, 0]) {
    mock.timers.setTime(wallMs);
    const now = clock();
    assert.ok(now.ms >= last.ms && now.unixNs >= last.unixNs);
    const elapsedNs = now.unixNs - BigInt(startMs) * 1_000_000n;
    assert.ok(elapsedNs >= 0n && elapsedNs <= process.hrtime.bigint() - before, `${elapsedNs} ns`);
    last = now;
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OverloadControl, SHED_STEPS, stepsOf } from './overload.ts';

/** A machine on which each step costs what it says, beside what cannot be left out. */
function shareOf(control: OverloadControl, bytes: number, costs: readonly number[]): number {
  return bytes + costs.slice(control.steps).reduce((sum, cost) => sum + cost, 0);
}

test('within the limit nothing is left out, and one measurement above it is none', () => {
  const control = new OverloadControl(0.1);
  for (const share of [0.05, 0.3, 0.09, 0.3, 0.1]) assert.equal(control.observe(share), false);
  assert.deepEqual(control.hooks, []);
});

test('DNS goes first, then drops, then the detail of sockets, and bytes never', () => {
  const control = new OverloadControl(0.1);
  const order: string[][] = [];
  for (let i = 0; i < 20; i++) if (control.observe(0.5)) order.push(control.names);
  assert.deepEqual(order, [['dns'], ['dns', 'drops'], ['dns', 'drops', 'socket detail']]);
  for (const hook of ['tcp_state', 'totals', 'datagram_sent', 'datagram_arrived'])
    assert.ok(!control.hooks.includes(hook as never), hook);
});

test('only as much is left out as brings the cost below the limit', () => {
  const costs = [0.05, 0.04, 0.03];
  const control = new OverloadControl(0.1);
  for (let i = 0; i < 100; i++) control.observe(shareOf(control, 0.04, costs));
  // 0.04 + 0.04 + 0.03 would still be above.
  assert.equal(control.steps, 2);
});

test('what was left out comes back when there is room for it, the last first', () => {
  const costs = [0.05, 0.04, 0.03];
  const control = new OverloadControl(0.1);
  for (let i = 0; i < 10; i++) control.observe(0.2 + shareOf(control, 0, costs));
  assert.equal(control.steps, SHED_STEPS.length);
  const quiet = costs.map((cost) => cost / 10);
  const back: number[] = [];
  for (let i = 0; i < 100; i++) if (control.observe(shareOf(control, 0.001, quiet))) back.push(control.steps);
  assert.deepEqual(back, [2, 1, 0]);
});

test('a cost that comes back with what is taken back does not make it swing', () => {
  // Below the limit without the first step, above with it; what it saves is not seen, since the load rises meanwhile.
  const control = new OverloadControl(0.1);
  let changes = 0;
  for (let i = 0; i < 2000; i++) if (control.observe(control.steps === 0 ? 0.11 : 0.01 + (i % 2) * 0.001)) changes++;
  const first = changes;
  for (let i = 0; i < 2000; i++) if (control.observe(control.steps === 0 ? 0.11 : 0.01 + (i % 2) * 0.001)) changes++;
  assert.ok(changes - first <= 14, `${changes - first} changes`);
});

/** Measurements of `share` until nothing is left out. */
function measurementsToRestore(control: OverloadControl, share: number): number {
  let count = 0;
  for (; control.steps > 0 && count < 10_000; count++) control.observe(share);
  return count;
}

test('what was left out comes back also when the load fell by itself in the moment when it was', () => {
  const control = new OverloadControl(0.1);
  for (let i = 0; i < 2; i++) control.observe(0.2);
  assert.equal(control.steps, 1);
  // Half of what seemed to be saved is forgotten in 34 measurements.
  assert.ok(measurementsToRestore(control, 0.001) < 100);
});

test('an overload now and then is no reason to wait ever longer', () => {
  const control = new OverloadControl(0.1);
  const waits = Array.from({ length: 10 }, () => {
    for (let i = 0; i < 2; i++) control.observe(0.2);
    const wait = measurementsToRestore(control, 0.001);
    for (let i = 0; i < 1000; i++) control.observe(0.001);
    return wait;
  });
  assert.deepEqual(new Set(waits).size, 1, `${waits}`);
});

test('what is not observed is no step', () => {
  const control = new OverloadControl(0.1, stepsOf(new Set(['tcp_state', 'drop', 'socket_send'])));
  const order: string[][] = [];
  for (let i = 0; i < 20; i++) if (control.observe(0.5)) order.push(control.hooks);
  assert.deepEqual(order, [['drop'], ['drop', 'socket_send']]);
});

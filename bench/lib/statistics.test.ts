import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differencesOf, ratiosOf, rotate, showSpread, spreadOf } from './statistics.ts';

test('the median of an even number of values lies between the two in the middle', () => {
  assert.deepEqual(spreadOf([4, 1, 2, 9]), { median: 3, min: 1, max: 9 });
  assert.deepEqual(spreadOf([10, 9, 100]), { median: 10, min: 9, max: 100 });
  assert.throws(() => spreadOf([]), /nothing was measured/);
});

test('ratios are of pairs, so that a slow round is none of the difference', () => {
  assert.deepEqual(ratiosOf([11, 22, 110], [10, 20, 100]), { median: 1.1, min: 1.1, max: 1.1 });
  assert.deepEqual(differencesOf([11, 22], [10, 20]), { median: 1.5, min: 1, max: 2 });
  assert.equal(showSpread({ median: 1.234, min: 1, max: 2 }, 2, 'x'), '1.23x (1.00-2.00)');
});

test('in each round everything is measured once, and nothing is always first', () => {
  const orders = [0, 1, 2, 3].map((round) => rotate(['a', 'b', 'c'], round));
  for (const order of orders) assert.deepEqual(order.toSorted(), ['a', 'b', 'c']);
  assert.ok(new Set(orders.map(([first]) => first)).size > 1);
});

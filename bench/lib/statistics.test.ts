import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differencesOf, growthOf, ratiosOf, rotate, showSpread, spreadOf } from './statistics.ts';

test('the median of an even number of values lies between the two in the middle', () => {
  assert.deepEqual(spreadOf([4, 1, 2, 9]), { median: 3, min: 1, max: 9 });
  assert.deepEqual(spreadOf([10, 9, 100]), { median: 10, min: 9, max: 100 });
  assert.throws(() => spreadOf([]), /nothing was measured/);
});

test('growth is that of the line through all values, from the first to the last', () => {
  const near = (values: number[], expected: number) => {
    const growth = growthOf(values) ?? assert.fail('three values are enough');
    assert.ok(Math.abs(growth - expected) < 1e-9, `${values}: ${growth}`);
  };
  near([100, 101, 102, 103], 0.03);
  near([100, 100, 100], 0);
  // 110 + 110 x fits best, by the normal equations; of values that jump neither end says how they grow.
  near([100, 300, 200, 500], 330 / 110);
  near([500, 200, 300, 100], -330 / 440);
  // A linear leak of 2.4 % in 30 minutes, whose thirds have medians that are only 1.6 % apart.
  near(
    Array.from({ length: 30 }, (_, minute) => 1_000 * (1 + (0.024 * minute) / 29)),
    0.024,
  );
  assert.deepEqual([growthOf([]), growthOf([100]), growthOf([100, 200])], [undefined, undefined, undefined]);
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

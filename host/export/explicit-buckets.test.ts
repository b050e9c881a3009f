// The oracle counts samples into both kinds of buckets by comparing them with bounds; nothing is taken from an index.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_BOUNDS, toExplicit } from './explicit-buckets.ts';

const [FIRST, LAST] = DEFAULT_BOUNDS;
const BOUNDS_S = Array.from({ length: LAST - FIRST + 1 }, (_, index) => 2 ** (FIRST + index));
const SEED = Number(process.env.SEED ?? 7);

function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Counts of exponential buckets by the model's definition: bucket i holds base^i < v <= base^(i+1). */
function exponential(samples: readonly number[], scale: number) {
  const [offset, end] = [-30 * 2 ** scale, 10 * 2 ** scale];
  const base = 2 ** (2 ** -scale);
  const bucketCounts = Array.from(
    { length: end - offset },
    (_, index) => samples.filter((v) => base ** (offset + index) < v && v <= base ** (offset + index + 1)).length,
  );
  return {
    ...{ count: samples.length, sum: samples.reduce((sum, sample) => sum + sample, 0), scale, zeroCount: 0 },
    positive: { offset, bucketCounts },
    negative: { offset: 0, bucketCounts: [] },
  };
}

for (const scale of [0, 1, 3, 4]) {
  test(`scale ${scale}: every sample is in the explicit bucket that its bounds say, seed ${SEED}`, () => {
    const random = randomFrom(SEED + scale);
    // Not on a bound of a finer bucket, where the last bit of a root decides.
    const samples = Array.from({ length: 400 }, () => 2 ** (-22 + 28 * random()));
    const { buckets, count, sum } = toExplicit(exponential(samples, scale));
    const lower = [0, ...BOUNDS_S];
    const upper = [...BOUNDS_S, Infinity];
    const expected = upper.map((bound, index) => samples.filter((v) => lower[index] < v && v <= bound).length);
    assert.deepEqual(buckets.counts, expected);
    assert.deepEqual(buckets.boundaries, BOUNDS_S);
    assert.equal(count, samples.length);
    assert.equal(
      sum,
      samples.reduce((total, sample) => total + sample, 0),
    );
  });
}

test('a power of two belongs to the bucket that it ends, at both ends of the bounds, too', () => {
  const { buckets } = toExplicit(exponential([...BOUNDS_S, 2 ** -29, 512], 0));
  assert.deepEqual(buckets.counts, [2, ...BOUNDS_S.slice(1).map(() => 1), 1]);
});

test('buckets wider than a power of two are refused', () => {
  assert.throws(() => toExplicit({ ...exponential([1], 0), scale: -1 }), RangeError);
});

test('other bounds may be asked for', () => {
  const { buckets } = toExplicit(exponential([0.01, 1, 3, 500], 0), [-1, 1]);
  assert.deepEqual(buckets, { boundaries: [0.5, 1, 2], counts: [1, 1, 0, 2] });
});

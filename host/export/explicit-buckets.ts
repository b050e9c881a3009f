/**
 * Exponential histogram → explicit buckets, exactly: at scale s ≥ 0 each power of two is the upper bound of an exponential bucket, the one
 * with index 2^s · k − 1 for 2^k (OpenTelemetry metrics data model), so each count falls into one explicit bucket as a whole.
 */
import type { ExponentialHistogram, Histogram } from '@opentelemetry/sdk-metrics';

const FIRST_EXPONENT = -15;
const LAST_EXPONENT = 2;

/** Upper bounds in seconds, 30.5 µs to 4 s, each twice the one before. The last bucket has none. */
export const BOUNDS_S: readonly number[] = Array.from(
  { length: LAST_EXPONENT - FIRST_EXPONENT + 1 },
  (_, index) => 2 ** (FIRST_EXPONENT + index),
);

/** A histogram of seconds that are all greater than zero. Throws RangeError when its scale is negative. */
export function toExplicit({ count, sum, min, max, scale, positive }: ExponentialHistogram): Histogram {
  if (scale < 0) throw new RangeError(`scale ${scale}: its buckets are wider than explicit ones`);
  const counts = new Array<number>(BOUNDS_S.length + 1).fill(0);
  positive.bucketCounts.forEach((bucketCount, index) => {
    counts[bucketOf(positive.offset + index, scale)] += bucketCount;
  });
  return { buckets: { boundaries: [...BOUNDS_S], counts }, count, sum, min, max };
}

/** Explicit bucket of the exponential one with this index, whose upper bound is 2^((index + 1) / 2^scale). */
function bucketOf(index: number, scale: number): number {
  const exponent = Math.ceil((index + 1) / 2 ** scale);
  return Math.min(Math.max(exponent - FIRST_EXPONENT, 0), BOUNDS_S.length);
}

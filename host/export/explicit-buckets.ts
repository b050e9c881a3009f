/**
 * Exponential histogram → explicit buckets, exactly: at scale s ≥ 0 each power of two is the upper bound of an exponential bucket, the one
 * with index 2^s · k − 1 for 2^k (OpenTelemetry metrics data model), so each count falls into one explicit bucket as a whole.
 */
import type { ExponentialHistogram, Histogram } from '@opentelemetry/sdk-metrics';

/** First and last upper bound in seconds as exponents of 2; each bound is twice the one before, and the last bucket has none. */
export type Bounds = readonly [first: number, last: number];

/** 30.5 µs to 4 s: round-trip times. */
export const DEFAULT_BOUNDS: Bounds = [-15, 2];

/** A histogram of seconds that are all greater than zero. Throws RangeError when its scale is negative. */
export function toExplicit(
  { count, sum, min, max, scale, positive }: ExponentialHistogram,
  [first, last]: Bounds = DEFAULT_BOUNDS,
): Histogram {
  if (scale < 0) throw new RangeError(`scale ${scale}: its buckets are wider than explicit ones`);
  const boundaries = Array.from({ length: last - first + 1 }, (_, index) => 2 ** (first + index));
  const counts = new Array<number>(boundaries.length + 1).fill(0);
  positive.bucketCounts.forEach((bucketCount, index) => {
    const exponent = upperExponent(positive.offset + index, scale);
    counts[Math.min(Math.max(exponent - first, 0), boundaries.length)] += bucketCount;
  });
  return { buckets: { boundaries, counts }, count, sum, min, max };
}

/** The least k with which 2^k is no less than the upper bound of the exponential bucket with this index, 2^((index + 1) / 2^scale). */
function upperExponent(index: number, scale: number): number {
  return Math.ceil((index + 1) / 2 ** scale);
}

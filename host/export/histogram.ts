import { HISTOGRAM_RECORD_SIZE, readHistogramRecord } from '../wire/gen/records-layout.ts';

/** Nobody changes one. Counts of base-2 exponential buckets (OpenTelemetry metrics data model): `counts[i]` is the bucket with index `offset + i`. */
export interface Histogram {
  scale: number;
  offset: number;
  counts: number[];
}

/** The HistogramRecord at `offset`. */
export function readHistogram(view: DataView, offset: number): Histogram {
  const record = readHistogramRecord(view, offset);
  const first = offset + HISTOGRAM_RECORD_SIZE;
  const counts = Array.from({ length: record.bucketCount }, (_, index) => view.getUint32(first + 4 * index, true));
  return { scale: record.scale, offset: record.offset, counts };
}

/** Sum of two histograms of one scale. */
export function mergeHistograms(a: Histogram | undefined, b: Histogram | undefined): Histogram | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const offset = Math.min(a.offset, b.offset);
  const end = Math.max(a.offset + a.counts.length, b.offset + b.counts.length);
  const counts = new Array<number>(end - offset).fill(0);
  for (const { offset: first, counts: part } of [a, b])
    part.forEach((count, index) => {
      counts[first - offset + index] += count;
    });
  return { scale: a.scale, offset, counts };
}

// A closed window in pieces that a receiver takes, so that one which was refused is sent again without those that arrived.
import type { EdgeRow } from './edge-rows.ts';
import type { Profile } from './gen/metrics.ts';
import { type MetricsBatch, pointCounter } from './otlp-metrics.ts';

/**
 * Points of one POST. With names of usual length a point is 700 bytes, so this is 1.4 MiB: below the 4 MiB that a gRPC receiver takes by default, to which
 * a collector may pass it on. With the longest names it is 6 KiB, and all of them are below the 20 MiB of a collector's HTTP receiver.
 * A row with more points than that, one with thousands of names of DNS, is a chunk of its own.
 */
export const CHUNK_POINTS_MAX = 2_048;

/** In the order of the rows; the first one has our own readings too. A row is in one chunk, and there is at least one. */
export function splitBatch(batch: MetricsBatch, profile: Profile): MetricsBatch[] {
  const countPoints = pointCounter(profile);
  const chunks: MetricsBatch[] = [];
  let rows: EdgeRow[] = [];
  let points = batch.self.length;
  const end = (): void => {
    chunks.push({ ...batch, rows, self: chunks.length === 0 ? batch.self : [] });
    rows = [];
    points = 0;
  };
  for (const row of batch.rows) {
    const count = countPoints(row);
    if (points > 0 && points + count > CHUNK_POINTS_MAX) end();
    rows.push(row);
    points += count;
  }
  if (rows.length > 0 || chunks.length === 0) end();
  return chunks;
}

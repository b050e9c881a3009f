import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyResource } from '@opentelemetry/resources';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { seededRandom } from '../lib/random.ts';
import { Level } from '../wire/gen/records-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { decodeHosts, decodeWindow, mergeRows, sortedRows } from './edge-rows.ts';
import { CHUNK_POINTS_MAX, splitBatch } from './otlp-chunks.ts';
import { type MetricsBatch, type SelfReading, toResourceMetrics } from './otlp-metrics.ts';
import { encodeWindowOutput } from './testing/window-output.ts';

const SELF: SelfReading[] = Array.from({ length: 200 }, (_, value) => ({
  ...{ metric: 'frames', attributes: { reason: `r${value}` }, value },
}));

function batchOf(outputs: Uint8Array[]): MetricsBatch {
  const rows = mergeRows(decodeWindow(outputs, new Set([Level.IdId])), decodeHosts(outputs).values());
  return {
    ...{ startNs: () => 0n, endNs: 1n, processStartNs: 0n, temporality: AggregationTemporality.DELTA },
    ...{ rows: sortedRows(rows), self: SELF },
  };
}

function countPoints(batch: MetricsBatch): number {
  const [{ metrics }] = toResourceMetrics(batch, emptyResource(), 'otel').scopeMetrics;
  return metrics.reduce((total, { dataPoints }) => total + dataPoints.length, 0);
}

test('a window without rows is one chunk of our own readings', () => {
  const batch = batchOf([]);
  assert.deepEqual(splitBatch(batch, 'otel'), [batch]);
});

test('chunks are the rows in their order, each as full as a whole row allows', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e6);
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random() * count);
  const nodes = Array.from({ length: 61 }, (_, index) => ({ id: `n${index}`, host: `h${index}` }));
  const histogram = { scale: 3, offset: -90, counts: [1] };
  const edges = Array.from({ length: 2_400 }, (_, index) => ({
    ...{ level: Level.IdId, protocol: below(2) === 0 ? 6 : 17 },
    ...{ clientNode: index % 60, serverNode: 60, serverPort: 1 + Math.floor(index / 60) },
    ...{ forwardBytes: BigInt(below(2)), lateBytes: BigInt(below(2)), residualBytes: BigInt(below(2)) },
    ...{ connections: BigInt(below(2)), refused: below(2), forwardRetransmits: BigInt(below(2)) },
    ...(below(2) === 0 ? {} : { rttCount: 1, rttSumUs: 5n, histogram }),
  }));
  const hosts = Array.from({ length: 60 }, (_, clientNode) => ({
    kind: TallyKind.AcceptOverflow,
    clientNode,
    count: 1n,
  }));
  const batch = batchOf([encodeWindowOutput(4, nodes, edges, hosts)]);
  const chunks = splitBatch(batch, 'otel');
  assert.deepEqual(
    chunks.flatMap(({ rows }) => rows),
    batch.rows,
    `seed ${seed}`,
  );
  assert.deepEqual(
    chunks.flatMap(({ self }) => self),
    SELF,
  );
  const counts = chunks.map(countPoints);
  assert.ok(chunks.length > 2 && Math.max(...counts) <= CHUNK_POINTS_MAX, `seed ${seed}: ${counts}`);
  for (const [index, chunk] of chunks.slice(0, -1).entries()) {
    const [next] = chunks[index + 1].rows;
    const withNext = countPoints({ ...chunk, rows: [...chunk.rows, next] });
    assert.ok(withNext > CHUNK_POINTS_MAX, `seed ${seed}: chunk ${index} has room for one row more`);
  }
});

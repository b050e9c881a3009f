import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyResource } from '@opentelemetry/resources';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { seededRandom } from '../lib/random.ts';
import { Level } from '../wire/gen/records-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { mergeRows, sortedRows } from './edge-rows.ts';
import { CHUNK_BYTES_MAX, CHUNK_POINTS_MAX, type Chunk, halveChunk, splitBatch } from './otlp-chunks.ts';
import { type MetricsBatch, type SelfReading, toResourceMetrics } from './otlp-metrics.ts';
import { encodeWindowOutput } from './testing/window-output.ts';
import { decodeHosts, decodeWindow } from './window-rows.ts';

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
  const chunks = splitBatch(batchOf([]), 'otel');
  assert.deepEqual(
    chunks.map(({ rows, self, points }) => [rows, self, points]),
    [[[], SELF, SELF.length]],
  );
});

for (const [limit, count, reasonBytes] of [
  ['points', 6_900, 8],
  ['bytes', 1_500, 10_000],
] as const) {
  test(`more of our own readings than the ${limit} of a chunk are told in several, in their order`, () => {
    const self = Array.from({ length: count }, (_, value) => ({
      ...{ metric: 'frames' as const, attributes: { reason: String(value).padStart(reasonBytes, 'x') }, value },
    }));
    const batch = { ...batchOf([encodeWindowOutput(4, [{}, {}], [{ level: Level.IdId }])]), self };
    const chunks = splitBatch(batch, 'otel');
    assert.ok(chunks.length >= 4, `${chunks.length} chunks`);
    for (const chunk of chunks) {
      assert.equal(chunk.points, countPoints(chunk));
      assert.ok(chunk.points <= CHUNK_POINTS_MAX, `${chunk.points} points`);
      const textBytes = chunk.self.length * reasonBytes;
      assert.ok(chunk.bytes > textBytes && chunk.bytes <= CHUNK_BYTES_MAX, `${chunk.bytes} bytes`);
    }
    assert.deepEqual(
      chunks.flatMap((chunk) => chunk.self),
      self,
    );
    assert.deepEqual(chunks.map(({ rows }) => rows.length).toSorted(), [...chunks.slice(1).map(() => 0), 1]);
  });
}

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

/** A window of one host and one edge; the edge has `count` tallies with labels of `labelBytes`. */
function batchOfNames(count: number, labelBytes: number): MetricsBatch {
  const batch = batchOf([
    encodeWindowOutput(
      4,
      [{ id: 'a' }, { id: 'b' }],
      [{ level: Level.IdId, forwardBytes: 5n, active: 3n }],
      [{ kind: TallyKind.AcceptOverflow, clientNode: 0 }],
    ),
  ]);
  const [edge, host] = batch.rows;
  const tallies = new Map(
    Array.from({ length: count }, (_, index) => {
      const label = String(index).padStart(labelBytes, 'x');
      return [label, { kind: TallyKind.DnsTimeout, side: 1, code: 1, label, count: 1, sum: 0, histogram: undefined }];
    }),
  );
  return { ...batch, rows: [{ ...edge, tallies }, host] };
}

/** What pieces of rows tell together: rows with their columns, and all labels. */
function told(chunks: readonly Chunk[]): { columns: Buffer[]; labels: string[] } {
  const rows = chunks.flatMap((chunk) => chunk.rows);
  const labels = rows.flatMap(({ tallies }) => [...tallies.values()].map(({ label }) => label));
  return { columns: rows.filter(({ hasColumns }) => hasColumns).map(({ key }) => key), labels };
}

for (const [limit, count, labelBytes] of [
  ['points', 3 * CHUNK_POINTS_MAX, 8],
  ['bytes', 1_500, 10_000],
] as const) {
  test(`a row with more tallies than the ${limit} of a chunk is told in several, its columns once`, () => {
    const batch = batchOfNames(count, labelBytes);
    const chunks = splitBatch(batch, 'otel');
    assert.ok(chunks.length >= 4, `${chunks.length} chunks`);
    for (const chunk of chunks) {
      assert.ok(countPoints(chunk) <= CHUNK_POINTS_MAX, `${countPoints(chunk)} points`);
      assert.ok(chunk.bytes <= CHUNK_BYTES_MAX, `${chunk.bytes} bytes`);
    }
    const { columns, labels } = told(chunks);
    assert.deepEqual(columns, [batch.rows[0].key]);
    assert.deepEqual(labels, [...batch.rows[0].tallies.keys(), '']);
    // Bytes, active and each name once; what a row has open is told by its columns alone.
    assert.equal(
      chunks.reduce((total, chunk) => total + countPoints(chunk), 0),
      countPoints(batch),
    );
  });
}

test('a chunk is halved down to single readings of our own, the columns of a row and single tallies, and loses none', () => {
  const batch = batchOfNames(40, 100);
  let chunks = splitBatch(batch, 'otel');
  const { columns, labels } = told(chunks);
  for (let sizes = 0; sizes < chunks.length; ) {
    sizes = chunks.length;
    for (const chunk of chunks) {
      const halves = halveChunk(chunk, 'otel');
      if (halves.length > 1)
        assert.ok(
          halves.every(({ bytes }) => bytes < chunk.bytes),
          `${chunk.bytes}`,
        );
    }
    chunks = chunks.flatMap((chunk) => halveChunk(chunk, 'otel'));
  }
  assert.equal(chunks.length, SELF.length + 1 + 40 + 1);
  assert.deepEqual(told(chunks), { columns, labels });
  assert.deepEqual(
    chunks.flatMap(({ self }) => self),
    SELF,
  );
});

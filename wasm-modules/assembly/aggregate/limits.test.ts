import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level, NodeKind } from '../../../host/wire/gen/records-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { type Connection, edgeOf, randomConnections, randomMovements } from '../../testing/fleet.ts';
import { STILL } from '../../testing/naive-tree.ts';
import { type StageOptions, StageWorker } from '../../testing/stage-worker.ts';
import { mergeOutputs, type Point } from '../../testing/window-output.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const OPEN_WINDOW = 100;
const WINDOWS = 6;
const LEVEL_COUNT = 7;

interface Flood {
  workers: StageWorker[];
  /** Points of each window. */
  windows: Point[][];
  /** What was sent in each window. */
  sent: { forwardBytes: bigint; rttCount: bigint; active: bigint }[];
}

/** More owners than fit the limits of `options`, matched on two workers; an edge is kept while its connection is open. */
function flood(random: Random, options: StageOptions): Flood {
  const workers = [0, 1].map(
    (worker) => new StageWorker(MODULE, { ...options, worker, workers: 2, openWindow: OPEN_WINDOW }),
  );
  const connections = randomConnections(random, 400);
  const edges = new Map<Connection, number>();
  let active = 0n;
  const sent: Flood['sent'] = [];
  const windows = Array.from({ length: WINDOWS }, (_, index) => {
    const isLast = index === WINDOWS - 1;
    const total = { forwardBytes: 0n, rttCount: 0n, active: 0n };
    const movements = isLast
      ? connections
          .filter(({ isOpen }) => isOpen)
          .map((connection) => ({ connection, flow: { ...STILL, activeDelta: -1, closed: 1 } }))
      : randomMovements(random, connections, OPEN_WINDOW + index);
    for (const { connection, flow } of movements) {
      const worker = workers[connections.indexOf(connection) % 2];
      const edge = edges.get(connection) ?? edgeOf(worker, connection);
      edges.set(connection, edge);
      if (flow.activeDelta > 0) worker.call('retainEdge', edge);
      const block = worker.sendFlow(edge, flow);
      if (block !== undefined) workers[block.to].receive(worker.worker, block.bytes);
      if (flow.activeDelta < 0) worker.call('releaseEdge', edge);
      if (!connection.isOpen) edges.delete(connection);
      total.forwardBytes += flow.forwardBytes;
      total.rttCount += flow.rttUs > 0 ? 1n : 0n;
      active += BigInt(flow.activeDelta);
    }
    sent.push({ ...total, active });
    return mergeOutputs(workers.map((worker) => worker.close(OPEN_WINDOW + index)));
  });
  return { workers, windows, sent };
}

function sumOf(points: Point[], level: number, field: string): bigint {
  return points
    .filter((point) => point.level === level)
    .reduce((sum, { fields }) => sum + (fields.get(field) ?? 0n), 0n);
}

function assertExactTotals({ workers, windows, sent }: Flood): void {
  windows.forEach((points, index) => {
    for (let level = 0; level < LEVEL_COUNT; level++) {
      for (const [field, value] of Object.entries(sent[index])) {
        assert.equal(sumOf(points, level, field), value, `${field} of level ${level} in window ${index}`);
      }
    }
  });
  assert.equal(sent[WINDOWS - 1].active, 0n);
  for (const worker of workers) {
    assert.equal(worker.counter('ActiveUnderflows'), 0);
    assert.equal(worker.counter('ChannelEdgesUnknown'), 0);
    assert.equal(worker.counter('ChannelNodesUnknown'), 0);
  }
}

function counted(workers: StageWorker[], name: Parameters<StageWorker['counter']>[0]): number {
  return workers.reduce((sum, worker) => sum + worker.counter(name), 0);
}

const CASES: { limit: string; options: StageOptions; counters: Parameters<StageWorker['counter']>[0][] }[] = [
  { limit: 'edges', options: { edgeCountMax: 60 }, counters: ['EdgesRefused', 'LeavesRefused', 'EdgeFlowsToOther'] },
  { limit: 'nodes', options: { nodeCountMax: 40 }, counters: ['NodesRefused', 'EdgeFlowsToOther'] },
  {
    limit: 'texts',
    options: { textBytesMax: 2 << 14 },
    counters: ['TextsRefused', 'NodesRefused', 'EdgeFlowsToOther'],
  },
];

for (const { limit, options, counters } of CASES) {
  test(`beyond the limit of ${limit} flows go to (other), and every level's totals stay exact`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed}`);
    const result = flood(new Random(seed), options);
    assertExactTotals(result);
    for (const name of counters) assert.ok(counted(result.workers, name) > 0, name);
    const others = result.windows[0].filter(
      ({ level, client }) => level === Level.RoleRole && client.kind === NodeKind.Other,
    );
    assert.ok(others.length > 0);
    assert.ok(others.every(({ client }) => client.role === '(other)'));
  });
}

test('without a histogram for every row, counts, sums and extremes of RTT stay exact', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const result = flood(new Random(seed), { histogramCountMax: 5 });
  assertExactTotals(result);
  assert.ok(counted(result.workers, 'HistogramsRefused') > 0);
});

test('within the limits nothing goes to (other)', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const result = flood(new Random(seed), {});
  assertExactTotals(result);
  for (const { counters } of CASES) for (const name of counters) assert.equal(counted(result.workers, name), 0, name);
});

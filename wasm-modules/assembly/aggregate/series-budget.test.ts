import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level } from '../../../host/wire/gen/records-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { edgeOf, type Movement, randomConnections, randomMovements } from '../../testing/fleet.ts';
import { NaiveBudget } from '../../testing/naive-budget.ts';
import { STILL } from '../../testing/naive-tree.ts';
import { closeTogether, type StageOptions, StageWorker } from '../../testing/stage-worker.ts';
import { assertSameLines, decodeOutput, mergeOutputs, type Point, printPoint } from '../../testing/window-output.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const OPEN_WINDOW = 100;
const WINDOWS = 5;
const LEVEL_COUNT = 7;

/** Half of what moves is alike, so that many rows tie. */
function recordFleet(random: Random, windows = WINDOWS): Movement[][] {
  const connections = randomConnections(random, 120);
  return Array.from({ length: windows }, (_, index) =>
    randomMovements(random, connections, OPEN_WINDOW + index).map((movement) => {
      if (random.chance(0.5)) return movement;
      const { activeDelta, connections, closed } = movement.flow;
      const forwardBytes = BigInt(random.below(2) * 100);
      const flow = { ...STILL, fromWindow: OPEN_WINDOW + index, activeDelta, connections, closed, forwardBytes };
      return { ...movement, flow };
    }),
  );
}

/** A fleet's windows, each connection matched on a worker of its own. */
class Reducer {
  readonly workers: StageWorker[];
  readonly #edges = new Map<Movement['connection'], { worker: StageWorker; edge: number }>();
  #window = OPEN_WINDOW;

  constructor(workers: number, options: StageOptions) {
    this.workers = Array.from(
      { length: workers },
      (_, worker) =>
        new StageWorker(MODULE, { ...options, worker, workers, seed: worker + 1, openWindow: OPEN_WINDOW }),
    );
  }

  close(movements: readonly Movement[]): Uint8Array[] {
    for (const { connection, flow, tallies } of movements) {
      const known = this.#edges.get(connection);
      const worker = known?.worker ?? this.workers[this.#edges.size % this.workers.length];
      const edge = known?.edge ?? edgeOf(worker, connection);
      if (known === undefined) {
        worker.call('retainEdge', edge);
        this.#edges.set(connection, { worker, edge });
      }
      const blocks = [worker.sendFlow(edge, flow), ...tallies.map((tally) => worker.sendTally(edge, tally))];
      for (const block of blocks) if (block !== undefined) this.workers[block.to].receive(worker.worker, block.bytes);
    }
    return closeTogether(this.workers, this.#window++);
  }

  counter(name: Parameters<StageWorker['counter']>[0]): number {
    return this.workers.reduce((sum, worker) => sum + worker.counter(name), 0);
  }
}

const sumOf = (points: readonly Point[], level: number, field: string): bigint =>
  points.filter((point) => point.level === level).reduce((sum, { fields }) => sum + (fields.get(field) ?? 0n), 0n);

for (const workers of [1, 2, 4]) {
  for (const seriesBudget of [1, 9, 40]) {
    test(`${workers} workers put out ${seriesBudget} rows of a level, as sorting all of them would choose`, (t) => {
      const seed = chooseSeed();
      t.diagnostic(`SEED=${seed}`);
      const windows = recordFleet(new Random(seed));
      const unbounded = new Reducer(1, {});
      const bounded = new Reducer(workers, { seriesBudget });
      const naive = new NaiveBudget(seriesBudget);
      windows.forEach((movements, index) => {
        const all = decodeOutput(unbounded.close(movements)[0]);
        const shown = mergeOutputs(bounded.close(movements));
        const expected = naive.bound(OPEN_WINDOW + index, all);
        assertSameLines(shown.map(printPoint), expected.map(printPoint));
        for (let level = 0; level < LEVEL_COUNT; level++) {
          for (const field of ['forwardBytes', 'active', 'connections', 'rttCount', 'refused'])
            assert.equal(sumOf(shown, level, field), sumOf(all, level, field), `${field} of level ${level}`);
        }
      });
      assert.equal(bounded.counter('RowsToOther'), naive.folded);
      assert.ok(naive.folded > 0);
      for (const name of ['ActiveUnderflows', 'TalliesRefused', 'HistogramsRefused'] as const)
        assert.equal(bounded.counter(name), 0, name);
    });
  }
}

test('levels within their budget are put out as they are, whatever the others are', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const windows = recordFleet(new Random(seed));
  const unbounded = new Reducer(1, {});
  const bounded = new Reducer(1, { seriesBudget: 1 << 14 });
  for (const movements of windows)
    assert.equal(Buffer.compare(bounded.close(movements)[0], unbounded.close(movements)[0]), 0);
  assert.equal(bounded.counter('RowsToOther'), 0);
});

test('once there is room again, rows that were folded tell what is open on them, and (other) tells nothing', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const windows = recordFleet(new Random(seed), 3);
  const reducer = new Reducer(2, { seriesBudget: 30 });
  const open = new Set<Movement['connection']>();
  for (const movements of windows) {
    reducer.close(movements);
    for (const { connection, flow } of movements) {
      if (flow.activeDelta > 0) open.add(connection);
      if (flow.activeDelta < 0) open.delete(connection);
    }
  }
  const flow = { ...STILL, fromWindow: OPEN_WINDOW + 3, activeDelta: -1, closed: 1 };
  const left = [...open].slice(0, 5);
  const ended = [...open].slice(5).map((connection) => ({ connection, flow, tallies: [] }));
  reducer.close(ended);
  const shown = mergeOutputs(reducer.close([])).filter(({ level }) => level === Level.IdId);
  assert.equal(sumOf(shown, Level.IdId, 'active'), BigInt(left.length));
  assert.ok(shown.every(({ client }) => client.role !== '(other)'));
});

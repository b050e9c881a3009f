import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { edgeOf, type Movement, randomConnections, randomMovements, shuffle } from '../../testing/fleet.ts';
import { StageWorker } from '../../testing/stage-worker.ts';
import { assertSameLines, decodeOutput, mergeOutputs, printPoint } from '../../testing/window-output.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
/** The third window begins a new epoch of announcements (enrich/node-channel.ts). */
const OPEN_WINDOW = 118;
const WINDOWS = 6;
/** As aggregate/output-piece.ts. */
const PIECE_BYTES = 1 << 20;

/** Movements by window, from one seed. */
function recordFleet(seed: number, connectionCount = 400): Movement[][] {
  const random = new Random(seed);
  const connections = randomConnections(random, connectionCount);
  return Array.from({ length: WINDOWS }, (_, index) => randomMovements(random, connections, OPEN_WINDOW + index));
}

function replayAlone(windows: Movement[][], seed: number, closeRows?: number): Uint8Array[] {
  const worker = new StageWorker(MODULE, { seed, openWindow: OPEN_WINDOW, closeRows });
  return windows.map((movements, index) => {
    for (const { connection, flow, tallies } of movements) {
      const edge = edgeOf(worker, connection);
      for (const tally of tallies) worker.sendTally(edge, tally);
      worker.sendFlow(edge, flow);
    }
    return worker.close(OPEN_WINDOW + index);
  });
}

/** Each connection is matched on a worker of its own choice; blocks are carried in bursts, in order per pair of workers. */
function replayTogether(windows: Movement[][], workers: number, random: Random): Uint8Array[][] {
  const all = Array.from(
    { length: workers },
    (_, worker) => new StageWorker(MODULE, { worker, workers, seed: 1 + worker, openWindow: OPEN_WINDOW }),
  );
  const matcher = new Map(windows.flat().map(({ connection }) => [connection, random.pick(all)]));
  return windows.map((movements, index) => {
    for (const { connection, flow, tallies } of shuffle(random, movements)) {
      const from = matcher.get(connection) ?? all[0];
      const edge = edgeOf(from, connection);
      const blocks = [
        from.sendFlow(edge, flow),
        ...shuffle(random, tallies).map((tally) => from.sendTally(edge, tally)),
      ];
      for (const block of blocks) if (block !== undefined) all[block.to].receive(from.worker, block.bytes);
    }
    return all.map((worker) => worker.close(OPEN_WINDOW + index));
  });
}

test('two seeds and two orders of arrival give the same bytes', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const windows = recordFleet(seed);
  const random = new Random(seed + 1);
  const expected = replayAlone(windows, 1);
  const shuffled = windows.map((movements) => shuffle(random, movements));
  replayAlone(shuffled, 0xdecafbad).forEach((output, index) => {
    assert.equal(Buffer.compare(output, expected[index]), 0, `window ${index}`);
  });
  assert.ok(expected[0].length > 100_000);
});

for (const workers of [2, 4]) {
  test(`the merged outputs of ${workers} workers equal the output of one`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed}`);
    const windows = recordFleet(seed);
    const alone = replayAlone(windows, 1);
    const together = replayTogether(windows, workers, new Random(seed + 2));
    together.forEach((outputs, index) => {
      assertSameLines(mergeOutputs(outputs).map(printPoint), decodeOutput(alone[index]).map(printPoint));
      const pointCounts = outputs.map((output) => decodeOutput(output).length);
      assert.ok(Math.min(...pointCounts) > 0, `every worker owns some role pairs: ${pointCounts}`);
      const sum = pointCounts.reduce((a, b) => a + b);
      assert.equal(sum, mergeOutputs(outputs).length, 'a row has one owner');
    });
  });
}

test('an output of several pieces has the same bytes whether pieces are full or slices short', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const windows = recordFleet(seed, 4_000);
  const full = replayAlone(windows, 1, 1 << 30);
  assert.equal(Math.max(...full.map(({ length }) => length)) > 2 * PIECE_BYTES, true, 'three pieces');
  for (const [index, output] of replayAlone(windows, 1, 3).entries())
    assert.equal(Buffer.compare(output, full[index]), 0, `window ${index}`);
});

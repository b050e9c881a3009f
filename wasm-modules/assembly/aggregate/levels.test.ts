import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level } from '../../../host/wire/gen/records-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { edgeOf, nodeOfEnd, randomConnections, randomMovements } from '../../testing/fleet.ts';
import { NaiveTree } from '../../testing/naive-tree.ts';
import { StageWorker } from '../../testing/stage-worker.ts';
import { assertSameLines, decodeOutput, printPoint } from '../../testing/window-output.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const OPEN_WINDOW = 100;
const mask = (...levels: Level[]) => levels.reduce<number>((bits, level) => bits | (1 << level), 0);
const ALL = 0x7f;

const CASES = [
  { name: 'all levels, no histograms', output: ALL, histograms: 0 },
  { name: 'one level with histograms', output: mask(Level.AzAz), histograms: ALL },
  { name: 'histograms at the root alone, collected on the way', output: ALL, histograms: mask(Level.RoleRole) },
  { name: 'histograms of az-role alone', output: ALL, histograms: mask(Level.AzRole) },
  { name: 'histograms of the id levels alone', output: ALL, histograms: mask(Level.IdId, Level.IdAz, Level.AzId) },
  { name: 'a histogram level that is not put out', output: mask(Level.RoleRole), histograms: mask(Level.AzAz) },
  { name: 'no level at all', output: 0, histograms: ALL },
];

for (const { name, output, histograms } of CASES) {
  test(`the chosen levels and histograms are put out: ${name}`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed}`);
    const random = new Random(seed);
    const options = { openWindow: OPEN_WINDOW, outputLevels: output, histogramLevels: histograms };
    const worker = new StageWorker(MODULE, options);
    const naive = new NaiveTree(histograms);
    const connections = randomConnections(random, 100);
    for (let window = OPEN_WINDOW; window < OPEN_WINDOW + 4; window++) {
      for (const { connection, flow, tallies } of randomMovements(random, connections, window)) {
        const edge = edgeOf(worker, connection);
        worker.sendFlow(edge, flow);
        for (const tally of tallies) worker.sendTally(edge, tally);
        const [client, server] = [connection.client, connection.server].map((end) =>
          worker.readNode(nodeOfEnd(worker, end)),
        );
        naive.add(client, server, connection.serverPort, connection.protocol, flow, tallies);
      }
      const expected = naive.close(window).filter((line) => ((output >> Number.parseInt(line, 10)) & 1) === 1);
      assertSameLines(decodeOutput(worker.close(window)).map(printPoint), expected);
    }
    assert.equal(worker.counter('HistogramsRefused'), 0);
  });
}

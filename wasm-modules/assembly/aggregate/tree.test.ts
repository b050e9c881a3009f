import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { edgeOf, nodeOfEnd, randomConnections, randomMovements } from '../../testing/fleet.ts';
import { NaiveTree } from '../../testing/naive-tree.ts';
import { StageWorker } from '../../testing/stage-worker.ts';
import { assertSameLines, decodeOutput, printPoint } from '../../testing/window-output.ts';

const OPEN_WINDOW = 100;
const ENTRY = 'testing/enrich-aggregate.ts';

for (const build of ['release', 'debug'] as const) {
  test(`every level says what a naive sum over the leaves says (${build})`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed}`);
    const random = new Random(seed);
    const worker = new StageWorker(compileModule(ENTRY, build), { openWindow: OPEN_WINDOW });
    const naive = new NaiveTree();
    const connections = randomConnections(random, 300);
    for (let window = OPEN_WINDOW; window < OPEN_WINDOW + 8; window++) {
      for (const { connection, flow, tallies } of randomMovements(random, connections, window)) {
        const edge = edgeOf(worker, connection);
        worker.sendFlow(edge, flow);
        for (const tally of tallies) worker.sendTally(edge, tally);
        const client = worker.readNode(nodeOfEnd(worker, connection.client));
        const server = worker.readNode(nodeOfEnd(worker, connection.server));
        naive.add(client, server, connection.serverPort, connection.protocol, flow, tallies);
      }
      assertSameLines(decodeOutput(worker.close(window)).map(printPoint), naive.close(window));
    }
    assert.equal(worker.counter('ActiveUnderflows'), 0);
    assert.equal(worker.counter('ChannelEdgesUnknown'), 0);
    assert.ok(worker.counter('EdgeFlowsAdded') > 1000);
    assert.ok(worker.counter('TalliesAdded') > 1000);
    assert.equal(worker.counter('TalliesRefused') + worker.counter('TallyLabelsDropped'), 0);
  });
}

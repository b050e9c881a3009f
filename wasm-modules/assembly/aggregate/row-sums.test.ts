import { test } from 'node:test';
import { CloseReason } from '../../../host/wire/gen/kernel-events-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { type Connection, edgeOf, nodeOfEnd, randomConnections } from '../../testing/fleet.ts';
import { type FlowValues, NaiveTree } from '../../testing/naive-tree.ts';
import { StageWorker } from '../../testing/stage-worker.ts';
import { assertSameLines, decodeOutput, printPoint } from '../../testing/window-output.ts';

const OPEN_WINDOW = 100;
const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const BOTH_ENDS = 3;
/** Three of them are more than 32 bits have room for. */
const LARGE = 2_000_000_000;

function evenFlow(scale: number, more: Partial<FlowValues> = {}): FlowValues {
  const [forwardBytes, reverseBytes] = [BigInt(scale) * 1_500n, BigInt(scale) * 3n];
  const [forwardPackets, reversePackets] = [BigInt(scale), BigInt(scale) + 1n];
  const client = { clientBytesSent: forwardBytes, clientBytesReceived: reverseBytes };
  const server = { serverBytesSent: reverseBytes, serverBytesReceived: forwardBytes };
  const clientPackets = { clientPacketsSent: forwardPackets, clientPacketsReceived: reversePackets };
  const serverPackets = { serverPacketsSent: reversePackets, serverPacketsReceived: forwardPackets };
  return {
    ...{ fromWindow: OPEN_WINDOW, forwardBytes, reverseBytes, forwardPackets, reversePackets },
    ...{ forwardRetransmits: 0n, reverseRetransmits: 0n, residualBytes: 0n, judgedBytes: 0n, lateBytes: 0n },
    ...{ rttUs: scale, connections: scale, closed: scale, activeDelta: 0, match: BOTH_ENDS },
    ...{ reason: CloseReason.None, resetBy: 0, reasonCount: 0 },
    ...{ ...client, ...clientPackets, ...server, ...serverPackets },
    ...more,
  };
}

/** A tree, and one that adds up every level anew. */
class TwoTrees {
  readonly #worker = new StageWorker(MODULE, { openWindow: OPEN_WINDOW });
  readonly #naive = new NaiveTree();
  readonly connections: Connection[];

  constructor(random: Random) {
    this.connections = randomConnections(random, 30);
  }

  add(connection: Connection, flow: FlowValues): void {
    const { client, server, serverPort, protocol } = connection;
    this.#worker.sendFlow(edgeOf(this.#worker, connection), flow);
    const [from, to] = [client, server].map((end) => this.#worker.readNode(nodeOfEnd(this.#worker, end)));
    this.#naive.add(from, to, serverPort, protocol, flow);
  }

  closeAndCompare(window: number): void {
    assertSameLines(decodeOutput(this.#worker.close(window)).map(printPoint), this.#naive.close(window));
  }
}

test('sums of more than 32 bits are exact at every level, also where the ends said nothing else', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const trees = new TwoTrees(new Random(seed));
  for (const [index, connection] of trees.connections.entries()) {
    for (let flow = 0; flow < 1 + (index % 4); flow++) trees.add(connection, evenFlow(LARGE + index));
    if (index % 3 === 0) trees.add(connection, evenFlow(LARGE, { clientPacketsSent: 1n, serverBytesSent: 1n << 60n }));
  }
  trees.closeAndCompare(OPEN_WINDOW);
});

test('a row that is open and did not move tells nothing of the window before, and a row that moves again begins at 0', () => {
  const trees = new TwoTrees(new Random(1));
  const rare = { forwardRetransmits: 5n, reason: CloseReason.ResetSent, resetBy: 1, reasonCount: 2, match: 1 };
  for (const connection of trees.connections) trees.add(connection, evenFlow(7, { ...rare, activeDelta: 1 }));
  trees.closeAndCompare(OPEN_WINDOW);
  for (const connection of trees.connections.slice(0, 10)) {
    trees.add(connection, evenFlow(3, { fromWindow: OPEN_WINDOW + 1 }));
  }
  trees.closeAndCompare(OPEN_WINDOW + 1);
  for (const connection of trees.connections.slice(5)) trees.add(connection, evenFlow(2, { activeDelta: -1 }));
  trees.closeAndCompare(OPEN_WINDOW + 2);
});

test('of one flow each sample of a round trip is in the histograms above, of two flows both', () => {
  const trees = new TwoTrees(new Random(2));
  for (const [index, connection] of trees.connections.entries()) {
    for (let flow = 0; flow < index % 4; flow++) trees.add(connection, evenFlow(1000 * 3 ** flow));
  }
  trees.closeAndCompare(OPEN_WINDOW);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TallySide } from '../../../host/wire/gen/records-layout.ts';
import { TallyKind } from '../../../host/wire/gen/wire-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { type Connection, edgeOf, nodeOfEnd, randomConnections } from '../../testing/fleet.ts';
import { type FlowValues, NaiveTree, STILL } from '../../testing/naive-tree.ts';
import { StageWorker } from '../../testing/stage-worker.ts';
import { assertSameLines, decodeOutput, mergeOutputs, printPoint } from '../../testing/window-output.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const OPEN_WINDOW = 100;
const IDLE_WINDOWS = 60;
const LEVEL_COUNT = 7;
const OPENED = { ...STILL, fromWindow: OPEN_WINDOW, connections: 1, activeDelta: 1, match: 3 };
const CLOSED = { ...STILL, fromWindow: OPEN_WINDOW, closed: 1, activeDelta: -1, match: 3 };

function openWorker(): { worker: StageWorker; edge: number; baseline: { nodes: number; texts: number } } {
  const worker = new StageWorker(MODULE, { openWindow: OPEN_WINDOW });
  const baseline = { nodes: worker.counter('NodesLive'), texts: worker.counter('TextsLive') };
  const client = worker.nodeOf({ host: 'a', zone: 'z', executable: '/usr/bin/curl' });
  const server = worker.nodeOf({ host: 'b', zone: 'z', unit: 'nginx.service' });
  return { worker, edge: worker.call('edgeOf', client, server, 443, 6), baseline };
}

function activeCounts(output: Uint8Array): bigint[] {
  return decodeOutput(output).map(({ fields }) => fields.get('active') ?? -1n);
}

test('active is told in every window while flows are open, then once as 0, then not at all', () => {
  const { worker, edge } = openWorker();
  worker.sendFlow(edge, OPENED);
  worker.sendFlow(edge, OPENED);
  assert.deepEqual(activeCounts(worker.close(100)), Array(LEVEL_COUNT).fill(2n));
  assert.deepEqual(activeCounts(worker.close(101)), Array(LEVEL_COUNT).fill(2n));
  worker.sendFlow(edge, CLOSED);
  assert.deepEqual(activeCounts(worker.close(102)), Array(LEVEL_COUNT).fill(1n));
  worker.sendFlow(edge, CLOSED);
  assert.deepEqual(activeCounts(worker.close(103)), Array(LEVEL_COUNT).fill(0n));
  assert.deepEqual(activeCounts(worker.close(104)), []);
});

test('a close without an open leaves active at 0 on every level and is counted', () => {
  const { worker, edge } = openWorker();
  worker.sendFlow(edge, CLOSED);
  assert.deepEqual(activeCounts(worker.close(100)), Array(LEVEL_COUNT).fill(0n));
  assert.equal(worker.counter('ActiveUnderflows'), 1);
});

test('an idle leaf is freed after its time with its rows, edge, nodes and texts; a new flow makes them anew', () => {
  const { worker, edge, baseline } = openWorker();
  worker.sendFlow(edge, OPENED);
  worker.sendFlow(edge, CLOSED);
  let window = OPEN_WINDOW;
  for (; window < OPEN_WINDOW + IDLE_WINDOWS; window++) {
    worker.close(window);
    assert.equal(worker.counter('RowsLive'), LEVEL_COUNT);
  }
  for (; window < OPEN_WINDOW + 3 * IDLE_WINDOWS; window++) worker.close(window);
  assert.equal(worker.counter('RowsLive'), 0);
  assert.equal(worker.counter('LeavesLive'), 0);
  assert.equal(worker.counter('LeavesExpired'), 1);
  assert.equal(worker.counter('EdgesLive'), 0);
  assert.equal(worker.counter('NodesLive'), baseline.nodes);
  assert.equal(worker.counter('TextsLive'), baseline.texts);

  const client = worker.nodeOf({ host: 'c', zone: 'z' });
  const again = worker.call('edgeOf', client, client, 80, 6);
  worker.sendFlow(again, OPENED);
  const points = decodeOutput(worker.close(window));
  assert.equal(points.length, LEVEL_COUNT);
  assert.equal(points[0].client.id, 'c');
});

test('a leaf with an open flow outlives any idle time', () => {
  const { worker, edge } = openWorker();
  worker.call('retainEdge', edge);
  worker.sendFlow(edge, OPENED);
  let window = OPEN_WINDOW;
  for (; window < OPEN_WINDOW + 4 * IDLE_WINDOWS; window++) worker.close(window);
  worker.sendFlow(edge, CLOSED);
  assert.deepEqual(activeCounts(worker.close(window)), Array(LEVEL_COUNT).fill(0n));
  assert.equal(worker.counter('ActiveUnderflows'), 0);
  assert.equal(worker.counter('ChannelEdgesUnknown'), 0);
});

test('an edge that is kept through an idle time is announced again before its next flow', () => {
  const { worker, edge } = openWorker();
  worker.call('retainEdge', edge);
  worker.sendFlow(edge, OPENED);
  worker.sendFlow(edge, CLOSED);
  let window = OPEN_WINDOW;
  for (; window < OPEN_WINDOW + 2 * IDLE_WINDOWS; window++) worker.close(window);
  assert.equal(worker.counter('LeavesLive'), 0);
  worker.sendFlow(edge, OPENED);
  const [point] = decodeOutput(worker.close(window));
  assert.equal(point.server.id, 'b/nginx.service');
  assert.equal(worker.counter('ChannelEdgesUnknown'), 0);
});

test('a flow that was opened on (other) closes there, although its edge would fit by now', () => {
  const matcher = new StageWorker(MODULE, { worker: 0, workers: 2, openWindow: OPEN_WINDOW });
  const owner = new StageWorker(MODULE, { worker: 1, workers: 2, openWindow: OPEN_WINDOW, edgeCountMax: 2 });
  const edges: number[] = [];
  for (let host = 0; edges.length < 3; host++) {
    const node = matcher.nodeOf({ host: `h${host}`, zone: '' });
    const edge = matcher.call('edgeOf', node, node, 80, 6);
    if (matcher.call('edgeWorker', edge) === owner.worker) edges.push(edge);
  }
  const [first, second, late] = edges;
  const send = (edge: number, flow: FlowValues) => {
    const block = matcher.sendFlow(edge, flow);
    if (block !== undefined) owner.receive(matcher.worker, block.bytes);
  };
  matcher.call('retainEdge', late);
  for (const edge of [first, second]) {
    send(edge, OPENED);
    send(edge, CLOSED);
  }
  send(late, OPENED);
  let window = OPEN_WINDOW;
  for (; window < OPEN_WINDOW + 2 * IDLE_WINDOWS; window++) {
    matcher.close(window);
    owner.close(window);
  }
  assert.equal(owner.counter('LeavesExpired'), 2);
  send(late, CLOSED);
  const points = decodeOutput(owner.close(window));
  assert.deepEqual(
    points.map(({ client, fields }) => [client.role, fields.get('active')]),
    Array(LEVEL_COUNT).fill(['(other)', 0n]),
  );
  assert.equal(owner.counter('ActiveUnderflows'), 0);
});

/** Connections sleep up to three idle times. An open flow keeps its edge, a closed one asks for it again. */
test('three workers tell over 400 windows what one naive tree says, whatever expires meanwhile', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const workers = [0, 1, 2].map(
    (worker) => new StageWorker(MODULE, { worker, workers: 3, seed: worker, openWindow: OPEN_WINDOW }),
  );
  const naive = new NaiveTree();
  const edges = new Map<Connection, number>();
  const sleepers = randomConnections(random, 60).map((connection) => ({ connection, wakes: random.below(100) }));
  for (let window = OPEN_WINDOW; window < OPEN_WINDOW + 400; window++) {
    for (const sleeper of sleepers) {
      if (sleeper.wakes-- > 0) continue;
      sleeper.wakes = random.below(3 * IDLE_WINDOWS);
      const { connection } = sleeper;
      const worker = workers[sleepers.indexOf(sleeper) % 3];
      const edge = edges.get(connection) ?? edgeOf(worker, connection);
      const flow = { ...(edges.has(connection) ? CLOSED : OPENED), fromWindow: window, forwardBytes: 10n, rttUs: 500 };
      // Some labels come again when the tally and the label are long gone, others at once.
      const label = `name-${window % 150 < 75 ? random.below(9) : window}`;
      const tallies = Array.from({ length: random.below(4) }, (_, code) => ({ ...TALLY, code, label }));
      naive.add(
        worker.readNode(nodeOfEnd(worker, connection.client)),
        worker.readNode(nodeOfEnd(worker, connection.server)),
        connection.serverPort,
        connection.protocol,
        flow,
        tallies,
      );
      if (flow.activeDelta > 0) worker.call('retainEdge', edge);
      const blocks = [worker.sendFlow(edge, flow), ...tallies.map((tally) => worker.sendTally(edge, tally))];
      for (const block of blocks) if (block !== undefined) workers[block.to].receive(worker.worker, block.bytes);
      if (flow.activeDelta > 0) edges.set(connection, edge);
      else {
        worker.call('releaseEdge', edge);
        edges.delete(connection);
      }
    }
    const merged = mergeOutputs(workers.map((worker) => worker.close(window)));
    assertSameLines(merged.map(printPoint), naive.close(window));
  }
  for (const worker of workers) {
    assert.ok(worker.counter('LeavesExpired') > 0);
    assert.ok(worker.counter('EdgesExpired') > 0);
    assert.ok(worker.counter('NodesExpired') > 0);
    assert.equal(worker.counter('ChannelEdgesUnknown') + worker.counter('ChannelNodesUnknown'), 0);
    assert.equal(worker.counter('ActiveUnderflows'), 0);
    const idle = [worker.counter('TalliesLive'), worker.counter('TalliesAdded')];
    assert.ok(idle[0] < idle[1] / 4, `of ${idle[1]} tallies ${idle[0]} stay`);
    assert.equal(worker.counter('TallyLabelsDropped') + worker.counter('TalliesRefused'), 0);
  }
});

const TALLY = { kind: TallyKind.Retransmit, side: TallySide.Client, code: 0, label: '', count: 3n, sum: 0n };

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate, setTimeout } from 'node:timers/promises';
import type { Node } from '../export/edge-rows.ts';
import { encodeWindowOutput, type PointSpec } from '../export/testing/window-output.ts';
import { NodeKind } from '../wire/gen/records-layout.ts';
import { detailedEdgesOf, queryEdges, readEdges, readHistory } from './edges.ts';
import { readHosts } from './hosts.ts';
import { WindowStore } from './window-store.ts';

const NODES: Partial<Node>[] = [
  { kind: NodeKind.Process, id: 'a/curl', role: 'curl', process: 'curl' },
  { kind: NodeKind.PublicAddress, id: '192.0.2.1', role: '(public)', address: '192.0.2.1' },
];

async function edgeOver(...windows: PointSpec[]) {
  const store = new WindowStore();
  for (const [index, point] of windows.entries()) {
    const outputs = [encodeWindowOutput(index + 1, NODES, [{ serverPort: 443, ...point }])];
    store.push({ window: index + 1, windowNs: 1e9, incarnation: 1n, outputs });
  }
  const { edges } = await readEdges(store, 'id_id', windows.length);
  assert.equal(edges.length, 1);
  return edges[0];
}

test("the ends' own numbers add up over windows, and retransmits are those of the sender", async () => {
  const { own, bytes } = await edgeOver(
    { forwardBytes: 100n, clientBytesSent: 100n, clientPacketsSent: 2n, serverBytesReceived: 60n, flowsBoth: 1 },
    { forwardBytes: 5n, forwardRetransmits: 3n, clientBytesSent: 5n, serverBytesReceived: 45n, flowsBoth: 1 },
  );
  assert.equal(bytes.forward, 105);
  assert.deepEqual(own.client, {
    bytes: { sent: 105, received: 0 },
    packets: { sent: 2, received: 0 },
    retransmits: 3,
  });
  assert.deepEqual(own.server, {
    bytes: { sent: 0, received: 105 },
    packets: { sent: 0, received: 0 },
    retransmits: 0,
  });
});

test('an end that no flow was seen from has no numbers, one that is silent has zeros', async () => {
  const { own } = await edgeOver({ forwardBytes: 7n, serverBytesReceived: 7n, flowsServer: 1 });
  assert.equal(own.client, null);
  assert.equal(own.server?.bytes.sent, 0);
  const failed = await edgeOver({ flowsClient: 1, refused: 1 });
  assert.notEqual(failed.own.client, null);
});

test('a process is its own only process', async () => {
  const { client, server } = await edgeOver({ flowsClient: 1 });
  assert.deepEqual([client.processes, client.moreProcesses, server.processes], [['curl'], 0, []]);
});

test('the edges of a window in no store are those that a store tells of it, and its outputs stay', async () => {
  const told = [4, 5].map((window) => {
    const outputs = [encodeWindowOutput(window, NODES, [{ flowsBoth: 1, forwardBytes: 7n, active: 2n }])];
    return { window, windowNs: 1e9, incarnation: 1n, outputs };
  });
  const answers = told.map((closed) => detailedEdgesOf(closed, 'id_id'));
  await setTimeout(20);
  const store = new WindowStore();
  for (const [index, closed] of told.entries()) {
    assert.ok(closed.outputs[0].byteLength > 0);
    store.push(closed);
    const query = { level: 'id_id', windows: 1, detail: 'tallies', failed: 'false' } as const;
    assert.deepEqual(answers[index], await queryEdges(store, query));
  }
});

test('others have their turn between the windows that are read, each of them once', async () => {
  const store = new WindowStore();
  for (let window = 1; window <= 20; window++)
    store.push({
      window,
      windowNs: 1e9,
      incarnation: 1n,
      outputs: [encodeWindowOutput(window, NODES, [{ flowsBoth: 1 }])],
    });
  const [{ key }] = (await readEdges(store, 'id_id', 1)).edges;
  const reads = {
    edges: () => readEdges(store, 'id_id', 20),
    history: () => readHistory(store, { level: 'id_id', key, windows: 20 }),
    hosts: () => readHosts(store, { windows: 20 }),
    newest: () => readEdges(store, 'id_id', 1),
  };
  const turns: Record<string, number> = {};
  for (const [name, read] of Object.entries(reads)) turns[name] = await turnsUntil(read());
  assert.deepEqual(turns, { edges: 19, history: 19, hosts: 19, newest: 0 });
});

async function turnsUntil(answer: Promise<unknown>): Promise<number> {
  let isAnswered = false;
  void answer.then(() => {
    isAnswered = true;
  });
  for (let turns = -1; ; turns++) {
    if (isAnswered) return turns;
    await setImmediate();
  }
}

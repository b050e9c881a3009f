import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node } from '../export/edge-rows.ts';
import { encodeWindowOutput, type PointSpec } from '../export/testing/window-output.ts';
import { NodeKind } from '../wire/gen/records-layout.ts';
import { readEdges } from './edges.ts';
import { WindowStore } from './window-store.ts';

const NODES: Partial<Node>[] = [
  { kind: NodeKind.Process, id: 'a/curl', role: 'curl', process: 'curl' },
  { kind: NodeKind.PublicAddress, id: '192.0.2.1', role: '(public)', address: '192.0.2.1' },
];

function edgeOver(...windows: PointSpec[]) {
  const store = new WindowStore();
  for (const [index, point] of windows.entries()) {
    const outputs = [encodeWindowOutput(index + 1, NODES, [{ serverPort: 443, ...point }])];
    store.push({ window: index + 1, windowNs: 1e9, incarnation: 1n, outputs });
  }
  const { edges } = readEdges(store, 'id_id', windows.length);
  assert.equal(edges.length, 1);
  return edges[0];
}

test("the ends' own numbers add up over windows, and retransmits are those of the sender", () => {
  const { own, bytes } = edgeOver(
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

test('an end that no flow was seen from has no numbers, one that is silent has zeros', () => {
  const { own } = edgeOver({ forwardBytes: 7n, serverBytesReceived: 7n, flowsServer: 1 });
  assert.equal(own.client, null);
  assert.equal(own.server?.bytes.sent, 0);
  assert.notEqual(edgeOver({ flowsClient: 1, refused: 1 }).own.client, null);
});

test('a process is its own only process', () => {
  const { client, server } = edgeOver({ flowsClient: 1 });
  assert.deepEqual([client.processes, client.moreProcesses, server.processes], [['curl'], 0, []]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileModule } from '../../testing/compile-module.ts';
import { STILL } from '../../testing/naive-tree.ts';
import { StageWorker } from '../../testing/stage-worker.ts';
import { decodeOutput } from '../../testing/window-output.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const FIRST = 100;
/** More than an idle leaf is kept. */
const WINDOWS = 70;
const TCP = 6;
const UDP = 17;

test('(other) stays whole where an upper level folds into it for longer than its leaf is kept idle', () => {
  const worker = new StageWorker(MODULE, { openWindow: FIRST, seriesBudget: 8 });
  const node = (host: string) => worker.nodeOf({ host, zone: 'z', executable: '/usr/bin/app' });
  const edges: { edge: number; bytes: bigint }[] = [];
  const addEdge = (client: string, port: number, protocol: number, bytes: bigint) => {
    const edge = worker.call('edgeOf', node(client), node('server'), port, protocol);
    worker.call('retainEdge', edge);
    edges.push({ edge, bytes });
  };
  // At the finest level only UDP is small enough to be folded; above it the sums of UDP push TCP out.
  for (let port = 1; port <= 6; port++) {
    addEdge('tcp', port, TCP, 1000n);
    for (let client = 0; client < 10; client++) addEdge(`udp-${client}`, port, UDP, 150n);
  }
  for (let window = FIRST; window < FIRST + WINDOWS; window++) {
    // What is new takes handles that were freed.
    addEdge(`new-${window}`, 6, UDP, 150n);
    edges.forEach(({ edge, bytes }, index) => {
      const opened = window === FIRST || index === edges.length - 1;
      const flow = { ...STILL, fromWindow: window, match: 3, forwardBytes: bytes, activeDelta: opened ? 1 : 0 };
      worker.sendFlow(edge, flow);
    });
    const points = decodeOutput(worker.close(window));
    const levels = points.map(({ level }) => level);
    assert.deepEqual(levels, levels.toSorted(), `window ${window}`);
    const sums = Array.from({ length: 7 }, () => 0n);
    for (const { level, fields } of points) sums[level] += fields.get('forwardBytes') ?? 0n;
    const told = edges.reduce((sum, { bytes }) => sum + bytes, 0n);
    assert.deepEqual(new Set(sums), new Set([told]), `window ${window}`);
  }
});

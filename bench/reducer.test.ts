// The benchmark in its shortest form: that the reducer counts what the fleet tells, and that a difference is seen.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Fleet } from './reducer/fleet.ts';
import { lossesOf, type Measured } from './reducer/measure.ts';
import { ProbeHandle } from './reducer/probe-handle.ts';
import { Metrics } from './reducer/service.ts';

const RUN = join(import.meta.dirname, 'run.ts');

/** The only measurement of each case. */
async function run(...args: string[]): Promise<Measured[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-test-'));
  try {
    const path = join(directory, 'reducer.json');
    const load = ['--sockets', '2000', '--agents', '4', '--workers', '2', '--spread', 'zipf'];
    const short = ['--window', '1', '--lateness', '10', '--windows', '1', '--rounds', '1', '--json', path];
    await promisify(execFile)(process.execPath, [RUN, 'reducer', ...load, ...short, ...args]);
    const { measured } = JSON.parse(readFileSync(path, 'utf8')) as { measured: { cases: Record<string, Measured[]> } };
    return Object.values(measured.cases).map(([only]) => only);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('the benchmark of the reducer measures live and short connections whose totals are exact', {
  timeout: 240_000,
}, async () => {
  const [[live], [short]] = await Promise.all([run('--mix', 'steady', '--churn', '10'), run('--mix', 'short')]);
  // A tenth of 1 000 connections ends, and as many open; both ends tell it.
  assert.deepEqual([live.updates, live.connections, live.records], [2_000, 100, 2_400]);
  assert.deepEqual([short.updates, short.connections, short.records], [0, 1_000, 2_000]);
  for (const { workersNs, processNs, talliesRefused } of [live, short]) {
    assert.ok(workersNs > 0 && processNs > workersNs);
    assert.equal(talliesRefused, 0);
  }
});

test('numbers of workers are told the same, in windows of their own', { timeout: 240_000 }, async () => {
  const sides = await run('--mix', 'short', '--workers', '1,2', '--windows', '2');
  assert.deepEqual(
    sides.map(({ connections, roundsNs }) => [connections, roundsNs.length]),
    [
      [2_000, 2],
      [2_000, 2],
    ],
  );
  for (const { roundsNs, workersNs } of sides) assert.equal(roundsNs[0] + roundsNs[1], workersNs);
});

test('a fleet uses a handle again only after the close of the one before is committed', () => {
  const options = { mix: 'steady', sockets: 200, agents: 2, updates: 1, churn: 0.1, spread: 'uniform' } as const;
  const fleet = new Fleet(options);
  fleet.open();
  const openHandles = (committedWindow: number, window: number) => {
    const [open] = fleet.round(window, committedWindow)[0];
    const view = new DataView(open.payload.buffer);
    return Array.from({ length: 10 }, (_, index) => view.getUint32(24 + index * 80, true));
  };
  const next = (first: number) => Array.from({ length: 10 }, (_, index) => first + index);
  assert.deepEqual(openHandles(0, 1), next(101));
  assert.deepEqual(openHandles(0, 2), next(111));
  assert.deepEqual(openHandles(1, 3), next(1), 'those of window 1');
  assert.deepEqual(fleet.told.closes, 60);
});

test('tallies may be refused only of a fleet with more edges than the tables have rows', () => {
  const refused = (stage: string, reason: string) =>
    `tributary_events_lost_total{tributary_stage="${stage}",tributary_reason="${reason}"} 3`;
  const tallies = ['tally_limit', 'histogram_limit'].map((reason) => refused('aggregate', reason));
  const flow = refused('match', 'flow_limit');
  const metrics = new Metrics([...tallies, flow].join('\n'));
  const edgesOf = (agents: number, sockets: number) =>
    new Fleet({ mix: 'short', sockets, agents, updates: 1, churn: 0, spread: 'uniform' }).edges;
  // Each of 5 clients to each of 5 servers, from each of 8 processes to each of 8.
  assert.equal(edgesOf(10, 200_000), 25 * 64);
  assert.deepEqual(lossesOf(metrics, edgesOf(10, 200_000)), [...tallies, flow]);
  assert.equal(edgesOf(2, 2), 1);
  assert.deepEqual(lossesOf(metrics, edgesOf(1_000, 300_000)), [flow]);
});

test('a probe that nobody welcomes ends the measurement in time', { timeout: 240_000 }, async (context) => {
  const silent = createServer().listen(0, '127.0.0.1');
  context.after(() => silent.close());
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const start = ProbeHandle.start({ port, windowMs: 1_000, nodeId: 1 }, 2_000);
  await assert.rejects(start, /the probe waited 2000 ms for its Welcome/);
});

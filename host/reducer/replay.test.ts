import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type EdgeRow, mergeRows, sortedRows } from '../export/edge-rows.ts';
import { decodeWindow } from '../export/window-rows.ts';
import { seededRandom } from '../lib/random.ts';
import { Level } from '../wire/gen/records-layout.ts';
import type { ClosedWindow } from './closed-window.ts';
import { MESH_RING_BYTES } from './mesh-ring.ts';
import { openRecordings, type ReplayReport, replay } from './replay.ts';
import { addStageCounters } from './stage-counters.ts';
import { recordFleet } from './testing/recorded-fleet.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const FOLDER = mkdtempSync(join(tmpdir(), 'tributary-replay-'));
after(() => rmSync(FOLDER, { recursive: true }));

const ALL_LEVELS = new Set(Object.values(Level));

interface Replayed {
  report: ReplayReport;
  closed: ClosedWindow[];
}

async function run(paths: string[], workers: number, hashSeed: bigint): Promise<Replayed> {
  const closed: ClosedWindow[] = [];
  const report = await replay(await openRecordings(paths), { workers, hashSeed, isRealTime: false }, (each) =>
    closed.push(each),
  );
  return { report, closed };
}

/** Everything that the windows say, in canonical order. */
function text(closed: readonly ClosedWindow[]): string {
  return closed
    .map(({ window, outputs }) => JSON.stringify([window, sortedRows(decodeWindow(outputs, ALL_LEVELS))]))
    .join('\n');
}

function sums(closed: readonly ClosedWindow[]): EdgeRow['sums'] {
  const rows = new Map();
  for (const { outputs } of closed) mergeRows(rows, decodeWindow(outputs, new Set([Level.RoleRole])).values());
  const total: Record<string, number> = {};
  for (const row of sortedRows(rows))
    for (const [field, value] of Object.entries(row.sums)) total[field] = (total[field] ?? 0) + value;
  return total as EdgeRow['sums'];
}

/** Besides a random one, fleets whose agents are killed in two windows running: a twin and its heir both wait for the next. */
for (const fleet of [SEED, 28, 32]) {
  test(`a replay says the same with 1, 2 and 4 workers and under two hash seeds, and says the truth (fleet ${fleet})`, {
    timeout: 240_000,
  }, async () => {
    const folder = mkdtempSync(join(FOLDER, 'fleet-'));
    const { paths, truth } = await recordFleet(folder, {
      random: seededRandom(fleet),
      agents: 6,
      windows: 12,
      connectionsPerWindow: 40,
    });
    const reference = await run(paths, 1, 1n);
    const { refused } = addStageCounters(reference.report.readings.map(({ stages }) => stages));
    assert.deepEqual(refused, {});
    const { forwardBytes, reverseBytes, connections } = sums(reference.closed);
    assert.deepEqual({ forwardBytes, reverseBytes, connections }, truth);
    const expected = text(reference.closed);
    for (const [workers, seed] of [
      [1, 2n],
      [2, 1n],
      [4, 1n],
      [4, 0xffff_ffff_ffff_fff1n],
    ] as const) {
      const { closed } = await run(paths, workers, seed);
      assert.equal(closed.length, reference.closed.length);
      assert.ok(text(closed) === expected, `other text with ${workers} workers and seed ${seed}`);
    }
  });
}

test('windows that are larger than an outbox and a ring pass through them', { timeout: 240_000 }, async () => {
  const folder = join(FOLDER, 'large');
  mkdirSync(folder);
  const options = { random: seededRandom(3), agents: 3, windows: 3, connectionsPerWindow: 24_000 };
  const { paths, truth } = await recordFleet(folder, options);
  for (const workers of [2, 3]) {
    const { closed, report } = await run(paths, workers, 1n);
    const { forwardBytes, reverseBytes, connections } = sums(closed);
    assert.deepEqual({ forwardBytes, reverseBytes, connections }, truth);
    for (const { counts } of report.readings)
      assert.ok(counts.meshBytesSent > 3 * MESH_RING_BYTES, `${counts.meshBytesSent} bytes`);
  }
});

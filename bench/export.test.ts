// The benchmark in its shortest form: that every series of the window arrives by both exporters.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const RUN = join(import.meta.dirname, 'run.ts');
/** Bytes and packets of both directions, open connections, flows of which both ends are known. */
const POINTS_PER_SERIES = 6;
/** The exporter's own: windows that wait, exports that succeeded, failed and were merged, points that were refused, what merging left out. */
const OWN_POINTS = 8;
/** target_info. */
const OWN_SAMPLES = 7;

interface Way {
  points: number;
  bytes: number;
  main: { max: number };
  worker: { max: number };
}

interface Kept {
  measured: Record<string, { series: number } & Record<'nothing' | 'OTLP' | 'Prometheus', Way[]>>;
}

test('the benchmark of exports counts each point of each series at the other end', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
  try {
    const path = join(folder, 'export.json');
    await promisify(execFile)(process.execPath, [RUN, 'export', '--series', '500', '--rounds', '1', '--json', path]);
    const { measured } = JSON.parse(readFileSync(path, 'utf8')) as Kept;
    const { series, nothing, OTLP, Prometheus } = measured['500'];
    // Two connections may be of the same processes.
    assert.ok(series > 490 && series <= 500, String(series));
    assert.equal(nothing[0].points, 0);
    assert.equal(OTLP[0].points, series * POINTS_PER_SERIES + OWN_POINTS);
    assert.equal(Prometheus[0].points, series * POINTS_PER_SERIES + OWN_SAMPLES);
    for (const [{ main, worker }] of [nothing, OTLP, Prometheus]) assert.ok(main.max >= 0 && worker.max >= 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

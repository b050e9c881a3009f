// The benchmark in its shortest form: that all sides find the same, which the run itself asserts, and that a difference is seen.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { mapLookups } from './kernels/maps.ts';
import { measureSides } from './kernels/measure.ts';

const RUN = join(import.meta.dirname, 'run.ts');

interface Kept {
  measured: Record<string, Record<string, number[]>>;
}

test('the benchmark of the kernels measures each table and each hop by the product and by JavaScript', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
  try {
    const path = join(folder, 'kernels.json');
    const short = ['--size', '1000', '--batch', '1,64', '--operations', '2000', '--records', '8192'];
    await promisify(execFile)(process.execPath, [RUN, 'kernels', ...short, '--rounds', '2', '--json', path]);
    const { measured } = JSON.parse(readFileSync(path, 'utf8')) as Kept;
    const sides = Object.entries(measured).map(([name, times]) => [name, Object.keys(times).length]);
    const tables = [
      ...[
        ['lookup, 1000', 4],
        ['join, 1000', 3],
        ['histogram, 1000', 3],
        ['intern, 1000', 2],
      ],
      ...[
        ['hop, 1', 3],
        ['hop, 64', 3],
      ],
    ];
    assert.deepEqual(sides, tables);
    for (const times of Object.values(measured)) for (const list of Object.values(times)) assert.equal(list.length, 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a side that finds something else ends the run', () => {
  const [map] = mapLookups(100);
  const wrong = { name: 'wrong', run: (from: number, count: number) => map.run(from, count) + 1 };
  const options = { operations: 100, rounds: 1, warmup: 0 };
  assert.throws(() => measureSides([map, wrong], options), /the sides found different things/);
});

// The benchmark in its shortest form: that it sees what the reducer takes and counts, minute by minute.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const RUN = join(import.meta.dirname, 'run.ts');

test('a minute of the soak shows the load of the worker, its memory and every open connection', {
  timeout: 300_000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'bench-test-'));
  try {
    const path = join(directory, 'soak.json');
    const load = ['--sockets', '2000', '--agents', '4', '--churn', '10'];
    const short = ['--minutes', '1', '--warmup', '5', '--window', '1', '--lateness', '20', '--json', path];
    // That a machine is too slow to tell each window on its own is no fault of the benchmark.
    const { stdout } = await promisify(execFile)(process.execPath, [RUN, 'soak', ...load, ...short]).catch(
      (failure: { code?: number; stdout: string }) => {
        assert.match(failure.stdout, /[1-9]\d* windows were told with the one before/);
        return failure;
      },
    );
    assert.match(stdout, /fewer than three minutes cannot tell whether memory grows/);
    const { measured } = JSON.parse(readFileSync(path, 'utf8')) as {
      measured: { minutes: { busy: number; rssMib: number; active: number; late: number }[] };
    };
    assert.equal(measured.minutes.length, 1);
    const [{ busy, rssMib, active, late }] = measured.minutes;
    assert.deepEqual([active, late], [1_000, 0]);
    assert.ok(busy > 0 && busy < 1);
    assert.ok(rssMib > 50);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

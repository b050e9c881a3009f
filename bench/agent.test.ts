// The benchmark in its shortest form: that it still measures what it says, not how much.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

interface Results {
  measured: Record<string, Record<string, Record<string, number>[]>>;
  tables: Record<string, { head: string[]; rows: string[][] }>;
}

const RUN = join(import.meta.dirname, 'run.ts');

test('the benchmark of the agent measures every load without an agent and with both', () => {
  const directory = mkdtempSync(join(tmpdir(), 'bench-test-'));
  const path = join(directory, 'agent.json');
  const short = ['--rounds', '1', '--seconds', '1', '--window', '1', '--sockets', '1000', '--json', path];
  const { status, stderr, stdout } = spawnSync(process.execPath, [RUN, 'agent', ...short], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const { measured, tables } = JSON.parse(readFileSync(path, 'utf8')) as Results;
  rmSync(directory, { recursive: true });

  // Four loads on two topologies, and datagrams.
  assert.equal(Object.keys(measured).length, 9);
  for (const [what, kinds] of Object.entries(measured)) {
    assert.deepEqual(Object.keys(kinds), ['none', 'tcp', 'all'], what);
    for (const [result] of Object.values(kinds)) assert.ok(result.perSecond > 0, what);
  }
  const [, , live, telemetry] = Object.values(tables);
  assert.equal(live.rows.length, 1);
  // Each socket moves in each window, so each is told.
  assert.ok(Number.parseFloat(live.rows[0][3]) > 8, String(live.rows));
  for (const [load, , bytes, told] of telemetry.rows) assert.ok(Number(told) > 0 && Number(bytes) > Number(told), load);
  assert.match(stdout, /connection per request {2,}both ends +all/);
});

test('a benchmark that does not exist is refused with the list of those that do', () => {
  const { status, stderr } = spawnSync(process.execPath, [RUN, 'agnet'], { encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /^There is no benchmark agnet\.\n {2}agent/);
});

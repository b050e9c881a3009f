// One recording, whatever the number of workers and the seed of the hash tables: the same bytes (docs/protocol.md, section 8), and those
// are the bytes that were looked at when sample.jsonl was committed. `GOLDEN=write` makes that file anew.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const MAIN = fileURLToPath(new URL('../../host/cmd/main.ts', import.meta.url));
const GOLDEN = fileURLToPath(new URL('./sample.jsonl', import.meta.url));
const OUTPUT_BYTES_MAX = 64 << 20;

async function replaySample(workers: number, seed: string): Promise<string> {
  const args = [MAIN, 'replay', 'sample', '--json', '--level', 'all', '--workers', String(workers), '--seed', seed];
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: OUTPUT_BYTES_MAX });
  return stdout;
}

if (process.env.GOLDEN === 'write') writeFileSync(GOLDEN, await replaySample(1, '1'));
const golden = readFileSync(GOLDEN, 'utf8');

for (const workers of [1, 2, 4]) {
  for (const seed of ['1', 'fedcba9876543210']) {
    test(`the sample gives its golden bytes with ${workers} workers under seed ${seed}`, async () => {
      const output = await replaySample(workers, seed);
      assert.ok(output.split('\n').length > 100, 'windows at seven levels');
      assert.ok(
        output === golden,
        `${Buffer.byteLength(output)} bytes differ from the ${Buffer.byteLength(golden)} of sample.jsonl`,
      );
    });
  }
}

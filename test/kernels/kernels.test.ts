// The collector on other kernels than this machine's: each boots in an emulated machine, and what the collector tells there of a known
// workload is compared with the workload itself and with that kernel's own counters. Prints which backend served which hook.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { bootGuest, packGuest } from './guest.ts';
import { fetchKernel, KERNELS } from './kernel-images.ts';
import { formatTable } from './table.ts';
import type { Answer } from './workload.ts';

const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
const initialDisk = join(folder, 'initial-disk');
const answers: Answer[] = [];

before(() => packGuest(initialDisk));
after(() => {
  rmSync(folder, { recursive: true });
  if (answers.length > 0) console.log(`\n${formatTable(answers)}\n`);
});

for (const kernel of KERNELS) {
  test(`Linux ${kernel.name}: every hook that works tells what was done`, async (t) => {
    const fetched = await fetchKernel(kernel, 'amd64');
    if (fetched.skip !== undefined) return t.skip(fetched.skip);
    for (const line of await bootGuest({ image: fetched.image, initialDisk })) {
      const answer: Answer = JSON.parse(line);
      answers.push(answer);
      const name = `${answer.kernel}, ${answer.object}`;
      assert.equal(answer.error, undefined, name);
      assert.ok(answer.kernel.startsWith(`${kernel.name}.`), name);
      for (const { name: what, told, expected } of answer.counts) assert.equal(told, expected, `${name}: ${what}`);
    }
  });
}

// The collector on other kernels than this machine's: each boots in an emulated machine, and what the collector tells there of a known
// workload is compared with the workload itself and with that kernel's own counters. Prints which backend served which hook.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Answer } from './answer.ts';
import { bootGuest, packGuest } from './guest.ts';
import { fetchKernel, KERNELS } from './kernel-images.ts';
import { formatTable } from './table.ts';

const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
const initialDisk = join(folder, 'initial-disk');
const answers: Answer[] = [];

before(() => packGuest(initialDisk));
after(() => {
  rmSync(folder, { recursive: true });
  if (answers.length > 0) console.log(`\n${formatTable(answers)}\n`);
});

/**
 * What a kernel is known to lack. A hook that is missed and not named here is one that the verifier of that kernel refuses, and one that is
 * named and served has become better: either is to be looked at.
 */
const LACKING: Record<string, Record<string, string[]>> = {
  '5.10': { kprobe: ['drop', 'datagram_owners'] },
  '6.1': { btf: [], kprobe: [] },
  '6.12': { btf: [], kprobe: [] },
};

for (const kernel of KERNELS) {
  test(`Linux ${kernel.name}: what was done is told, through every hook that it has`, async (t) => {
    const fetched = await fetchKernel(kernel, 'amd64');
    if (fetched.skip !== undefined) return t.skip(fetched.skip);
    const given = (await bootGuest({ image: fetched.image, initialDisk })).map((line): Answer => JSON.parse(line));
    answers.push(...given);
    for (const answer of given) {
      const name = `${answer.kernel}, ${answer.object}`;
      assert.equal(answer.error, undefined, name);
      assert.ok(answer.kernel.startsWith(`${kernel.name}.`), name);
      const missed = answer.hooks.filter(({ attached }) => !attached);
      const reasons = missed.map(({ hook, error }) => `${hook}: ${error}`).join('\n');
      assert.deepEqual(
        missed.map(({ hook }) => hook),
        LACKING[kernel.name][answer.object],
        `${name}\n${reasons}`,
      );
      for (const { name: what, told, expected } of answer.counts) assert.equal(told, expected, `${name}: ${what}`);
      assert.ok(
        Object.values(answer.losses).every((count) => count === 0),
        name,
      );
    }
    assert.deepEqual(
      given.map(({ object }) => object),
      Object.keys(LACKING[kernel.name]),
      'the objects that load, the best first',
    );
  });
}

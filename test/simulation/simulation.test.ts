// SEEDS and SEED choose other seeds; `npm run simulate` does the same and can trace one.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { PROFILES } from './scenario.ts';
import { runSeeds } from './seed-pool.ts';

const first = Number(process.env.SEED ?? 1);
const count = Number(process.env.SEEDS ?? (process.env.CI === 'true' ? 1_000 : 200));

test(`a fleet exports what the kernels saw, whatever fate does, under ${count} seeds`, async (context) => {
  const reports = await runSeeds({ first, count, profile: undefined, threads: availableParallelism() });
  for (const { seed, profile, broken } of reports)
    if (broken.length > 0)
      context.diagnostic(`SEED=${seed} npm run simulate   # ${profile}: ${broken[0].split('\n')[0]}`);
  assert.deepEqual(
    reports.filter(({ broken }) => broken.length > 0).map(({ seed }) => seed),
    [],
  );
  const sum = (of: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((total, report) => total + of(report), 0);
  context.diagnostic(
    `${sum((r) => r.connections)} connections, ${sum((r) => r.windows)} exported windows, ${sum((r) => r.reducerKills)} reducer kills, ` +
      `${sum((r) => r.repeatedWindows)} repeated windows`,
  );
  if (count < 100) return;
  assert.equal(new Set(reports.map(({ profile }) => profile)).size, PROFILES.length);
  assert.ok(sum((r) => r.reducerKills) > 0 && sum((r) => r.repeatedWindows) > 0, 'fate did something of each kind');
});

import { test } from 'node:test';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { type Build, compileModule } from '../../testing/compile-module.ts';
import { assertSame, checkAgainstNaive, planOf, replay } from '../../testing/fleet-replay.ts';

function checkSeeds(build: Build, seeds: number): void {
  const module = compileModule('reducer/index.ts', build);
  const first = chooseSeed();
  for (let seed = first; seed < first + seeds; seed++) checkAgainstNaive(module, seed);
}

test('what is booked, counted and judged equals the naive ledger', () => checkSeeds('release', 40));

test('the debug build agrees', () => checkSeeds('debug', 5));

test('workers, seeds of the hashes and interleaving change nothing', () => {
  const module = compileModule('reducer/index.ts', 'release');
  const first = chooseSeed();
  for (let seed = first; seed < first + 10; seed++) {
    const plan = planOf(seed);
    const expected = replay(module, plan, 1, new Random(seed + 2)).lines;
    for (const workers of [1, 2, 4]) {
      const { lines } = replay(module, plan, workers, new Random(seed * 7 + workers));
      lines.forEach((window, index) => {
        assertSame(window, expected[index], `SEED=${seed}, ${workers} workers, window ${index}`);
      });
    }
  }
});

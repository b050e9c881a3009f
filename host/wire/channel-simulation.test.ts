// The promises of a channel under a seeded fate, and the proof that each rule is needed: switched off, it makes some seed fail.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RULES, type Rules } from '../lib/rules.ts';
import { ChannelWorld, type WorldReport } from './testing/channel-world.ts';

const SEED_COUNT = Number(process.env.SEEDS ?? 40);
const FIRST_SEED = Number(process.env.SEED ?? 1);
/** So many seeds may pass with a rule switched off before the test says that nobody needs it. */
const MUTANT_SEED_COUNT_MAX = 200;

test(`each frame is consumed once and in order, each window exported once, under ${SEED_COUNT} seeds`, () => {
  const total: WorldReport = {
    windowsExported: 0,
    repeatsPardoned: 0,
    framesRepeated: 0,
    resumes: 0,
    snapshots: 0,
    kills: 0,
  };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEED_COUNT; seed++) {
    try {
      const report = new ChannelWorld(seed, RULES).run();
      for (const key of Object.keys(total) as (keyof WorldReport)[]) total[key] += report[key];
    } catch (error) {
      throw new Error(`SEED=${seed} SEEDS=1`, { cause: error });
    }
  }
  console.log(total);
  assert.ok(Object.values(total).every((count) => count > 0) || SEED_COUNT < 40, 'fate did something of each kind');
});

for (const rule of Object.keys(RULES) as (keyof Rules)[]) {
  test(`without the rule ${rule} some seed fails`, (context) => {
    for (let seed = 1; seed <= MUTANT_SEED_COUNT_MAX; seed++) {
      try {
        new ChannelWorld(seed, { ...RULES, [rule]: false }).run();
      } catch (error) {
        context.diagnostic(`${rule}: seed ${seed}: ${error instanceof Error ? error.message.split('\n')[0] : error}`);
        return;
      }
    }
    assert.fail(`${MUTANT_SEED_COUNT_MAX} seeds passed`);
  });
}

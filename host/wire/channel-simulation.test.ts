// The promises of a channel under a seeded fate. test/simulation/channel-rules.ts shows that each rule is needed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChannelWorld, type WorldReport } from './testing/channel-world.ts';

const SEED_COUNT = Number(process.env.SEEDS ?? 40);
const FIRST_SEED = Number(process.env.SEED ?? 1);

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
      const report = new ChannelWorld(seed).run();
      for (const key of Object.keys(total) as (keyof WorldReport)[]) total[key] += report[key];
    } catch (error) {
      throw new Error(`SEED=${seed} SEEDS=1`, { cause: error });
    }
  }
  console.log(total);
  assert.ok(Object.values(total).every((count) => count > 0) || SEED_COUNT < 40, 'fate did something of each kind');
});

// The rules of channel-rules.ts are needed: switched off, each makes the noted seed break a promise.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChannelWorld } from '../../host/wire/testing/channel-world.ts';
import { CHANNEL_RULES } from './channel-rules.ts';
import { tryChannelRule } from './try-channel-rule.ts';

/** Seeds that are tried when the noted one passes, to say which to note. */
const SEED_COUNT = 200;

for (const { section, rule, seed, edits } of CHANNEL_RULES) {
  test(`section ${section}: without the rule that ${rule} a seed fails`, async (context) => {
    const noted = await tryChannelRule({ edits, seeds: [seed] });
    context.diagnostic(`${section} ${rule}: seed ${seed}: ${noted?.broken ?? 'passes'}`);
    if (noted !== undefined) return;
    const other = await tryChannelRule({ edits, seeds: Array.from({ length: SEED_COUNT }, (_, index) => index + 1) });
    assert.fail(`seed ${seed} passes; ${other === undefined ? `so do ${SEED_COUNT} others` : `${other.seed} fails`}`);
  });
}

test('the noted seeds pass with all rules', () => {
  for (const seed of new Set(CHANNEL_RULES.map((rule) => rule.seed))) new ChannelWorld(seed).run();
});

// Finds, for every rule that has none or whose seed passes by now, a seed that fails with the rule switched off, and notes it in
// rule-seeds.json. RULE=text limits it to rules whose name contains the text; SEEDS is how many seeds of each profile are tried.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROTOCOL_RULES, type Rule } from './rules.ts';
import { PROFILES } from './scenario.ts';
import { tryRule } from './try-rule.ts';

const TABLE = join(import.meta.dirname, 'rule-seeds.json');
const TIMEOUT_MS = 120_000;
const seedCount = Number(process.env.SEEDS ?? 40);
const table: Record<string, { profile: (typeof PROFILES)[number]; seed: number }> = JSON.parse(
  readFileSync(TABLE, 'utf8'),
);
const chosen = PROTOCOL_RULES.filter(({ rule }) => rule.includes(process.env.RULE ?? ''));
const waiting = [...chosen];
await Promise.all(
  [0, 1].map(async () => {
    for (let rule = waiting.shift(); rule !== undefined; rule = waiting.shift()) await find(rule);
  }),
);
const sorted = Object.fromEntries(
  PROTOCOL_RULES.flatMap(({ rule }) => (table[rule] === undefined ? [] : [[rule, table[rule]]])),
);
writeFileSync(TABLE, `${JSON.stringify(sorted, undefined, 2)}\n`);

async function find(rule: Rule): Promise<void> {
  const known = table[rule.rule];
  const seeds = Array.from({ length: seedCount }, (_, index) => index + 1).flatMap((seed) =>
    PROFILES.map((profile) => ({ profile, seed })),
  );
  try {
    const verdict = await tryRule({ rule, seeds: known === undefined ? seeds : [known, ...seeds] }, TIMEOUT_MS);
    if (verdict === undefined) {
      delete table[rule.rule];
      console.log(`${rule.section} ${rule.rule}: NO SEED of ${seeds.length} fails`);
      return;
    }
    table[rule.rule] = { profile: verdict.profile, seed: verdict.seed };
    console.log(`${rule.section} ${rule.rule}: ${verdict.profile} ${verdict.seed}: ${verdict.broken}`);
  } catch (error) {
    console.log(`${rule.section} ${rule.rule}: ${error instanceof Error ? error.message : error}`);
  }
}

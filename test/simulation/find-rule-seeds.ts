// Finds, for every rule that has none or whose seed passes by now, a seed that fails with the rule switched off, and notes it in
// rule-seeds.json. RULE=text limits it to rules whose name contains the text, MISSING=1 to those
// without a seed; SEEDS is how many seeds of each profile are tried, PROFILE
// limits them to one.
import { loadModules } from './modules.ts';
import { readRuleSeeds, writeRuleSeeds } from './rule-seeds.ts';
import type { RuleTrial, RuleVerdict } from './rule-thread.ts';
import { PROTOCOL_RULES, type Rule } from './rules.ts';
import { runSeed } from './run-seed.ts';
import { PROFILES } from './scenario.ts';
import { tryRule } from './try-rule.ts';

const modules = loadModules();
const TIMEOUT_MS = 120_000;
const seedCount = Number(process.env.SEEDS ?? 40);
const profiles = PROFILES.filter((profile) => profile.includes(process.env.PROFILE ?? ''));
const table = readRuleSeeds();
const waiting = PROTOCOL_RULES.filter(
  ({ rule }) =>
    rule.includes(process.env.RULE ?? '') && (process.env.MISSING === undefined || table[rule] === undefined),
);
const work = async (): Promise<void> => {
  for (let rule = waiting.shift(); rule !== undefined; rule = waiting.shift()) await find(rule);
};
await Promise.all([work(), work()]);
writeRuleSeeds(table);

async function find(rule: Rule): Promise<void> {
  const known = table[rule.rule];
  const seeds = Array.from({ length: seedCount }, (_, index) => index + 1).flatMap((seed) =>
    profiles.map((profile) => ({ profile, seed })),
  );
  try {
    const verdict = await firstFailure(rule, known === undefined ? seeds : [known, ...seeds]);
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

/** Of a seed that passes with all rules. */
async function firstFailure(rule: Rule, seeds: RuleTrial['seeds']): Promise<RuleVerdict> {
  let left = seeds;
  for (;;) {
    const verdict = left.length === 0 ? undefined : await tryRule({ rule, seeds: left }, TIMEOUT_MS);
    if (verdict === undefined || runSeed({ ...verdict, modules }).broken.length === 0) return verdict;
    left = left.slice(left.findIndex(({ profile, seed }) => profile === verdict.profile && seed === verdict.seed) + 1);
  }
}

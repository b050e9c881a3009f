// Each rule is needed: switched off, it makes the noted seed fail. find-rule-seeds.ts finds seeds for what has changed.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { loadModules } from './modules.ts';
import { readRuleSeeds } from './rule-seeds.ts';
import type { RuleVerdict } from './rule-thread.ts';
import { PROTOCOL_RULES } from './rules.ts';
import { runSeed } from './run-seed.ts';
import { tryRule } from './try-rule.ts';

const TIMEOUT_MS = 60_000;

test('each rule of the protocol that is switched off makes a seed fail', async (context) => {
  const table = readRuleSeeds();
  const verdicts = new Map<string, RuleVerdict>();
  const waiting = PROTOCOL_RULES.filter(({ rule }) => table[rule] !== undefined);
  const work = async (): Promise<void> => {
    for (let rule = waiting.shift(); rule !== undefined; rule = waiting.shift())
      verdicts.set(rule.rule, await tryRule({ rule, seeds: [table[rule.rule]] }, TIMEOUT_MS));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  for (const { section, rule } of PROTOCOL_RULES) {
    const verdict = verdicts.get(rule);
    context.diagnostic(
      `${section} ${rule}: ${verdict === undefined ? 'no seed' : `${verdict.profile} ${verdict.seed}: ${verdict.broken}`}`,
    );
  }
  const unneeded = PROTOCOL_RULES.filter(({ rule }) => verdicts.get(rule) === undefined).map(({ rule }) => rule);
  assert.deepEqual(unneeded, [], 'no seed fails without these');
});

test('the noted seeds pass with all rules', () => {
  const modules = loadModules();
  for (const [rule, { profile, seed }] of Object.entries(readRuleSeeds()))
    assert.deepEqual(runSeed({ seed, profile, modules }).broken, [], `${rule}: SEED=${seed} PROFILE=${profile}`);
});

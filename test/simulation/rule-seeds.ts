// The committed table: for each rule a profile and a seed that fails without it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROTOCOL_RULES } from './rules.ts';
import type { Profile } from './scenario.ts';

export type RuleSeeds = Record<string, { profile: Profile; seed: number }>;

const PATH = join(import.meta.dirname, 'rule-seeds.json');

export function readRuleSeeds(): RuleSeeds {
  return JSON.parse(readFileSync(PATH, 'utf8'));
}

/** In the order of the rules; what is no rule any more is dropped. */
export function writeRuleSeeds(table: RuleSeeds): void {
  const known = PROTOCOL_RULES.filter(({ rule }) => table[rule] !== undefined);
  const sorted = Object.fromEntries(known.map(({ rule }) => [rule, table[rule]]));
  writeFileSync(PATH, `${JSON.stringify(sorted, undefined, 2)}\n`);
}

// Writes docs/protocol-rules.md: `node test/simulation/rule-table.ts`.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHANNEL_RULES } from './channel-rules.ts';
import { CLAIM_RULES, MATCH_RULES, SPACE_RULES } from './match-rules.ts';
import { readRuleSeeds } from './rule-seeds.ts';
import { type Edit, PROTOCOL_RULES } from './rules.ts';

const PATH = join(import.meta.dirname, '../../docs/protocol-rules.md');

const HEAD = `# Rules of the protocol that were switched off

Written by test/simulation/rule-table.ts, do not edit. Each rule of [protocol.md](protocol.md) is switched off by an edit of the files in the third column, and what
the last column names then fails. CI repeats all of it.

- *profile seed*: a simulated fleet, [rules.ts](../test/simulation/rules.ts). \`SEED=1 PROFILE=calm npm run simulate\` runs the same seed with all rules.
- *ledger seed*: a random plan beside the naive ledger, [match-rules.ts](../test/simulation/match-rules.ts).
- *channel seed*: agents, links and one reducer without stages, [channel-rules.ts](../test/simulation/channel-rules.ts).
- *story*: a few frames, [match-rules.test.ts](../test/simulation/match-rules.test.ts).

| section | rule | switched off in | fails |
|---|---|---|---|
`;

interface Row {
  section: number;
  rule: string;
  edits: readonly Edit[];
  fails: string;
}

export function printRuleTable(): string {
  const seeds = readRuleSeeds();
  const rows: Row[] = [
    ...PROTOCOL_RULES.map(({ rule, ...rest }) => ({
      ...rest,
      rule,
      fails: seeds[rule] === undefined ? 'nothing yet' : `${seeds[rule].profile} ${seeds[rule].seed}`,
    })),
    ...MATCH_RULES.map(({ edit, seed, ...rest }) => ({ ...rest, edits: [edit], fails: `ledger ${seed}` })),
    ...CHANNEL_RULES.map(({ seed, ...rest }) => ({ ...rest, fails: `channel ${seed}` })),
    ...[...CLAIM_RULES, ...SPACE_RULES].map(({ edit, ...rest }) => ({ ...rest, edits: [edit], fails: 'story' })),
  ];
  const lines = rows
    .sort((a, b) => a.section - b.section)
    .map(({ section, rule, edits, fails }) => {
      const files = [...new Set(edits.map(({ file }) => file.replace(/^.*\/(?=[^/]+\/)/, '')))];
      return `| ${section} | ${rule} | ${files.join(', ')} | ${fails} |`;
    });
  return `${HEAD}${lines.join('\n')}\n`;
}

export const readRuleTable = (): string => readFileSync(PATH, 'utf8');

if (import.meta.main) writeFileSync(PATH, printRuleTable());

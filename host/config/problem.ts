import { distance } from 'fastest-levenshtein';
import { UsageError } from '../lib/usage-error.ts';

/** One thing that is wrong. */
export interface Problem {
  /** What the user would look for: `--window`, `TRIBUTARY_API_ADDRESS`, `/etc/tributary.yaml:3:5: agent.window`. */
  where: string;
  /** Where in its file, in characters; 0 outside of files. */
  offset?: number;
  /** A sentence about the value that says what is allowed. */
  what: string;
}

/** Everything that is wrong with a configuration, so that it can be put right in one go. */
export class ConfigurationError extends UsageError {
  readonly problems: readonly Problem[];

  /** `problems`: at least one. */
  constructor(problems: readonly Problem[]) {
    const lines = problems.map(({ where, what }) => `${where}: ${what}`);
    super('TRB_CONFIG', lines.length === 1 ? lines[0] : `${lines.length} problems:\n  ${lines.join('\n  ')}\n `);
    this.problems = problems;
  }
}

/** `; did you mean …?` for the nearest of the known words, if it is near enough to be a slip. */
export function suggest(word: string, known: readonly string[]): string {
  const nearest = known
    .map((candidate) => ({ candidate, steps: distance(word, candidate) }))
    .reduce((best, next) => (next.steps < best.steps ? next : best));
  const isSlip = nearest.steps < word.length && nearest.steps <= Math.max(2, word.length / 3);
  return isSlip ? `; did you mean ${nearest.candidate}?` : '';
}

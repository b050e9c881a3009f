// What is typed behind `/`: words that have to hold together. `port:443` asks one field, `failed` is a word of its own, anything else is
// looked for in all names, addresses, ports and protocols.
import { type EdgeTest, hasFailed, ID_FIELDS, keepsIds, TERM_FIELDS, TERMS, TermError } from '../api/edge-terms.ts';
import type { LevelName } from '../export/levels.ts';

export interface TypedFilter {
  test: EdgeTest;
  /** What is wrong with a word; it then filters nothing. */
  problem?: string;
}

/** Unfinished words, such as `port:`, filter nothing yet. */
export function readFilter(text: string, level: LevelName): TypedFilter {
  const tests: EdgeTest[] = [];
  let problem: string | undefined;
  for (const word of text.split(/\s+/).filter((each) => each !== '')) {
    try {
      tests.push(readWord(word, level));
    } catch (error) {
      if (!(error instanceof TermError)) throw error;
      problem = error.message;
    }
  }
  return { test: (edge) => tests.every((test) => test(edge)), problem };
}

function readWord(word: string, level: LevelName): EdgeTest {
  if (word === 'failed') return hasFailed;
  const field = TERM_FIELDS.find((name) => word.startsWith(`${name}:`));
  if (field === undefined) return TERMS.match(word);
  const text = word.slice(field.length + 1);
  if (text === '') return () => true;
  if (ID_FIELDS.some((name) => name === field) && !keepsIds(level))
    throw new TermError(`${field} is not kept at ${level}: l chooses another level`);
  return TERMS[field](text);
}

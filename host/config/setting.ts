import type { NamedOption } from './option.ts';
import type { Problem } from './problem.ts';

export type Source = 'default' | 'file' | 'environment' | 'flag';

/** A value that somebody gave to an option. */
export interface Setting {
  named: NamedOption;
  /** As the file would have it. */
  given: unknown;
  source: Source;
  /** `--window`, `TRIBUTARY_AGENT_WINDOW`, `/etc/tributary.yaml:3:5`. */
  where: string;
  /** Where in its file, in characters. */
  offset?: number;
}

/** What one source says. */
export interface Given {
  settings: readonly Setting[];
  problems: readonly Problem[];
}

/** How a problem with the value begins: with the key, unless the place is called after it. */
export function placeOf({ where, source, named }: Setting): string {
  return source === 'file' ? `${where}: ${named.key}` : where;
}

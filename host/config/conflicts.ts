import { OPTIONS } from './definition.ts';
import type { Loaded } from './load.ts';
import type { NamedOption } from './option.ts';
import { ConfigurationError, type Problem } from './problem.ts';
import { placeOf, type Setting } from './setting.ts';

/** Throws ConfigurationError for each of `keys` that was asked for beside the option that takes its effect away. */
export function refuseWith(loaded: Loaded, other: string, keys: readonly string[]): void {
  refuse(loaded, keys, (setting) => `has no effect with ${nameBeside(other, setting)}: leave one of them out`);
}

/** Throws ConfigurationError for each of `keys` that was asked for without the option that gives it its effect. */
export function refuseWithout(loaded: Loaded, other: string, keys: readonly string[]): void {
  refuse(loaded, keys, (setting) => `has no effect without ${nameBeside(other, setting)}: add that, or leave this out`);
}

/** Throws ConfigurationError for each of `keys` that was asked for; `why` completes "has no effect …" and says what would work. */
export function refuseWhere(loaded: Loaded, keys: readonly string[], why: string): void {
  refuse(loaded, keys, () => `has no effect ${why}`);
}

function refuse({ settings }: Loaded, keys: readonly string[], what: (setting: Setting) => string): void {
  const problems: Problem[] = settings
    .filter((setting) => keys.includes(setting.named.key) && isAskedOfRole(setting))
    .map((setting) => ({ where: placeOf(setting), what: what(setting) }));
  if (problems.length > 0) throw new ConfigurationError(problems);
}

/** What stands in a shared section of the file, or in a variable for it, may be there for another role. A false switch asks for nothing. */
function isAskedOfRole({ source, named, given }: Setting): boolean {
  if (source === 'default' || given === false) return false;
  return source === 'flag' || isOfOneRole(named);
}

function isOfOneRole({ path, roles }: NamedOption): boolean {
  return roles.length === 1 && roles[0] === path[0];
}

/** Another option in the words of the source that named this one. */
function nameBeside(key: string, { source }: Setting): string {
  const named = OPTIONS.find((each) => each.key === key);
  if (named === undefined) throw new Error(`no option ${key}`);
  if (source === 'flag') return `--${named.flag}`;
  return source === 'environment' ? named.variable : key;
}

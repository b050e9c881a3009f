// Flags of a role for commander, grouped as the file is, with their defaults and variables.
import { type Command, Option as Flag } from 'commander';
import { OPTIONS } from './definition.ts';
import { FILE_VARIABLE } from './environment.ts';
import type { NamedOption, RoleName } from './option.ts';
import type { Setting } from './setting.ts';

/** Read when it exists and no other is named. */
export const DEFAULT_FILE = '/etc/tributary/tributary.yaml';
export const FILE_FLAG = '--config <FILE>';
export const FILE_FLAG_DESCRIPTION = `configuration file (default: ${DEFAULT_FILE}, if there) [${FILE_VARIABLE}]`;

const LAST_GROUP = 'Other:';
const GROUPS: Readonly<Record<string, string>> = {
  tls: 'TLS:',
  api: 'API:',
  prometheus: 'Prometheus:',
  log: 'Log:',
  insecure: 'TLS:',
};

export function optionsOf(role: RoleName): NamedOption[] {
  // Its own options come first.
  return OPTIONS.filter(({ roles }) => roles.includes(role)).sort(
    (a, b) => Number(b.path[0] === role) - Number(a.path[0] === role),
  );
}

export function addFlags(command: Command, role: RoleName): void {
  for (const named of optionsOf(role)) {
    const group = GROUPS[named.path[0]] ?? `Options of ${role}:`;
    command.addOption(flagOf(named).helpGroup(group));
    // So that a flag can take back what the file or a variable says.
    if (named.option.kind.metavar === undefined) command.addOption(new Flag(`--no-${named.flag}`).hideHelp());
  }
  command.addOption(new Flag(FILE_FLAG, FILE_FLAG_DESCRIPTION).helpGroup(LAST_GROUP));
  command.addHelpOption(new Flag('-h, --help', 'this text').helpGroup(LAST_GROUP));
}

/** What the command line says, of the options that it can say. */
export function readFlags(command: Command, role: RoleName): Setting[] {
  const given = command.opts<Record<string, unknown>>();
  return optionsOf(role).flatMap((named) => {
    const { kind } = named.option;
    const text = given[flagOf(named).attributeName()];
    if (text === undefined) return [];
    const value = kind.isList
      ? (text as string[]).flatMap(kind.fromText as (text: string) => unknown[])
      : fromFlag(named, text);
    return [{ named, given: value, source: 'flag' as const, where: `--${named.flag}` }];
  });
}

function fromFlag({ option }: NamedOption, text: unknown): unknown {
  return typeof text === 'string' ? option.kind.fromText(text) : text;
}

function flagOf({ flag, option: { kind, description, default: value, otherwise }, variable }: NamedOption): Flag {
  const choices = kind.choices === undefined ? '' : `: ${kind.choices.join(', ')}`;
  const text = `${description}${choices}${kind.isList ? '; may be repeated' : ''}${defaultText(value, otherwise)} [${variable}]`;
  if (kind.metavar === undefined) return new Flag(`--${flag}`, text);
  const one = new Flag(`--${flag} <${kind.metavar}>`, text);
  return kind.isList ? one.argParser((item: string, before: string[] = []) => [...before, item]) : one;
}

function defaultText(value: unknown, otherwise: string | undefined): string {
  if (otherwise !== undefined) return ` (default: ${otherwise})`;
  const isPlain = value === undefined || value === false || value === '';
  return isPlain ? '' : ` (default: ${Array.isArray(value) ? value.join(', ') : String(value)})`;
}

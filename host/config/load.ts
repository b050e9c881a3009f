/**
 * The configuration of a role: flag, else variable, else file, else default. What is given is checked wherever it stands, also where another
 * source overrides it or another role reads it: a mistake in a file that several hosts share is found by the first of them.
 */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { type Configuration, OPTIONS } from './definition.ts';
import { FILE_VARIABLE, readEnvironment } from './environment.ts';
import { addFlags, DEFAULT_FILE, readFlags } from './flags.ts';
import type { RoleName } from './option.ts';
import { ConfigurationError, type Problem } from './problem.ts';
import { type Given, placeOf, type Setting } from './setting.ts';
import { readConfigurationFile } from './yaml-file.ts';

export interface Loaded {
  values: Configuration;
  /** One for each option that has a value, in the order of the definition. */
  settings: readonly Setting[];
}

/** Throws ConfigurationError with everything that is wrong. Reads the file and the environment anew each time. */
export type Load = () => Loaded;

/** `load`, with what `check` finds wrong: it throws UsageError when options do not go together. */
export function checked(load: Load, check: (loaded: Loaded) => void): Load {
  return () => {
    const loaded = load();
    check(loaded);
    return loaded;
  };
}

const NOTHING: Given = { settings: [], problems: [] };

/** Gives a command the flags of a role. What comes back is to be called once the command line is parsed. */
export function addConfiguration(command: Command, role: RoleName): Load {
  addFlags(command, role);
  return () => {
    const { config } = command.opts<{ config?: string }>();
    return loadConfiguration(process.env, { config, flags: readFlags(command, role) });
  };
}

export interface CommandLine {
  /** File that it names. */
  config?: string;
  flags: readonly Setting[];
}

export function loadConfiguration(environment: NodeJS.ProcessEnv, { config, flags }: CommandLine): Loaded {
  const sources: Given[] = [
    { settings: defaults(), problems: [] },
    readFile(environment, config),
    readEnvironment(environment),
    { settings: flags, problems: [] },
  ];
  const problems = sources.flatMap(checkSource);
  if (problems.length > 0) throw new ConfigurationError(problems);
  const settings = new Map(sources.flatMap((source) => source.settings).map((setting) => [setting.named.key, setting]));
  const values = new Map([...settings].map(([key, { named, given }]) => [key, named.option.kind.schema.parse(given)]));
  const inOrder = OPTIONS.flatMap(({ key }) => settings.get(key) ?? []);
  return { values: asTree(values), settings: inOrder };
}

/** What is wrong in one source, in the order in which it stands there. */
function checkSource({ settings, problems }: Given): Problem[] {
  const wrong = settings.flatMap((setting) => {
    const { error } = setting.named.option.kind.schema.safeParse(setting.given);
    const issues = error?.issues ?? [];
    return issues.map(({ message }) => ({ where: placeOf(setting), what: message, offset: setting.offset }));
  });
  return [...problems, ...wrong].sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0));
}

function readFile(environment: NodeJS.ProcessEnv, config: string | undefined): Given {
  const variable = environment[FILE_VARIABLE];
  if (config !== undefined) return readConfigurationFile(config, '--config');
  if (variable !== undefined && variable !== '') return readConfigurationFile(variable, FILE_VARIABLE);
  return existsSync(DEFAULT_FILE) ? readConfigurationFile(DEFAULT_FILE, 'configuration file') : NOTHING;
}

function defaults(): Setting[] {
  return OPTIONS.filter(({ option }) => option.default !== undefined).map((named) => ({
    ...{ named, given: named.option.default, source: 'default' as const, where: 'default' },
  }));
}

/** The definition's tree with values in place of options. */
function asTree(values: ReadonlyMap<string, unknown>): Configuration {
  const tree: Record<string, unknown> = {};
  for (const { path, key } of OPTIONS) {
    const [first, second] = path;
    if (second === undefined) tree[first] = values.get(key);
    else tree[first] = { ...(tree[first] as Record<string, unknown> | undefined), [second]: values.get(key) };
  }
  return tree as Configuration;
}

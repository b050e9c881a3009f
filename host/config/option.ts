// An option of the program: one declaration from which its key in the file, its variable and its flag follow.
import type { Kind } from './kinds.ts';

/** Roles that read the configuration. A section of the file has the name of its role. */
export const ROLE_NAMES = ['agent', 'reducer', 'up', 'edges', 'replay'] as const;
export type RoleName = (typeof ROLE_NAMES)[number];

interface OptionFields<Value> {
  kind: Kind<Value>;
  /** Completes "the option is …": no capital, no full stop. */
  description: string;
  /** In place of the flag that follows from the key, without dashes. */
  flag?: string;
  /** Of an option outside the sections of roles: whose flags it is among. */
  roles?: readonly RoleName[];
  /** What a role does without a value, when that is not one value. */
  otherwise?: string;
}

/** `Value` is what roles read. */
export interface Option<Value> extends OptionFields<NonNullable<Value>> {
  /** As the file would have it. */
  default: unknown;
  /** Never set: carries the type. */
  value?: Value;
}

export function option<Value>(fields: OptionFields<Value> & { default: unknown }): Option<Value>;
export function option<Value>(fields: OptionFields<Value>): Option<Value | undefined>;
export function option(fields: OptionFields<unknown> & { default?: unknown }): Option<unknown> {
  return { default: undefined, ...fields } as Option<unknown>;
}

export type Section = Readonly<Record<string, Option<unknown>>>;
export type Tree = Readonly<Record<string, Option<unknown> | Section>>;

export type ValuesOf<T> = {
  readonly [Name in keyof T]: T[Name] extends Option<infer Value> ? Value : ValuesOf<T[Name]>;
};

/** An option with everything that follows from its place. */
export interface NamedOption {
  option: Option<unknown>;
  /** `tls.server-name`: as in the file and in messages. */
  key: string;
  /** `['tls', 'serverName']`: where roles read it. */
  path: readonly string[];
  /** `TRIBUTARY_TLS_SERVER_NAME` */
  variable: string;
  /** `tls-server-name` */
  flag: string;
  /** Whose flags it is among. */
  roles: readonly RoleName[];
}

export const VARIABLE_PREFIX = 'TRIBUTARY_';

/** The role is on the command line already, so the flags of its own section do not repeat it. */
export function nameOptions(tree: Tree): NamedOption[] {
  return Object.entries(tree).flatMap(([name, node]) => {
    if (isOption(node)) return [nameOption([name], node)];
    return Object.entries(node).map(([inner, leaf]) => nameOption([name, inner], leaf));
  });
}

export function isOption(node: Option<unknown> | Section): node is Option<unknown> {
  return 'kind' in node && 'description' in node;
}

/** `serverName` in code is `server-name` in the file. */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function nameOption(path: readonly string[], leaf: Option<unknown>): NamedOption {
  const words = path.map(kebabCase);
  const role = ROLE_NAMES.find((name) => name === path[0]);
  return {
    ...{ option: leaf, path, key: words.join('.') },
    variable: VARIABLE_PREFIX + words.join('_').replaceAll('-', '_').toUpperCase(),
    flag: leaf.flag ?? (role === undefined ? words : words.slice(1)).join('-'),
    roles: role === undefined ? (leaf.roles ?? []) : [role],
  };
}

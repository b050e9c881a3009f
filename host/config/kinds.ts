// What an option may be. A kind checks a value as YAML writes it, and turns the text of a flag or a variable into such a value; so the
// sources differ in their syntax and share one check. Messages are whole sentences about the value and say what is allowed.
import { z } from 'zod';
import type { ScopeKind, ScopeSetting } from '../agent/scope.ts';
import { LEVEL_NAMES, type LevelName, parseLevel } from '../export/levels.ts';
import { parseDuration } from '../lib/duration.ts';
import { UsageError } from '../lib/usage-error.ts';
import { type ListenAddress, parseListenAddress } from '../wire/transport/address.ts';
import { show } from './show.ts';

export interface Kind<Value> {
  /** Input: as in the file. Output: what roles read. */
  schema: z.ZodType<Value>;
  /** Stands for the value in help texts; none for a boolean, whose flag takes no value. */
  metavar?: string;
  /** Completes "is not …". */
  allowed: string;
  /** All that it may be, when that is a list of words. */
  choices?: readonly string[];
  /** A flag may be repeated, a variable has commas. */
  isList: boolean;
  /** Text as the value that the file would have; what is not of the kind stays text, and the schema refuses it. */
  fromText: (text: string) => unknown;
}

function refuse(allowed: string): { error: (issue: { input?: unknown }) => string } {
  return { error: ({ input }) => `${show(input)} is not ${allowed}` };
}

/** YAML takes 10 for a number and true for a boolean. */
function refuseNonText(allowed: string): { error: (issue: { input?: unknown }) => string } {
  return {
    error: ({ input }) =>
      `${show(input)} is not ${allowed}${typeof input === 'object' ? '' : `; text such as "${input}" needs its quotes`}`,
  };
}

/** Text that `parse` understands; it answers undefined, or throws UsageError with a sentence of its own. */
function parsed<Value>(
  metavar: string,
  allowed: string,
  parse: (text: string) => Value | undefined,
  jsonSchema: Readonly<Record<string, unknown>> = {},
): Kind<Value> {
  const schema = z
    .string(refuseNonText(allowed))
    .meta(jsonSchema)
    .transform((text, context): Value => {
      try {
        const value = parse(text);
        if (value !== undefined) return value;
        context.addIssue(`${show(text)} is not ${allowed}`);
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        context.addIssue(error.message);
      }
      return z.NEVER;
    });
  return { schema, metavar, allowed, isList: false, fromText: (text) => text };
}

/** Nanoseconds. `min` and `max` as the user would write them. */
export function duration(min: string, max: string): Kind<bigint> {
  const minNs = parseDuration(min);
  const maxNs = parseDuration(max);
  if (minNs === undefined || maxNs === undefined) throw new RangeError(`${min} or ${max} is not a duration`);
  return parsed(
    'DURATION',
    `a duration from ${min} to ${max}, such as 10s`,
    (text) => {
      const ns = parseDuration(text);
      return ns !== undefined && ns >= minNs && ns <= maxNs ? ns : undefined;
    },
    { pattern: '^[1-9][0-9]{0,8}(ms|s|m)$' },
  );
}

export function address(): Kind<ListenAddress> {
  return parsed('ADDRESS', 'an address: HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH', parseListenAddress);
}

export function tcpAddress(): Kind<Extract<ListenAddress, { port: number }>> {
  return parsed('HOST:PORT', 'an address of TCP: HOST:PORT, [IPV6]:PORT or :PORT', (text) => {
    const given = parseListenAddress(text);
    return 'port' in given ? given : undefined;
  });
}

/** A level of the tree, or one of `words`. */
export function level<const Word extends string = never>(words: readonly Word[] = []): Kind<LevelName | Word> {
  const names = [...Object.keys(LEVEL_NAMES), ...words];
  const spellings = names.flatMap((one) => [...new Set([one, one.replace('_', '-')])]);
  return {
    ...parsed(
      'LEVEL',
      `one of ${names.join(', ')}`,
      (text) => parseLevel(text) ?? words.find((word) => word === text),
      { enum: spellings },
    ),
    choices: names,
  };
}

export function oneOf<const Name extends string>(metavar: string, names: readonly Name[]): Kind<Name> {
  const kind = parsed(metavar, `one of ${names.join(', ')}`, (text) => names.find((name) => name === text), {
    enum: names,
  });
  return { ...kind, choices: names };
}

/** A file or folder. Whether it is there and may be read is found out by whoever opens it. */
export function path(metavar = 'FILE'): Kind<string> {
  return parsed(metavar, 'a path', (text) => (text === '' || text.includes('\0') ? undefined : text), { minLength: 1 });
}

/** `file:PATH`, `netns=PATH`: the path. */
export function prefixedPath(prefix: string): Kind<string> {
  return parsed(
    `${prefix}PATH`,
    `${prefix}PATH`,
    (text) => (text.startsWith(prefix) && text.length > prefix.length ? text.slice(prefix.length) : undefined),
    { pattern: `^${prefix}.` },
  );
}

/** A part of a host: a network namespace or a control group. */
export function scope(): Kind<ScopeSetting> {
  return parsed(
    'netns=PATH|cgroup=PATH',
    'netns=PATH or cgroup=PATH',
    (text) => {
      const [, kind, path] = /^(netns|cgroup)=(.+)$/s.exec(text) ?? [];
      return kind === undefined ? undefined : { kind: kind as ScopeKind, path };
    },
    { pattern: '^(netns|cgroup)=.' },
  );
}

export function name(lengthMin: 0 | 1, lengthMax: number): Kind<string> {
  return parsed(
    'NAME',
    `a name of ${lengthMin} to ${lengthMax} characters`,
    (text) => (text.length >= lengthMin && text.length <= lengthMax && !/\p{Cc}/u.test(text) ? text : undefined),
    { minLength: lengthMin, maxLength: lengthMax },
  );
}

/** 1 to 16 hexadecimal digits. */
export function hexadecimal(): Kind<bigint> {
  return parsed('HEX', '1 to 16 hexadecimal digits', (text) =>
    /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined,
  );
}

export function wholeNumber(min: number, max: number): Kind<number> {
  const allowed = `a whole number from ${min} to ${max}`;
  return {
    schema: z.int(refuse(allowed)).min(min, refuse(allowed)).max(max, refuse(allowed)),
    metavar: 'N',
    allowed,
    isList: false,
    fromText: (text) => (/^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : text),
  };
}

export function boolean(): Kind<boolean> {
  const allowed = 'true or false';
  const words: Readonly<Record<string, boolean>> = { true: true, false: false };
  return { schema: z.boolean(refuse(allowed)), allowed, isList: false, fromText: (text) => words[text] ?? text };
}

/** At least one of another kind. */
export function listOf<Value>(item: Kind<Value>): Kind<Value[]> {
  const allowed = `a list such as [A, B], each entry ${item.allowed}`;
  return {
    schema: z.array(item.schema, refuse(allowed)).min(1, refuse(allowed)),
    metavar: item.metavar,
    choices: item.choices,
    allowed,
    isList: true,
    fromText: (text) => text.split(',').map((part) => item.fromText(part.trim())),
  };
}

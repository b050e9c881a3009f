import { inspect } from 'node:util';

const SHOWN_LENGTH_MAX = 80;

/** What a message shows of a value. */
export function show(value: unknown): string {
  // JSON has no form for what holds itself, which YAML's anchors allow.
  const text = typeof value === 'object' ? inspect(value, { breakLength: Infinity }) : JSON.stringify(value);
  return text.length <= SHOWN_LENGTH_MAX ? text : `${text.slice(0, SHOWN_LENGTH_MAX)}…`;
}

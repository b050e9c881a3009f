/**
 * The reference model: which rows of a level are told when there are more than its budget (docs/protocol.md, section 7, series budget).
 */
import { NOTHING, type Node } from './reference-names.ts';
import { addTo, type Row, rowAt } from './reference-rows.ts';

const LEVELS = 7;
const FAILURES = [
  ...['refused', 'timedOut', 'abandoned', 'unreachable', 'failedOther', 'resetsClient', 'resetsServer'],
  ...['forwardRetransmits', 'reverseRetransmits'],
];
const SCORE_MAX = 2n ** 44n - 2n;

export class ReferenceBudget {
  readonly #budget: number;
  /** By the head of a row: the window since which every window had it. */
  #since = new Map<string, number>();

  constructor(budget: number) {
    this.#budget = budget;
  }

  bound(window: number, rows: readonly Row[]): Row[] {
    this.#since = new Map(rows.map(({ head }) => [head, this.#since.get(head) ?? window]));
    const bounded = rows.filter(({ level }) => level >= LEVELS);
    for (let level = 0; level < LEVELS; level++)
      bounded.push(...this.#boundLevel(rows.filter((row) => row.level === level)));
    return bounded;
  }

  #boundLevel(rows: readonly Row[]): Row[] {
    if (rows.length <= this.#budget) return [...rows];
    const quarter = Math.floor(this.#budget / 4);
    const left = new Set(rows);
    const sum = ({ sums }: Row, names: readonly string[]): bigint =>
      names.reduce((total, name) => total + (sums.get(name) ?? 0n), 0n);
    take(left, quarter, (row) => sum(row, FAILURES));
    take(left, quarter, ({ head }) => BigInt(this.#since.get(head) ?? 0));
    const taken = rows.length - left.size;
    take(left, this.#budget - taken, (row) => sum(row, ['forwardBytes', 'reverseBytes']) + 1n);
    const told = new Map(rows.filter((row) => !left.has(row)).map((row) => [row.head, row]));
    for (const row of left) addToOther(told, row);
    return [...told.values()];
  }
}

/** Takes at most so many of the greatest scores out of `left`. */
function take(left: Set<Row>, places: number, scoreOf: (row: Row) => bigint): void {
  const alike = new Map<bigint, Row[]>();
  for (const row of left) {
    const score = scoreOf(row);
    if (score === 0n) continue;
    const key = ((score > SCORE_MAX ? SCORE_MAX : score) << 20n) + BigInt(hashOf(row));
    alike.set(key, [...(alike.get(key) ?? []), row]);
  }
  let free = places;
  for (const [, group] of [...alike].sort(([a], [b]) => (a > b ? -1 : 1))) {
    free -= group.length;
    if (free < 0) return;
    for (const row of group) left.delete(row);
  }
}

function hashOf({ client, server, protocol, serverPort }: Row): number {
  const texts = [client.id, client.role, client.zone, server.id, server.role, server.zone];
  let hash = 0x811c9dc5;
  const add = (byte: number): void => {
    hash = Math.imul(hash ^ byte, 0x01000193);
  };
  for (const text of texts) for (const byte of [...Buffer.from(text), 0]) add(byte);
  for (const byte of [protocol, serverPort >> 8, serverPort & 255]) add(byte);
  return (hash ^ (hash >>> 20)) & 0xfffff;
}

function addToOther(told: Map<string, Row>, row: Row): void {
  const { level, protocol, fromWindow } = row;
  const ends = { client: otherOf(row.client), server: otherOf(row.server) };
  const other = rowAt(told, { level, ...ends, protocol, serverPort: 0 }, fromWindow);
  for (const [name, value] of row.sums) other.sums.set(name, (other.sums.get(name) ?? 0n) + value);
  other.fromWindow = Math.min(other.fromWindow, fromWindow);
  other.rttMinUs = Math.min(...[other.rttMinUs, row.rttMinUs].filter((rttUs) => rttUs > 0), Number.MAX_SAFE_INTEGER);
  if (other.rttMinUs === Number.MAX_SAFE_INTEGER) other.rttMinUs = 0;
  other.rttMaxUs = Math.max(other.rttMaxUs, row.rttMaxUs);
  for (const [bucket, count] of row.buckets) addTo(other.buckets, bucket, count);
  for (const [key, { count, sum, buckets }] of row.tallies) {
    const known = other.tallies.get(key) ?? { count: 0n, sum: 0n, buckets: new Map() };
    for (const [bucket, samples] of buckets) addTo(known.buckets, bucket, samples);
    other.tallies.set(key, { ...known, count: known.count + count, sum: known.sum + sum });
  }
}

function otherOf({ id }: Node): Node {
  return { ...NOTHING, kind: 8, id: id === '' ? '' : '(other)', role: '(other)' };
}

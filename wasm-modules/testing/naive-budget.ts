// The rule of docs/protocol.md for levels that are over their budget, the slow way: all rows of a window are sorted for each criterion.
import { NodeKind } from '../../host/wire/gen/records-layout.ts';
import type { NodeTexts } from './stage-worker.ts';
import { addPoint, comparePoints, type Point } from './window-output.ts';

const FAILURES = [
  ...['refused', 'timedOut', 'abandoned', 'unreachable', 'failedOther'],
  ...['resetsClient', 'resetsServer', 'forwardRetransmits', 'reverseRetransmits'],
];

export class NaiveBudget {
  readonly #budget: number;
  /** The window since which every window told the row. */
  #since = new Map<string, number>();
  folded = 0;

  constructor(budget: number) {
    this.#budget = budget;
  }

  /** What is put out of all `points` of `window`, in canonical order. */
  bound(window: number, points: readonly Point[]): Point[] {
    this.#since = new Map(
      points.map((point) => [keyOf(point), this.#since.get(keyOf(point)) ?? window] as [string, number]),
    );
    const levels = new Set(points.map(({ level }) => level));
    return [...levels].flatMap((level) => this.#boundLevel(points.filter((point) => point.level === level)));
  }

  #boundLevel(points: Point[]): Point[] {
    if (points.length <= this.#budget) return points;
    const candidates = points.filter((point) => !isOther(point)).map((point) => ({ point, hash: hashOf(point) }));
    const shown = new Set(points.filter(isOther));
    const choose = (places: number, score: (point: Point) => bigint): number => {
      const scored = candidates.map((candidate) => ({ ...candidate, score: score(candidate.point) }));
      const order = (a: { score: bigint; hash: number }, b: { score: bigint; hash: number }): number =>
        Number(b.score - a.score) || b.hash - a.hash;
      const rest = scored.filter(({ point, score }) => !shown.has(point) && score > 0n).sort(order);
      let count = Math.min(places, rest.length);
      while (count > 0 && count < rest.length && order(rest[count - 1], rest[count]) === 0) count--;
      for (const { point } of rest.slice(0, count)) shown.add(point);
      return count;
    };
    const quarter = Math.floor(this.#budget / 4);
    const failing = choose(quarter, ({ fields }) => FAILURES.reduce((sum, name) => sum + (fields.get(name) ?? 0n), 0n));
    const young = choose(quarter, (point) => BigInt(this.#since.get(keyOf(point)) ?? 0));
    choose(
      this.#budget - failing - young,
      ({ fields }) => 1n + (fields.get('forwardBytes') ?? 0n) + (fields.get('reverseBytes') ?? 0n),
    );
    const others = points.filter((point) => !shown.has(point));
    this.folded += others.length;
    return merge([...[...shown].map(copyPoint), ...others.map(toOther)]);
  }
}

function isOther({ client, server, serverPort }: Point): boolean {
  return client.kind === NodeKind.Other && server.kind === NodeKind.Other && serverPort === 0;
}

function keyOf({ level, client, server, protocol, serverPort }: Point): string {
  return JSON.stringify([level, { ...client, handle: 0 }, { ...server, handle: 0 }, protocol, serverPort]);
}

/** 20 bits of the names. */
function hashOf({ client, server, protocol, serverPort }: Point): number {
  const names = [client, server].flatMap(({ id, role, zone }) => [id, role, zone].map((text) => `${text}\0`));
  const bytes = Buffer.concat([Buffer.from(names.join('')), Buffer.of(protocol, serverPort >> 8, serverPort & 255)]);
  let hash = 2166136261;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  return (hash ^ (hash >>> 20)) & 0xfffff;
}

function copyPoint(point: Point): Point {
  return { ...point, fields: new Map(point.fields), buckets: new Map(point.buckets), tallies: new Map(point.tallies) };
}

function toOther(point: Point): Point {
  const { processes: _, ...row } = copyPoint(point);
  const end = (node: NodeTexts): NodeTexts => ({
    ...{ handle: 0, kind: NodeKind.Other, id: node.id === '' ? '' : '(other)', role: '(other)', zone: '', host: '' },
    ...{ address: '', process: '', container: '', containerName: '', image: '', pod: '' },
  });
  return { ...row, client: end(row.client), server: end(row.server), serverPort: 0 };
}

function merge(rows: Point[]): Point[] {
  const merged: Point[] = [];
  for (const row of rows.sort(comparePoints)) {
    const last = merged.at(-1);
    if (last !== undefined && comparePoints(last, row) === 0) addPoint(last, row);
    else merged.push(row);
  }
  return merged;
}

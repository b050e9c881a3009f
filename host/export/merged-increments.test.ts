import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../lib/random.ts';
import { Level, TallySide } from '../wire/gen/records-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import type { RowsByKey } from './edge-rows.ts';
import { countTallies, MergedIncrements } from './merged-increments.ts';
import { encodeWindowOutput, type PointSpec, type TallySpec } from './testing/window-output.ts';
import { decodeWindow } from './window-rows.ts';

interface EdgeSpec extends PointSpec {
  /** Of names that were asked for. */
  names?: readonly string[];
}

/** The rows of a window with edges to nginx, by the role of the client. */
function windowOf(edges: Readonly<Record<string, EdgeSpec>>): RowsByKey {
  const roles = Object.keys(edges);
  const place = (clientNode: number) => ({ level: Level.AzAz, clientNode, serverNode: roles.length });
  const points = roles.map((role, index) => {
    const { names, ...point } = edges[role];
    return { ...place(index), ...point };
  });
  const tallies: TallySpec[] = roles.flatMap((role, index) =>
    (edges[role].names ?? []).map((label) => ({
      ...{ ...place(index), side: TallySide.Client, kind: TallyKind.DnsTimeout, code: 1 << 16, label },
    })),
  );
  const nodes = [...roles, 'nginx'].map((role) => ({ role }));
  return decodeWindow([encodeWindowOutput(1, nodes, points, tallies)], new Set([Level.AzAz]));
}

const rowOf = (rows: RowsByKey, role: string) => [...rows.values()].find(({ client }) => client.role === role);
const forward = (rows: RowsByKey, role: string) => rowOf(rows, role)?.sums.forwardBytes;

test('edges of adjacent windows add up, and one that the newer does not mention has no open connection', () => {
  const older = windowOf({ a: { forwardBytes: 1n, active: 5n }, b: { forwardBytes: 2n, active: 6n } });
  const rows = new MergedIncrements().add(older, windowOf({ b: { forwardBytes: 4n, active: 1n }, c: { active: 2n } }));
  assert.deepEqual(
    ['a', 'b', 'c'].map((role) => [forward(rows, role), rowOf(rows, role)?.active]),
    [
      [1, 0],
      [6, 1],
      [0, 2],
    ],
  );
});

test('beyond the limit new edges add up in (other), and the open connections there are those of the newest window', () => {
  const increments = new MergedIncrements(2);
  let rows = windowOf({ a: { forwardBytes: 1n, active: 1n } });
  rows = increments.add(rows, windowOf({ b: { forwardBytes: 2n }, c: { forwardBytes: 4n, active: 7n } }));
  rows = increments.add(rows, windowOf({ a: { forwardBytes: 8n }, d: { forwardBytes: 16n, active: 9n } }));
  assert.deepEqual(
    ['a', 'b', '(other)'].map((role) => [forward(rows, role), rowOf(rows, role)?.active]),
    [
      [9, 0],
      [2, 0],
      [20, 9],
    ],
  );
  assert.equal(rows.size, 3);
  assert.equal(increments.overflow, 2);
});

test('hours of edges and names that come and go stay within the limits, and no byte and no lookup is lost', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e6);
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random() * count);
  const rowsMax = 50;
  const increments = new MergedIncrements(rowsMax);
  let rows = windowOf({});
  let [bytes, lookups] = [0, 0];
  for (let window = 0; window < 200; window++) {
    const edges = Object.fromEntries(
      Array.from({ length: 10 }, () => {
        const names = Array.from({ length: below(4) }, () => `n${below(1_000)}`);
        const forwardBytes = below(1_000);
        return [`${below(400)}`, { forwardBytes: BigInt(forwardBytes), names: [...new Set(names)] }];
      }),
    );
    for (const { forwardBytes, names } of Object.values(edges)) {
      bytes += Number(forwardBytes);
      lookups += names.length;
    }
    rows = increments.add(rows, windowOf(edges));
  }
  const all = [...rows.values()];
  const total = (numbers: number[]): number => numbers.reduce((sum, each) => sum + each, 0);
  assert.equal(rows.size, rowsMax + 1, `seed ${seed}`);
  assert.equal(countTallies(rows), 2 * rowsMax, `seed ${seed}`);
  assert.equal(total(all.map(({ sums }) => sums.forwardBytes)), bytes, `seed ${seed}`);
  assert.equal(
    total(all.flatMap(({ tallies }) => [...tallies.values()].map(({ count }) => count))),
    lookups,
    `seed ${seed}`,
  );
  assert.ok(increments.overflow > 1_000, `seed ${seed}: ${increments.overflow}`);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level, TallySide } from '../wire/gen/records-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { CumulativeSums, type CumulativeSumsOptions } from './cumulative-sums.ts';
import type { EdgeRow } from './edge-rows.ts';
import { encodeWindowOutput, type PointSpec, type TallySpec } from './testing/window-output.ts';
import { decodeHosts, decodeWindow } from './window-rows.ts';

const SECOND_NS = 1_000_000_000;
const FIRST = 100;

/** Closes windows of one second in which each edge is known by the role of its client. */
class Bench {
  readonly sums: CumulativeSums;
  window = FIRST;
  /** az_az is over its budget: what a window does not mention is in (other). */
  isFolding = false;

  constructor(options: CumulativeSumsOptions = {}) {
    this.sums = new CumulativeSums(options);
  }

  /** `points` by role. What a push exporter would confirm is confirmed, unless `isCommitted` is false. */
  close(
    points: Record<string, PointSpec> = {},
    isCommitted = true,
    tallies: Readonly<Record<string, readonly TallySpec[]>> = {},
  ): void {
    const roles = Object.keys(points);
    const nodes = [...roles.map((role) => ({ role })), { role: 'nginx' }];
    const told = roles.map((role, clientNode) => ({
      ...{ level: Level.AzAz, clientNode, serverNode: roles.length },
      ...points[role],
    }));
    const counted = roles.flatMap((role, clientNode) =>
      (tallies[role] ?? []).map((tally) => ({
        ...{ level: Level.AzAz, clientNode, serverNode: roles.length, side: TallySide.Client, ...tally },
      })),
    );
    const rows = decodeWindow([encodeWindowOutput(this.window, nodes, told, counted)], new Set([Level.AzAz]));
    this.sums.add(this.window, SECOND_NS, rows, new Set(this.isFolding ? [Level.AzAz] : []));
    if (isCommitted) this.sums.committed(this.window);
    this.window++;
  }

  row(role: string): EdgeRow | undefined {
    return [...this.sums.snapshot().values()].find((row) => row.client.role === role);
  }

  reading(metric: string): number | undefined {
    return this.sums.readings().find((reading) => reading.metric === metric)?.value;
  }
}

const forward = (bytes: number): PointSpec => ({ forwardBytes: BigInt(bytes) });

test('an edge adds up over windows, and has no open connection in a window that does not mention it', () => {
  const bench = new Bench();
  const histogram = { scale: 3, offset: -90, counts: [2, 0, 5] };
  bench.close({ curl: { ...forward(3), active: 2n, histogram } });
  bench.close({ curl: { ...forward(4), active: 1n, histogram: { ...histogram, offset: -91 } } });
  assert.deepEqual([bench.row('curl')?.sums.forwardBytes, bench.row('curl')?.active], [7, 1]);
  assert.deepEqual(bench.row('curl')?.histogram, { scale: 3, offset: -91, counts: [2, 2, 5, 5] });
  bench.close();
  assert.deepEqual([bench.row('curl')?.sums.forwardBytes, bench.row('curl')?.active], [7, 0]);
});

test('a snapshot stays as it was', () => {
  const bench = new Bench();
  bench.close({ curl: { ...forward(3), active: 1n, histogram: { scale: 3, offset: 0, counts: [1] } } });
  const snapshot = bench.sums.snapshot();
  const before = structuredClone([...snapshot.values()]);
  bench.close({ curl: { ...forward(4), histogram: { scale: 3, offset: 0, counts: [1] } }, wget: forward(1) });
  bench.close();
  assert.deepEqual(structuredClone([...snapshot.values()]), before);
});

test('every snapshot stays as it was, however many windows lie between two', () => {
  const bench = new Bench();
  const closeSome = (): void => {
    const histogram = { scale: 3, offset: 0, counts: [1] };
    const tallies = [{ kind: TallyKind.AcceptOverflow, count: 2n }];
    bench.close({ curl: { ...forward(3), active: 1n, histogram }, wget: { active: 1n } }, true, { curl: tallies });
    bench.close({ curl: { ...forward(4), histogram } }, true, { curl: tallies });
  };
  const taken = Array.from({ length: 3 }, () => {
    closeSome();
    const rows = [...bench.sums.snapshot().values()];
    return { rows, before: structuredClone(rows) };
  });
  closeSome();
  for (const { rows, before } of taken) assert.deepEqual(structuredClone(rows), before);
  assert.deepEqual([bench.row('curl')?.sums.forwardBytes, bench.row('wget')?.active], [28, 0]);
  assert.deepEqual(
    [...(bench.row('curl')?.tallies.values() ?? [])].map(({ count }) => count),
    [16],
  );
});

test('adding a window changes none of its rows: they may be told as increments, too', () => {
  const sums = new CumulativeSums();
  const decode = () =>
    decodeWindow(
      [encodeWindowOutput(1, [{ role: 'a' }, { role: 'b' }], [{ level: Level.AzAz, ...forward(5), active: 1n }])],
      new Set([Level.AzAz]),
    );
  const rows = [decode(), decode()];
  for (const [index, window] of rows.entries()) sums.add(FIRST + index, SECOND_NS, window);
  for (const window of rows) assert.deepEqual(window, decode());
});

test('an edge that no window mentions is dropped in time, counted, and starts again when it comes back', () => {
  const bench = new Bench({ staleNs: 3_000_000_000n });
  bench.close({ gone: forward(8), busy: forward(1) });
  for (let count = 0; count < 3; count++) {
    assert.equal(bench.row('gone')?.sums.forwardBytes, 8);
    bench.close({ busy: forward(1) });
  }
  assert.equal(bench.row('gone'), undefined);
  assert.equal(bench.row('busy')?.sums.forwardBytes, 4);
  assert.equal(bench.row('busy')?.fromWindow, FIRST);
  assert.equal(bench.reading('seriesExpired'), 1);
  bench.close({ gone: forward(2) });
  assert.deepEqual([bench.row('gone')?.sums.forwardBytes, bench.row('gone')?.fromWindow], [2, FIRST + 4]);
});

test('an edge that a window over its budget left out starts anew when it is told again', () => {
  const bench = new Bench();
  bench.isFolding = true;
  const told = (name: string) => [bench.row(name)?.sums.forwardBytes, bench.row(name)?.fromWindow];
  bench.close({ curl: { ...forward(8), active: 2n }, wget: forward(1) });
  bench.close({ wget: forward(2) });
  assert.deepEqual([told('curl'), bench.row('curl')?.active], [[8, FIRST], 0]);
  bench.close({ curl: { ...forward(3), active: 2n }, wget: forward(4) });
  assert.deepEqual([told('curl'), bench.row('curl')?.active], [[3, FIRST + 2], 2]);
  assert.deepEqual(told('wget'), [7, FIRST]);
  bench.isFolding = false;
  bench.close({ curl: forward(1) });
  bench.close({ curl: forward(1), wget: forward(1) });
  assert.deepEqual(
    [told('curl'), told('wget')],
    [
      [5, FIRST + 2],
      [8, FIRST],
    ],
  );
});

test('an edge that was left out goes on while a receiver may not know its sums of before', () => {
  const bench = new Bench();
  bench.isFolding = true;
  const total = () => [bench.row('curl')?.sums.forwardBytes, bench.row('curl')?.fromWindow];
  bench.close({ curl: forward(8) }, false);
  bench.close({}, false);
  bench.close({ curl: forward(4) }, false);
  assert.deepEqual(total(), [12, FIRST], 'its last window is not committed');
  bench.close();
  bench.close({ curl: forward(16) });
  assert.deepEqual(total(), [16, bench.window - 1]);
});

test('what a host counts goes on when the windows that leave it out are over the budget of its level', () => {
  const sums = new CumulativeSums();
  const close = (window: number, count: bigint): void => {
    const tallies = [{ kind: TallyKind.AcceptOverflow, clientNode: 0, count }];
    const output = encodeWindowOutput(window, [{ host: 'h' }], [], count === 0n ? [] : tallies);
    sums.add(window, SECOND_NS, decodeHosts([output]), new Set([Level.IdId]));
    sums.committed(window);
  };
  for (const [index, count] of [5n, 0n, 7n].entries()) close(FIRST + index, count);
  const [{ tallies, fromWindow }] = sums.snapshot().values();
  assert.deepEqual([[...tallies.values()].map(({ count }) => count), fromWindow], [[12], FIRST]);
});

test('with a Prometheus, what an edge adds up to falls only when it is dropped for its age', () => {
  const bench = new Bench({ isScraped: true, staleNs: 3n * BigInt(SECOND_NS) });
  bench.isFolding = true;
  const total = () => [bench.row('curl')?.sums.forwardBytes, bench.row('curl')?.fromWindow];
  bench.close({ curl: forward(15) });
  bench.close();
  // Anew it would be 16: to `increase` one byte more than before.
  bench.close({ curl: forward(16) });
  assert.deepEqual(total(), [31, FIRST]);
  for (let idle = 0; idle < 4; idle++) bench.close();
  assert.deepEqual([total(), bench.reading('seriesExpired')], [[undefined, undefined], 1]);
  bench.close({ curl: forward(1) });
  assert.deepEqual(total(), [1, bench.window - 1]);
});

test('an edge stays until its last change is committed, however long that takes', () => {
  const bench = new Bench({ staleNs: 1_000_000_000n });
  bench.close({ gone: forward(8) }, false);
  for (let count = 0; count < 50; count++) bench.close({}, false);
  assert.equal(bench.row('gone')?.sums.forwardBytes, 8);
  bench.sums.committed(FIRST + 1);
  bench.close({}, false);
  assert.equal(bench.row('gone'), undefined);
});

test('edges beyond the limit add up in (other); edges that are dropped make room', () => {
  const bench = new Bench({ rowsMax: 3, staleNs: 2_000_000_000n });
  bench.close({ a: forward(1), b: forward(2), c: forward(4), d: forward(8) });
  bench.close({ c: forward(16), d: forward(32) });
  assert.equal(bench.row('(other)')?.sums.forwardBytes, 40);
  assert.equal(bench.reading('seriesOverflow'), 2);
  bench.close({ c: forward(64), d: forward(128) });
  assert.deepEqual([bench.row('a'), bench.row('b')], [undefined, undefined]);
  assert.deepEqual([bench.row('c')?.sums.forwardBytes, bench.row('d')?.sums.forwardBytes], [84, 128]);
});

test('beyond two tallies for each row that may be kept, further ones add up in (other) without their names', () => {
  const bench = new Bench({ rowsMax: 2, staleNs: 2n * BigInt(SECOND_NS) });
  const lookups = (...names: string[]): TallySpec[] =>
    names.map((label) => ({ kind: TallyKind.DnsTimeout, code: 1 << 16, label, count: 2n }));
  const named = (role: string) =>
    [...(bench.row(role)?.tallies.values() ?? [])].map(({ label, count }) => [label, count]);
  bench.close({ curl: forward(1), wget: forward(1) }, true, { curl: lookups('a', 'b', 'c'), wget: lookups('a', 'b') });
  assert.deepEqual(named('curl'), [
    ['a', 2],
    ['b', 2],
    ['c', 2],
  ]);
  assert.deepEqual([named('wget'), named('(other)')], [[['a', 2]], [['', 2]]]);
  assert.equal(bench.reading('seriesOverflow'), 1);
  bench.close({ curl: forward(1) }, true, { curl: lookups('c', 'd', 'e') });
  assert.deepEqual([named('curl')[2], named('(other)')], [['c', 4], [['', 6]]]);
  assert.equal(bench.row('(other)')?.sums.forwardBytes, 0);
  // Those of a row that is dropped make room.
  for (let idle = 0; idle < 4; idle++) bench.close();
  assert.equal(bench.row('curl'), undefined);
  bench.close({ curl: forward(1) }, true, { curl: lookups('x', 'y') });
  assert.deepEqual(named('curl'), [
    ['x', 2],
    ['y', 2],
  ]);
});

test('a tally that is known takes no further place, however often it is told', () => {
  const bench = new Bench({ rowsMax: 3 });
  const told = (...codes: number[]): TallySpec[] =>
    codes.map((code) => ({ kind: TallyKind.Retransmit, code, count: 1n }));
  const points = { curl: forward(1), vim: forward(1), wget: forward(1) };
  bench.close(points, true, { curl: told(1, 2), wget: told(1) });
  bench.close(points, true, { curl: told(1, 2), vim: told(1), wget: told(1, 2) });
  const codes = (role: string) => [...(bench.row(role)?.tallies.values() ?? [])].map(({ code }) => code);
  assert.deepEqual([codes('curl'), codes('vim'), codes('wget')], [[1, 2], [1], [1, 2]]);
  assert.equal(bench.reading('seriesOverflow'), 0);
});

test('bytes of an earlier window move the start of no sum', () => {
  const bench = new Bench();
  bench.close({ curl: forward(3) });
  bench.close({ curl: { ...forward(4), fromWindow: FIRST - 5 } });
  assert.deepEqual([bench.row('curl')?.sums.forwardBytes, bench.row('curl')?.fromWindow], [7, FIRST]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';

interface Exports extends WebAssembly.Exports {
  arenaBytes(): bigint;
  create(countMax: number): void;
  insert(tag: number, row: number): number;
  remove(tag: number, row: number): void;
  first(tag: number): number;
  next(): number;
  size(): number;
  movedRows(): bigint;
}

/** What the table says in its header: a segment of this many slots is split, and full at two thirds. */
const SEGMENT_SLOTS = 1_024;
const SEGMENT_ROWS = Math.ceil((SEGMENT_SLOTS * 2) / 3);

function createTable(build: 'release' | 'debug', countMax: number): Exports {
  const table = new WebAssembly.Instance(compileModule('testing/open-table.ts', build)).exports as Exports;
  table.create(countMax);
  return table;
}

function rowsOf(table: Exports, tag: number): number[] {
  const rows: number[] = [];
  for (let row = table.first(tag); row !== 0; row = table.next()) rows.push(row);
  return rows.sort((a, b) => a - b);
}

for (const build of ['release', 'debug'] as const) {
  test(`${build}: after random insertions and removals each tag has the rows that it has in a Map`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed}`);
    const random = new Random(seed);
    const table = createTable(build, 1 << 20);
    const rowsByTag = new Map<number, Set<number>>();
    const held: [tag: number, row: number][] = [];
    let row = 0;
    // Some tags are shared, and some differ in their lowest or highest bits alone.
    const shared = Array.from({ length: 300 }, () => random.uint32());
    const pickTag = () =>
      random.chance(0.2) ? (shared[random.below(shared.length)] ^ (random.below(4) << 30)) >>> 0 : random.uint32();
    for (let phase = 0; phase < 6; phase++) {
      const grows = phase % 3 !== 2;
      for (let step = 0; step < 8_000; step++) {
        if (random.chance(grows ? 0.9 : 0.1) || held.length === 0) {
          const tag = pickTag();
          assert.equal(table.insert(tag, ++row), 1);
          rowsByTag.set(tag, (rowsByTag.get(tag) ?? new Set()).add(row));
          held.push([tag, row]);
        } else {
          const index = random.below(held.length);
          const [tag, gone] = held[index];
          held[index] = held[held.length - 1];
          held.pop();
          table.remove(tag, gone);
          rowsByTag.get(tag)?.delete(gone);
        }
      }
      assert.equal(table.size(), held.length);
      for (const [tag, rows] of rowsByTag) assert.deepEqual(rowsOf(table, tag), [...rows]);
      for (let count = 0; count < 1_000; count++) {
        const tag = random.uint32();
        assert.deepEqual(rowsOf(table, tag), [...(rowsByTag.get(tag) ?? [])]);
      }
    }
  });
}

test('an insertion moves the rows of one segment at most, however many the table has', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const table = createTable('release', 1 << 20);
  const tags = Uint32Array.from({ length: 1 << 20 }, () => random.uint32());
  let most = 0;
  let before = table.movedRows();
  for (let index = 0; index < tags.length; index++) {
    if (table.insert(tags[index], index + 1) !== 1) assert.fail(`row ${index + 1} is refused`);
    const after = table.movedRows();
    most = Math.max(most, Number(after - before));
    before = after;
  }
  assert.ok(most > SEGMENT_ROWS / 2 && most <= SEGMENT_ROWS, `${most} rows at once`);
  assert.ok(before < 3n * BigInt(tags.length), `${before} rows in all`);
  // Segments are between a third and two thirds full; what was split is used again.
  const bytesOfRow = Number(table.arenaBytes()) / tags.length;
  assert.ok(bytesOfRow < 26, `${bytesOfRow} bytes a row`);
  for (let index = 0; index < tags.length; index += 97) assert.ok(rowsOf(table, tags[index]).includes(index + 1));
});

test('rows of one tag are all found when they are more than a segment has slots', () => {
  const table = createTable('debug', 1 << 16);
  const [tag, neighbour] = [0x8000_0001, 0x8000_0000];
  const count = SEGMENT_SLOTS * 3;
  for (let row = 1; row <= count; row++) assert.equal(table.insert(row % 3 === 0 ? neighbour : tag, row), 1);
  const all = Array.from({ length: count }, (_, index) => index + 1);
  assert.deepEqual(
    rowsOf(table, tag),
    all.filter((row) => row % 3 !== 0),
  );
  assert.deepEqual(
    rowsOf(table, neighbour),
    all.filter((row) => row % 3 === 0),
  );
  assert.ok(table.arenaBytes() < 1n << 20n, `${table.arenaBytes()} bytes`);
  for (const row of all) table.remove(row % 3 === 0 ? neighbour : tag, row);
  assert.equal(table.size(), 0);
  assert.deepEqual([rowsOf(table, tag), rowsOf(table, neighbour)], [[], []]);
});

test('a table at its limit refuses a row and keeps what it has', () => {
  const table = createTable('debug', 100);
  for (let row = 1; row <= 100; row++) assert.equal(table.insert(row * 0x9e37_79b9, row), 1);
  assert.equal(table.insert(1, 101), 0);
  assert.deepEqual(rowsOf(table, 1), []);
  assert.equal(table.size(), 100);
});

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { Builder, ByteBuffer } from 'flatbuffers';
import { OPEN_SIZE, UPDATE_NARROW_SIZE } from '../host/wire/gen/wire-layout.ts';
import { BATCH_PREFIX_BYTES, batchItems, encodeBatch } from '../host/wire/struct-batch.ts';
import { compileSchema } from './generator/flatc.ts';
import { compileFlatcTypescript } from './generator/flatc-javascript.ts';
import { mutate } from './testing/mutate.ts';
import { ProbeReader, writeProbe } from './testing/probe.ts';
import { chooseSeed, Random } from './testing/random.ts';
import { closeWorkbench, compileAssembly, openWorkbench, type Workbench } from './testing/workbench.ts';

const MUTANTS = 100_000;
const NODE_MODULES = join(import.meta.dirname, '../node_modules');
const WIRE = readFileSync(join(import.meta.dirname, 'wire.fbs'), 'utf8');

let workbench: Workbench;
let reader: ProbeReader;
before(async () => {
  workbench = await openWorkbench('wire', WIRE);
  reader = new ProbeReader(workbench.schema, compileAssembly(workbench, writeProbe(workbench.schema), 'release'));
});
after(() => closeWorkbench(workbench));

function seeded(t: TestContext): Random {
  const seed = chooseSeed();
  t.diagnostic(`seed ${seed}`);
  return new Random(seed);
}

/** What the AssemblyScript side makes of the message, in the form of the host's. */
function batchItemsInWasm(message: Uint8Array, structSize: number): { offset: number; count: number } | undefined {
  const base = reader.place(message);
  const items = reader.call('batchItems', base, message.length, structSize);
  return items === 0 ? undefined : { offset: items - base, count: reader.call('batchCount', items) };
}

test('both builders write the same bytes', (t) => {
  const random = seeded(t);
  for (const [count, structSize] of [
    [0, 80],
    [1, 24],
    [7, 24],
    [100, 144],
  ]) {
    const items = random.bytes(count * structSize);
    const message = encodeBatch(items, structSize);
    const base = reader.place(random.bytes(message.length));
    new Uint8Array(reader.memory.buffer, reader.call('beginBatch', base)).set(items);
    assert.equal(reader.call('finishBatch', base, count, structSize), message.length);
    assert.deepEqual(new Uint8Array(reader.memory.buffer, base).slice(), message);
    for (const found of [batchItems(message, structSize), batchItemsInWasm(message, structSize)]) {
      assert.deepEqual(found, { offset: BATCH_PREFIX_BYTES, count });
    }
  }
});

test("flatc's own reader finds every item of a batch", async (t) => {
  const random = seeded(t);
  const folder = mkdtempSync(join(tmpdir(), 'batch-'));
  try {
    const { typescript } = await compileSchema('wire', WIRE);
    const entry = 'tributary/wire/update-narrow-batch';
    const options = { source: 'wire.fbs', nodeModules: NODE_MODULES };
    for (const [path, content] of compileFlatcTypescript(typescript, [`${entry}.ts`], options)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    symlinkSync(NODE_MODULES, join(folder, 'node_modules'));
    const { UpdateNarrowBatch } = await import(join(folder, `${entry}.js`));

    const items = random.bytes(5 * UPDATE_NARROW_SIZE);
    const batch = UpdateNarrowBatch.getRootAsUpdateNarrowBatch(new ByteBuffer(encodeBatch(items, UPDATE_NARROW_SIZE)));
    const view = new DataView(items.buffer);
    const handles = Array.from({ length: 5 }, (_, index) => view.getUint32(index * UPDATE_NARROW_SIZE, true));
    assert.equal(batch.itemsLength(), 5);
    assert.deepEqual(
      Array.from({ length: 5 }, (_, index) => batch.items(index).handle()),
      handles,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** The same table as the official builder lays it out: from the end, the vtable wherever it falls. */
function encodeWithBuilder(items: Uint8Array, structSize: number, align: number): Uint8Array {
  const builder = new Builder();
  builder.startVector(structSize, items.length / structSize, align);
  for (const byte of items.toReversed()) builder.writeInt8(byte);
  const vector = builder.endVector();
  builder.startObject(1);
  builder.addFieldOffset(0, vector, 0);
  builder.finish(builder.endObject());
  return builder.asUint8Array().slice();
}

test('a batch of another library is read as long as its items are 8-aligned', (t) => {
  const items = seeded(t).bytes(3 * UPDATE_NARROW_SIZE);
  const message = encodeWithBuilder(items, UPDATE_NARROW_SIZE, 8);
  const found = batchItems(message, UPDATE_NARROW_SIZE);
  assert.equal(found?.count, 3);
  assert.deepEqual(message.slice(found.offset, found.offset + items.length), items);
  assert.deepEqual(batchItemsInWasm(message, UPDATE_NARROW_SIZE), found);

  const words = Uint32Array.of(12, 0x0008_0006, 4, 8, 8, 0, 3);
  const shifted = new Uint8Array([...new Uint8Array(words.buffer), ...items, 0, 0, 0, 0]);
  assert.equal(batchItems(shifted, UPDATE_NARROW_SIZE), undefined);
  assert.equal(batchItemsInWasm(shifted, UPDATE_NARROW_SIZE), undefined);
});

const REFUSED = [
  { name: 'one item more than there is', count: 3, length: 72 },
  { name: 'a count whose product with the size wraps 32 bits', count: 0x0aaa_aaab, length: 72 },
  { name: 'the greatest count', count: 0xffff_ffff, length: 72 },
  { name: 'no room for the count', count: 0, length: 20 },
  { name: 'no byte at all', count: 0, length: 0 },
];

for (const { name, count, length } of REFUSED) {
  test(`refused: ${name}`, () => {
    const message = encodeBatch(new Uint8Array(2 * UPDATE_NARROW_SIZE), UPDATE_NARROW_SIZE);
    new DataView(message.buffer).setUint32(20, count, true);
    assert.equal(batchItems(message.slice(0, length), UPDATE_NARROW_SIZE), undefined);
    assert.equal(batchItemsInWasm(message.slice(0, length), UPDATE_NARROW_SIZE), undefined);
  });
}

test('no change to a batch leads out of it, and both sides find the same items', (t) => {
  const random = seeded(t);
  let accepted = 0;
  for (let mutant = 0; mutant < MUTANTS; mutant++) {
    const items = new Uint8Array(random.below(4) * OPEN_SIZE);
    const message = mutate(
      random.chance(0.5) ? encodeBatch(items, OPEN_SIZE) : encodeWithBuilder(items, OPEN_SIZE, 8),
      random,
    );
    const found = batchItems(message, OPEN_SIZE);
    assert.deepEqual(batchItemsInWasm(message, OPEN_SIZE), found);
    if (found === undefined) continue;
    accepted++;
    assert.equal(found.offset % 8, 0);
    assert(found.offset + found.count * OPEN_SIZE <= message.length);
  }
  t.diagnostic(`${accepted} of ${MUTANTS} accepted`);
  assert(accepted > 0 && accepted < MUTANTS);
});

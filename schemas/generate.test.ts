import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readMetrics, writeTallyKindsAs } from './generator/metrics.ts';
import { writeSchemaFiles } from './generator/schema-files.ts';

const ROOT = join(import.meta.dirname, '..');
const COPIED = [
  'package.json',
  'schemas',
  'bpf/include/gen',
  'wasm-modules/assembly/gen',
  'host',
  'docs/metrics.md',
  'docs/configuration.md',
];

test('the committed files are what the generator writes', () => {
  assert.deepEqual(run(ROOT, '--check'), { status: 0, stderr: '' });
});

describe('in a copy of the repository', () => {
  let copy: string;
  before(() => {
    copy = mkdtempSync(join(tmpdir(), 'generate-'));
    for (const path of COPIED) cpSync(join(ROOT, path), join(copy, path), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  });
  after(() => rmSync(copy, { recursive: true }));

  test('a file that was edited and one without a schema are named, and generating again repairs both', () => {
    const edited = 'wasm-modules/assembly/gen/wire.ts';
    const orphan = 'host/wire/gen/orphan-layout.ts';
    appendFileSync(join(copy, edited), '// by hand\n');
    writeFileSync(join(copy, orphan), '');
    const { status, stderr } = run(copy, '--check');
    assert.equal(status, 1);
    assert.match(stderr, new RegExp(`differs from its schema: ${edited}\\n`));
    assert.match(stderr, new RegExp(`has no schema any more: ${orphan}\\n`));
    assert.equal(run(copy).status, 0);
    assert.deepEqual(run(copy, '--check'), { status: 0, stderr: '' });
    assert.deepEqual(readFileSync(join(copy, edited)), readFileSync(join(ROOT, edited)));
  });
});

function run(root: string, ...options: string[]): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'schemas/generate.ts'), ...options], {
    encoding: 'utf8',
  });
  return { status, stderr };
}

const REFUSED = [
  {
    name: 'padding inside',
    text: 'struct S { a: uint32; b: uint64; }',
    message: /struct S: 4 bytes of padding missing before b/,
  },
  {
    name: 'padding at the end',
    text: 'struct S { a: uint64; b: uint32; }',
    message: /struct S: 4 bytes of padding missing at the end/,
  },
  {
    name: 'a size that is no multiple of 8',
    text: 'struct S { a: uint32; }',
    message: /struct S: 4 bytes, not a multiple of 8/,
  },
  {
    name: 'another size than documented',
    text: '/// A pair. 16 bytes.\nstruct S { a: uint64; }',
    message: /documented as 16 bytes, but it has 8/,
  },
  { name: 'a union', text: 'table A { a: int; } union U { A } table B { u: U; }', message: /not supported/ },
  {
    name: 'a table that contains itself',
    text: 'table A { a: [B]; } table B { b: A; }',
    message: /table A contains itself/,
  },
  {
    name: 'what flatc does not understand',
    text: 'table A { a: Missing; }',
    message: /flatc refuses refused\.fbs: .*Missing/s,
  },
];

for (const { name, text, message } of REFUSED) {
  test(`refused in a schema: ${name}`, async () => {
    await assert.rejects(writeSchemaFiles('refused', `namespace test;\n${text}\n`), message);
  });
}

test('a metric that names an unknown field or attribute, or a tally of no kind, is refused', async () => {
  const kinds = 'enum TallyKind : uint16 { None = 0, Drop = 2, Far = 64 }';
  const text = `namespace test; ${kinds} struct EdgePoint { bytes: uint64; }`;
  const { schema } = await writeSchemaFiles('points', text);
  const metrics = (value: string, attribute: string, kind = 'Drop'): string =>
    [
      'attributes: [{id: level, name: tributary.level, cardinality: fine, description: Level.}]',
      'metrics:',
      `  - {id: io, instrument: counter, unit: By, value: [${value}], attributes: [${attribute}], description: Bytes., profiles: {otel: io}}`,
      'tallies:',
      `  - {kind: ${kind}, id: drop, subject: edge, instrument: counter, unit: By, attributes: [], description: Drops., profiles: {otel: d}}`,
      'self_metrics: []',
    ].join('\n');
  const read = (yaml: string) => readMetrics(yaml, schema, schema);
  assert.equal(read(metrics('bytes', 'level')).metrics[0].id, 'io');
  assert.throws(() => read(metrics('packets', 'level')), /io: EdgePoint has no packets/);
  assert.throws(() => read(metrics('bytes', 'zone')), /io: no attribute zone/);
  assert.match(writeTallyKindsAs(read(metrics('bytes', 'level')), schema), /TALLY_KINDS: u64 = 0x4;/);
  for (const kind of ['Unknown', 'None', 'Far'])
    assert.throws(() => read(metrics('bytes', 'level', kind)), /drop: TallyKind has no \w+ from 1 to 63/);
});

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { writeCHeader } from './generator/c-header.ts';
import { snakeCase, upperSnakeCase } from './generator/names.ts';
import type { Schema, Struct } from './generator/schema.ts';
import { ProbeReader, writeProbe } from './testing/probe.ts';
import { chooseSeed, Random } from './testing/random.ts';
import { randomStruct, type Value } from './testing/values.ts';
import {
  BUILDS,
  type Build,
  closeWorkbench,
  compileAssembly,
  openWorkbench,
  type Workbench,
} from './testing/workbench.ts';

const SCHEMAS = [
  ...readdirSync(import.meta.dirname).filter((file) => file.endsWith('.fbs')),
  'testing/every-kind.fbs',
].map((file) => ({ name: file.replace(/^.*\/|\.fbs$/g, ''), path: join(import.meta.dirname, file) }));
const ROUNDS = 20;
const WARNINGS = ['-Wall', '-Wextra', '-Werror', '-Wpadded', '-Wno-unused-command-line-argument'];

interface LayoutModule {
  [name: string]: Value | ((view: DataView, offset: number, value?: Value) => Value);
}

for (const { name, path } of SCHEMAS) {
  describe(`structs of ${name}.fbs`, () => {
    let workbench: Workbench;
    let layout: LayoutModule;
    before(async () => {
      workbench = await openWorkbench(name, readFileSync(path, 'utf8'));
      layout = await import(join(workbench.folder, `host/wire/gen/${name}-layout.ts`));
    });
    after(() => closeWorkbench(workbench));

    test('C and TypeScript agree on the size and on every offset', () => {
      const structs = [...workbench.schema.structs.values()];
      const expected = structs.map((struct) => [
        layout[`${upperSnakeCase(struct.name)}_SIZE`],
        ...offsetsOf(layout, struct),
      ]);
      assert.deepEqual(measureInC(workbench.schema), expected);
    });

    for (const build of Object.keys(BUILDS) as Build[]) {
      test(`AssemblyScript (${build}) reads what TypeScript wrote`, (t) => {
        const seed = chooseSeed();
        t.diagnostic(`seed ${seed}`);
        const random = new Random(seed);
        const reader = new ProbeReader(
          workbench.schema,
          compileAssembly(workbench, writeProbe(workbench.schema), build),
        );
        for (const struct of workbench.schema.structs.values()) {
          for (let round = 0; round < ROUNDS; round++) {
            const value = randomStruct(workbench.schema, struct.name, random);
            const at = reader.place(random.bytes(struct.size));
            const view = new DataView(reader.memory.buffer);
            call(layout, `write${struct.name}`)(view, at, value);
            assert.deepEqual(reader.readStruct(struct, at), value);
            assert.deepEqual(call(layout, `read${struct.name}`)(view, at), value);
          }
        }
      });
    }
  });
}

function offsetsOf(layout: LayoutModule, struct: Struct): Value[] {
  const offsets = layout[`${upperSnakeCase(struct.name)}_OFFSET`];
  assert(typeof offsets === 'object');
  return Object.values(offsets);
}

function call(layout: LayoutModule, name: string): (view: DataView, offset: number, value?: Value) => Value {
  const found = layout[name];
  assert(typeof found === 'function');
  return found;
}

/** Compiles the header with a program that prints, for each struct, its size and the offsets of its fields. */
function measureInC(schema: Schema): number[][] {
  const folder = mkdtempSync(join(tmpdir(), 'layout-'));
  try {
    const lines = [...schema.structs.values()].map((struct) => {
      const type = `struct ${snakeCase(struct.name)}`;
      const values = [`sizeof(${type})`, ...struct.fields.map((field) => `__builtin_offsetof(${type}, ${field.name})`)];
      return `printf("${values.map(() => '%zu').join(' ')}\\n", ${values.join(', ')});`;
    });
    writeFileSync(join(folder, 'layout.h'), writeCHeader(schema));
    writeFileSync(
      join(folder, 'layout.c'),
      `#include <stdio.h>\n#include "layout.h"\nint main(void) { ${lines.join('\n')} }\n`,
    );
    execFileSync('gcc', [...WARNINGS, 'layout.c', '-o', 'layout'], { cwd: folder });
    const output = execFileSync(join(folder, 'layout'), { encoding: 'utf8' });
    return output
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a byte array of another length is refused before anything shifts', async () => {
  const { readOpen, writeOpen, OPEN_SIZE } = await import('../host/wire/gen/wire-layout.ts');
  const view = new DataView(new ArrayBuffer(OPEN_SIZE));
  const value = { ...readOpen(view, 0), localAddress: new Uint8Array(4) };
  assert.throws(() => writeOpen(view, 0, value), RangeError);
});

const HEADER = join(import.meta.dirname, '../bpf/include/gen');
const COMPILERS = [
  { name: 'g++', args: ['-x', 'c++', '-fsyntax-only'] },
  { name: 'clang', args: ['-x', 'c', '-target', 'bpf', '-fsyntax-only', '-include', 'linux/types.h', ...multiarch()] },
];

/** Where Debian keeps asm/types.h, which clang does not look for when it compiles for bpf. */
function multiarch(): string[] {
  const { stdout } = spawnSync('gcc', ['-print-multiarch'], { encoding: 'utf8' });
  return stdout ? [`-I/usr/include/${stdout.trim()}`] : [];
}

for (const { name, args } of COMPILERS) {
  const missing = spawnSync(name, ['--version']).error !== undefined;
  test(`the committed C header compiles with ${name} without a warning`, { skip: missing && `no ${name} here` }, () => {
    for (const header of readdirSync(HEADER)) {
      const result = spawnSync(name, [...WARNINGS, ...args, '-'], {
        encoding: 'utf8',
        input: `#include "${join(HEADER, header)}"\nint size(void);\nint size(void) { return sizeof(struct socket_event); }\n`,
      });
      assert.equal(result.stderr, '');
      assert.equal(result.status, 0);
    }
  });
}

// A schema generated into a folder of its own, where its AssemblyScript can be compiled and its TypeScript imported as they are.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Schema } from '../generator/schema.ts';
import { writeSchemaFiles } from '../generator/schema-files.ts';

const ROOT = join(import.meta.dirname, '../..');

/** As the product is built, and as it is debugged. */
export const BUILDS = {
  release: ['-O3', '--noAssert'],
  debug: ['--debug'],
} as const;
export type Build = keyof typeof BUILDS;

export interface Workbench {
  schema: Schema;
  folder: string;
}

export async function openWorkbench(name: string, text: string): Promise<Workbench> {
  const folder = mkdtempSync(join(tmpdir(), 'schema-'));
  const { schema, files } = await writeSchemaFiles(name, text);
  for (const [path, content] of files) writeInto(folder, path, content);
  writeInto(folder, 'package.json', '{"type":"module"}');
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  symlinkSync(join(ROOT, 'wasm-modules/assembly/lib'), join(folder, 'wasm-modules/assembly/lib'));
  symlinkSync(join(ROOT, 'host/wire/verify-table.ts'), join(folder, 'host/wire/verify-table.ts'));
  return { schema, folder };
}

export function closeWorkbench({ folder }: Workbench): void {
  rmSync(folder, { recursive: true });
}

/** Compiles `source`, which lies beside the folders gen and lib. Throws when asc refuses it. */
export function compileAssembly({ folder }: Workbench, source: string, build: Build): WebAssembly.Module {
  const entry = writeInto(folder, `wasm-modules/assembly/${build}.ts`, source);
  const asc = join(ROOT, 'node_modules/assemblyscript/bin/asc.js');
  const output = join(folder, `${build}.wasm`);
  execFileSync(process.execPath, [asc, entry, '--runtime', 'stub', '--use', 'abort=', ...BUILDS[build], '-o', output], {
    stdio: 'pipe',
  });
  return new WebAssembly.Module(readFileSync(output));
}

function writeInto(folder: string, path: string, content: string): string {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

// Writes everything that is derived from the schemas:
//   schemas/*.fbs -> flatc (WASM) -> binary schema -> C, AssemblyScript and TypeScript
//   schemas/metrics.yaml -> TypeScript constants and docs/metrics.md
// Without an option the files are written; with --check they are compared, and exit code 1 means that some differ.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeAsModule } from './generator/as-module.ts';
import { writeCHeader } from './generator/c-header.ts';
import { checkLayouts } from './generator/check-layout.ts';
import { compileSchema } from './generator/flatc.ts';
import { compileFlatcTypescript } from './generator/flatc-javascript.ts';
import { readMetrics, writeMetricsPage, writeMetricsTs } from './generator/metrics.ts';
import { readSchema } from './generator/schema.ts';
import { writeTsLayout } from './generator/ts-layout.ts';
import { flatcPath, textTables, writeTsTables } from './generator/ts-tables.ts';

const ROOT = join(import.meta.dirname, '..');
/** Folders that hold generated files and nothing else. */
const GENERATED_FOLDERS = ['bpf/include/gen', 'wasm-modules/assembly/gen', 'host/wire/gen', 'host/export/gen'];
/** The only schema that programs in C see, and the one whose EdgePoint becomes metrics. */
const C_SCHEMA = 'kernel-events';
const POINT_SCHEMA = 'records';

/** All generated files: path from the root of the repository → content. */
async function generate(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const file of readdirSync(join(ROOT, 'schemas')).filter((name) => name.endsWith('.fbs')).sort()) {
    const name = file.slice(0, -'.fbs'.length);
    const text = readFileSync(join(ROOT, 'schemas', file), 'utf8');
    const { binarySchema, typescript } = await compileSchema(name, text);
    const schema = readSchema(name, binarySchema, text);
    checkLayouts(schema);
    if (name === C_SCHEMA) files.set(`bpf/include/gen/${name.replaceAll('-', '_')}.h`, writeCHeader(schema));
    files.set(`wasm-modules/assembly/gen/${name}.ts`, writeAsModule(schema));
    files.set(`host/wire/gen/${name}-layout.ts`, writeTsLayout(schema));
    if (name === POINT_SCHEMA) {
      const metrics = readMetrics(readFileSync(join(ROOT, 'schemas/metrics.yaml'), 'utf8'), schema);
      files.set('host/export/gen/metrics.ts', writeMetricsTs(metrics));
      files.set('docs/metrics.md', writeMetricsPage(metrics));
    }
    const tables = textTables(schema);
    if (tables.length === 0) continue;
    files.set(`host/wire/gen/${name}-tables.ts`, writeTsTables(schema));
    const entries = tables.map((table) => `${flatcPath(schema.namespace, table.name)}.ts`);
    const compiled = compileFlatcTypescript(typescript, entries, { source: file, nodeModules: join(ROOT, 'node_modules') });
    for (const [path, content] of compiled) files.set(`host/wire/gen/${path}`, content);
  }
  return files;
}

/** Files in the generated folders, paths from the root of the repository. */
function listGenerated(): string[] {
  return GENERATED_FOLDERS.flatMap((folder) => {
    try {
      const entries = readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1));
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw error;
    }
  });
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

const { values: options } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
const files = await generate();
const stale = listGenerated().filter((path) => !files.has(path));
const changed = [...files].filter(([path, content]) => readIfPresent(join(ROOT, path)) !== content).map(([path]) => path);

if (options.check) {
  for (const path of changed) console.error(`differs from its schema: ${path}`);
  for (const path of stale) console.error(`has no schema any more: ${path}`);
  if (changed.length + stale.length > 0) console.error('run: npm run generate');
  process.exitCode = changed.length + stale.length > 0 ? 1 : 0;
} else {
  for (const path of stale) rmSync(join(ROOT, path));
  for (const path of changed) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true });
    writeFileSync(join(ROOT, path), files.get(path) ?? '');
  }
  console.log(`${files.size} files, ${changed.length} written, ${stale.length} removed`);
}

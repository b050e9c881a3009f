// Writes everything that is derived from the schemas:
//   schemas/*.fbs -> flatc (WASM) -> binary schema -> C, AssemblyScript and TypeScript
//   schemas/metrics.yaml -> TypeScript constants and docs/metrics.md
// and the tables of options in docs/configuration.md from host/config/definition.ts.
// Without an option the files are written; with --check they are compared, and exit code 1 means that some differ.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeConfigurationPage } from '../host/config/reference.ts';
import { writeCHeader } from './generator/c-header.ts';
import { readMetrics, writeMetricsPage, writeMetricsTs, writeTallyKindsAs } from './generator/metrics.ts';
import type { Schema } from './generator/schema.ts';
import { AS_FOLDER, TS_FOLDER, writeSchemaFiles } from './generator/schema-files.ts';

const ROOT = join(import.meta.dirname, '..');
const C_FOLDER = 'bpf/include/gen';
const METRICS_FOLDER = 'host/export/gen';
/** The only schema that programs in C see, the one whose EdgePoint becomes metrics, and the one with the kinds of tallies. */
const C_SCHEMA = 'kernel-events';
const POINT_SCHEMA = 'records';
const TALLY_SCHEMA = 'wire';

/** All generated files: path from the root of the repository → content. */
async function generate(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const schemas = new Map<string, Schema>();
  const sources = readdirSync(join(ROOT, 'schemas')).filter((file) => file.endsWith('.fbs'));
  for (const name of sources.map((file) => file.slice(0, -'.fbs'.length)).sort()) {
    const text = readFileSync(join(ROOT, 'schemas', `${name}.fbs`), 'utf8');
    const { schema, files: schemaFiles } = await writeSchemaFiles(name, text);
    schemas.set(name, schema);
    for (const [path, content] of schemaFiles) files.set(path, content);
    if (name === C_SCHEMA) files.set(`${C_FOLDER}/${name.replaceAll('-', '_')}.h`, writeCHeader(schema));
  }
  addMetrics(files, schemas.get(POINT_SCHEMA)!, schemas.get(TALLY_SCHEMA)!);
  const page = 'docs/configuration.md';
  files.set(page, writeConfigurationPage(readFileSync(join(ROOT, page), 'utf8')));
  return files;
}

function addMetrics(files: Map<string, string>, points: Schema, wire: Schema): void {
  const metrics = readMetrics(readFileSync(join(ROOT, 'schemas/metrics.yaml'), 'utf8'), points, wire);
  files.set(`${METRICS_FOLDER}/metrics.ts`, writeMetricsTs(metrics, wire));
  files.set(`${AS_FOLDER}/tally-kinds.ts`, writeTallyKindsAs(metrics, wire));
  files.set('docs/metrics.md', writeMetricsPage(metrics));
}

/** What lies in the folders that hold generated files and nothing else; paths from the root of the repository. */
function listGenerated(): string[] {
  return [C_FOLDER, AS_FOLDER, TS_FOLDER, METRICS_FOLDER].flatMap((folder) => {
    mkdirSync(join(ROOT, folder), { recursive: true });
    const entries = readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1));
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
const changed = [...files].filter(([path, content]) => readIfPresent(join(ROOT, path)) !== content);

if (options.check) {
  for (const [path] of changed) console.error(`differs from its schema: ${path}`);
  for (const path of stale) console.error(`has no schema any more: ${path}`);
  if (changed.length + stale.length > 0) {
    console.error('run: npm run generate');
    process.exitCode = 1;
  }
} else {
  for (const path of stale) rmSync(join(ROOT, path));
  for (const [path, content] of changed) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true });
    writeFileSync(join(ROOT, path), content);
  }
  console.log(`${files.size} files, ${changed.length} written, ${stale.length} removed`);
}

import { join } from 'node:path';
import { writeAsModule } from './as-module.ts';
import { compileSchema } from './flatc.ts';
import { compileFlatcTypescript } from './flatc-javascript.ts';
import { checkLayouts } from './layouts.ts';
import { readSchema, type Schema } from './schema.ts';
import { writeTsLayout } from './ts-layout.ts';
import { flatcPath, textTables, writeTsTables } from './ts-tables.ts';

export const AS_FOLDER = 'wasm-modules/assembly/gen';
export const TS_FOLDER = 'host/wire/gen';
const NODE_MODULES = join(import.meta.dirname, '../../node_modules');

/** Everything that a schema becomes in every language but C: path from the root of the repository → content. */
export async function writeSchemaFiles(
  name: string,
  text: string,
): Promise<{ schema: Schema; files: Map<string, string> }> {
  const { binarySchema, typescript } = await compileSchema(name, text);
  const schema = readSchema(name, binarySchema, text);
  checkLayouts(schema);
  const files = new Map([
    [`${AS_FOLDER}/${name}.ts`, writeAsModule(schema)],
    [`${TS_FOLDER}/${name}-layout.ts`, writeTsLayout(schema)],
  ]);
  const tables = textTables(schema);
  if (tables.length === 0) return { schema, files };
  files.set(`${TS_FOLDER}/${name}-tables.ts`, writeTsTables(schema));
  const entries = tables.map((table) => `${flatcPath(schema.namespace, table.name)}.ts`);
  const compiled = compileFlatcTypescript(typescript, entries, { source: `${name}.fbs`, nodeModules: NODE_MODULES });
  for (const [path, content] of compiled) files.set(`${TS_FOLDER}/${path}`, content);
  return { schema, files };
}

import { writeAsEnum } from './as-enums.ts';
import { writeAsStruct } from './as-structs.ts';
import { writeAsTables } from './as-tables.ts';
import { generatedFrom } from './names.ts';
import type { Schema } from './schema.ts';

/** The AssemblyScript side of one schema: enums, fixed structs, and tables with their verification. */
export function writeAsModule(schema: Schema): string {
  const source = `${schema.name}.fbs`;
  const { imports, tables } = writeAsTables(schema);
  return [
    `// ${generatedFrom(source)}\n${imports}`,
    ...schema.enums.map(writeAsEnum),
    ...[...schema.structs.values()].map((struct) => writeAsStruct(struct, schema.structs, source)),
    ...(tables === '' ? [] : [tables]),
  ].join('\n');
}

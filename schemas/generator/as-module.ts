import { writeAsEnum } from './as-enums.ts';
import { writeAsStruct } from './as-structs.ts';
import { generatedFrom } from './names.ts';
import type { Schema } from './schema.ts';

/** The AssemblyScript side of one schema: enums and fixed structs. */
export function writeAsModule(schema: Schema): string {
  const source = `${schema.name}.fbs`;
  return [
    `// ${generatedFrom(source)}`,
    '',
    ...schema.enums.map(writeAsEnum),
    ...[...schema.structs.values()].map((struct) => writeAsStruct(struct, schema.structs, source)),
  ].join('\n');
}

import { type Struct, structOf, type Table } from './schema.ts';

/** The struct that `table` is a batch of: one required vector `items` of a fixed struct and nothing else. Otherwise undefined. */
export function batchItemOf(table: Table, structs: Map<string, Struct>): Struct | undefined {
  const [field] = table.fields;
  if (table.fields.length !== 1 || field.name !== 'items' || !field.required || field.type.kind !== 'vector')
    return undefined;
  return field.type.element.kind === 'struct' ? structOf(structs, field.type.element.name) : undefined;
}

// Sizes, and the rules for fixed structs that flatc does not know: padding is spelled out, so that no two languages can disagree about it
// and no byte is left over from older memory; the size is a multiple of 8, so that records follow one another without gaps.
import {
  type ArrayType,
  type FieldType,
  type NamedType,
  SCALAR_SIZE,
  type ScalarType,
  type Schema,
  type Struct,
  structOf,
} from './schema.ts';

/** Throws with the name of the struct and the field when a rule is broken, or when the documentation states another size. */
export function checkLayouts(schema: Schema): void {
  for (const struct of schema.structs.values()) checkLayout(struct, schema);
}

function checkLayout(struct: Struct, schema: Schema): void {
  const where = `${schema.name}.fbs, struct ${struct.name}`;
  let end = 0;
  for (const field of struct.fields) {
    if (field.offset !== end)
      throw new Error(`${where}: ${field.offset - end} bytes of padding missing before ${field.name}`);
    end += sizeOf(field.type, schema.structs);
  }
  if (struct.size !== end) throw new Error(`${where}: ${struct.size - end} bytes of padding missing at the end`);
  if (struct.size % 8 !== 0) throw new Error(`${where}: ${struct.size} bytes, not a multiple of 8`);
  const stated = struct.doc.join(' ').match(/(?:^|[.:] )(\d+) bytes(?:\.| \+)/)?.[1];
  if (stated !== undefined && Number(stated) !== struct.size) {
    throw new Error(`${where}: documented as ${stated} bytes, but it has ${struct.size}`);
  }
}

/** Size of a field of a struct, bytes. */
export function sizeOf(type: ScalarType | NamedType | ArrayType, structs: Map<string, Struct>): number {
  if (type.kind === 'scalar') return SCALAR_SIZE[type.scalar];
  if (type.kind === 'array') return type.length * sizeOf(type.element, structs);
  return structOf(structs, type.name).size;
}

/** Of a value that lies in a table or vector itself. */
export function sizeAndAlign(type: FieldType, structs: Map<string, Struct>): { size: number; align: number } {
  if (type.kind === 'struct') return structOf(structs, type.name);
  if (type.kind !== 'scalar') throw new Error(`a ${type.kind} has no size of its own`);
  return { size: SCALAR_SIZE[type.scalar], align: SCALAR_SIZE[type.scalar] };
}

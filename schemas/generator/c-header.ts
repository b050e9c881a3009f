// The C side: what eBPF programs write and the addon hands on. Only kernel-events.fbs crosses this boundary.
import { generatedFrom, snakeCase, upperSnakeCase } from './names.ts';
import type { ArrayType, Enum, Field, NamedType, ScalarName, Schema, Struct } from './schema.ts';

const C_TYPE: Record<ScalarName, string> = {
  bool: '__u8',
  uint8: '__u8',
  uint16: '__u16',
  uint32: '__u32',
  uint64: '__u64',
  int8: '__s8',
  int16: '__s16',
  int32: '__s32',
  int64: '__s64',
  float32: 'float',
  float64: 'double',
};

export function writeCHeader(schema: Schema): string {
  const source = `${schema.name}.fbs`;
  return [
    `/* ${generatedFrom(source)} */`,
    '#pragma once',
    '',
    '/* eBPF programs bring these types with their own kernel types. */',
    '#ifndef __bpf__',
    '#include <linux/types.h>',
    '#endif',
    '',
    ...schema.enums.map(writeEnum),
    ...[...schema.structs.values()].map(writeStruct),
    '#ifdef __cplusplus',
    '#define LAYOUT_ASSERT(condition) static_assert(condition, "must match schemas/' + source + '")',
    '#else',
    '#define LAYOUT_ASSERT(condition) _Static_assert(condition, "must match schemas/' + source + '")',
    '#endif',
    '',
    ...[...schema.structs.values()].map(writeAsserts),
    '#undef LAYOUT_ASSERT',
    '',
  ].join('\n');
}

/** Constants only: a field of enum type would take 4 bytes. */
function writeEnum(item: Enum): string {
  const prefix = upperSnakeCase(item.name);
  const values = item.values.map(
    (value) => `${comment(value.doc)}\t${prefix}_${upperSnakeCase(value.name)} = ${value.value},\n`,
  );
  return `${comment(item.doc, '')}enum ${snakeCase(item.name)} {\n${values.join('')}};\n`;
}

function writeStruct(struct: Struct): string {
  const fields = struct.fields.map((field) => `${comment(field.doc)}\t${declare(field)};\n`);
  return `${comment(struct.doc, '')}struct ${snakeCase(struct.name)} {\n${fields.join('')}};\n`;
}

function declare({ name, type }: Field<Struct['fields'][number]['type']>): string {
  if (type.kind === 'array') return `${cType(type.element)} ${name}[${type.length}]`;
  return `${cType(type)} ${name}`;
}

function cType(type: ArrayType['element'] | NamedType): string {
  return type.kind === 'scalar' ? C_TYPE[type.scalar] : `struct ${snakeCase(type.name)}`;
}

function writeAsserts(struct: Struct): string {
  const name = `struct ${snakeCase(struct.name)}`;
  const offsets = struct.fields.map(
    (field) => `LAYOUT_ASSERT(__builtin_offsetof(${name}, ${field.name}) == ${field.offset});\n`,
  );
  return `LAYOUT_ASSERT(sizeof(${name}) == ${struct.size});\n${offsets.join('')}`;
}

function comment(doc: string[], indent = '\t'): string {
  if (doc.length === 0) return '';
  return `${indent}/* ${doc.join(`\n${indent} * `)} */\n`;
}

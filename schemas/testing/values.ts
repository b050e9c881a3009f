// Random values of a schema's structs and tables, in the form that the generated TypeScript takes.

import { camelCase, isPadding } from '../generator/names.ts';
import {
  type ArrayType,
  type FieldType,
  type NamedType,
  type ScalarName,
  type ScalarType,
  type Schema,
  structOf,
} from '../generator/schema.ts';
import type { Random } from './random.ts';

export type Value = number | bigint | boolean | string | Uint8Array | undefined | Value[] | { [field: string]: Value };

const TEXTS = ['', 'eth0', 'nginx', 'größer', '名前', '🚰', 'a'.repeat(300), '\u0000'];

export function randomTable(schema: Schema, name: string, random: Random): Value {
  const table = schema.tables.find((item) => item.name === name);
  const members = table?.fields.map((field): [string, Value] => {
    const absent = !field.required && field.type.kind !== 'scalar' && random.chance(0.3);
    return [camelCase(field.name), absent ? undefined : randomField(schema, field.type, random)];
  });
  return Object.fromEntries(members ?? []);
}

export function randomStruct(schema: Schema, name: string, random: Random): Value {
  const fields = structOf(schema.structs, name).fields.filter((field) => !isPadding(field));
  return Object.fromEntries(fields.map((field) => [camelCase(field.name), randomField(schema, field.type, random)]));
}

function randomField(schema: Schema, type: FieldType, random: Random): Value {
  switch (type.kind) {
    case 'scalar':
      return randomScalar(type.scalar, random);
    case 'string':
      return random.pick(TEXTS);
    case 'struct':
      return randomStruct(schema, type.name, random);
    case 'table':
      return randomTable(schema, type.name, random);
    case 'array':
      return randomArray(schema, type, random);
    case 'vector':
      return Array.from({ length: random.below(4) }, () => randomField(schema, type.element, random));
  }
}

function randomArray(schema: Schema, { element, length }: ArrayType, random: Random): Value {
  if (element.kind === 'scalar' && element.scalar === 'uint8') return random.bytes(length);
  return Array.from({ length }, () => randomField(schema, element satisfies ScalarType | NamedType, random));
}

function randomScalar(scalar: ScalarName, random: Random): Value {
  if (scalar === 'bool') return random.chance(0.5);
  if (scalar === 'float32' || scalar === 'float64') return random.below(2 ** 20) / 8 - 1000;
  const bits = Number(scalar.replace(/\D/g, ''));
  const wide = (BigInt(random.uint32()) << 32n) | BigInt(random.uint32());
  const value = random.chance(0.2)
    ? 0n
    : scalar.startsWith('u')
      ? BigInt.asUintN(bits, wide)
      : BigInt.asIntN(bits, wide);
  return bits === 64 ? value : Number(value);
}

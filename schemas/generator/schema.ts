// The schema as the writers see it, read from flatc's binary schema (reflection.fbs of FlatBuffers 25). Only what our schemas use is
// understood; everything else (unions, maps, 64-bit offsets) is refused here, so that no writer meets it.
import { ByteBuffer } from 'flatbuffers';

export type ScalarName =
  | 'bool'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'float32'
  | 'float64';

export interface ScalarType {
  kind: 'scalar';
  scalar: ScalarName;
  /** Name of the enum that the values are taken from. */
  enumName?: string;
}
export interface NamedType {
  kind: 'struct' | 'table';
  name: string;
}
export interface ArrayType {
  kind: 'array';
  element: ScalarType | NamedType;
  length: number;
}
export interface VectorType {
  kind: 'vector';
  element: ScalarType | NamedType | { kind: 'string' };
}
export type FieldType = ScalarType | NamedType | ArrayType | VectorType | { kind: 'string' };

export interface Field<Type = FieldType> {
  name: string;
  doc: string[];
  type: Type;
  /** Structs: byte offset. Tables: offset of the entry in the vtable, 4 for the first field. */
  offset: number;
  required: boolean;
  /** Of a scalar of a table: stands for an absent value. */
  defaultValue: bigint | number;
}
export interface Struct {
  name: string;
  doc: string[];
  fields: Field<ScalarType | NamedType | ArrayType>[];
  /** Bytes. */
  size: number;
  align: number;
}
export interface Table {
  name: string;
  doc: string[];
  fields: Field[];
}
export interface Enum {
  name: string;
  doc: string[];
  scalar: ScalarName;
  values: { name: string; value: bigint; doc: string[] }[];
}
export interface Schema {
  /** File name without `.fbs`. */
  name: string;
  namespace: string;
  enums: Enum[];
  structs: Map<string, Struct>;
  tables: Table[];
}

/** The struct that a type names; fields refer to structs of their own schema only. */
export function structOf(structs: Map<string, Struct>, name: string): Struct {
  const struct = structs.get(name);
  if (struct === undefined) throw new Error(`no struct ${name} in this schema`);
  return struct;
}

/** BaseType of reflection.fbs, scalars only. */
const SCALARS = new Map<number, ScalarName>([
  [2, 'bool'],
  [3, 'int8'],
  [4, 'uint8'],
  [5, 'int16'],
  [6, 'uint16'],
  [7, 'int32'],
  [8, 'uint32'],
  [9, 'int64'],
  [10, 'uint64'],
  [11, 'float32'],
  [12, 'float64'],
]);
const BASE_TYPE = { string: 13, vector: 14, object: 15, array: 17 } as const;

export const SCALAR_SIZE: Record<ScalarName, number> = {
  bool: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  float32: 4,
  int64: 8,
  uint64: 8,
  float64: 8,
};

/** Reads a binary schema; declarations come in the order of `source`, because flatc sorts them by name. */
export function readSchema(name: string, binarySchema: Uint8Array, source: string): Schema {
  const buffer = new ByteBuffer(binarySchema);
  const root = new Reader(buffer, buffer.readInt32(0));
  const order = (item: { name: string }): number => source.search(new RegExp(`\\b(struct|table|enum) ${item.name}\\b`));
  const inSourceOrder = <Item extends { name: string }>(items: Item[]): Item[] =>
    items.sort((a, b) => order(a) - order(b));

  const objects = root.tables(4);
  const names = {
    objects: objects.map(readObjectName),
    enums: root.tables(6).map((item) => localName(item.string(4))),
  };
  const structs = objects.filter((object) => object.bool(8)).map((object) => readStruct(object, names));
  const tables = objects.filter((object) => !object.bool(8)).map((object) => readTable(object, names));
  return {
    name,
    namespace: namespaceOf(objects[0].string(4)),
    enums: inSourceOrder(root.tables(6).map(readEnum)),
    structs: new Map(inSourceOrder(structs).map((struct) => [struct.name, struct])),
    tables: inSourceOrder(tables),
  };
}

interface Names {
  objects: NamedType[];
  enums: string[];
}

function readObjectName(object: Reader): NamedType {
  return { kind: object.bool(8) ? 'struct' : 'table', name: localName(object.string(4)) };
}

function readStruct(object: Reader, names: Names): Struct {
  const struct: Struct = {
    name: localName(object.string(4)),
    doc: object.strings(16),
    fields: [],
    size: object.int32(12),
    align: object.int32(10),
  };
  for (const field of readFields(object, names)) {
    const { type } = field;
    if (type.kind === 'string' || type.kind === 'vector')
      throw new Error(`${struct.name}.${field.name}: not a fixed size`);
    struct.fields.push({ ...field, type });
  }
  return struct;
}

function readTable(object: Reader, names: Names): Table {
  return { name: localName(object.string(4)), doc: object.strings(16), fields: readFields(object, names) };
}

function readFields(object: Reader, names: Names): Field[] {
  return object
    .tables(6)
    .map((field) => ({
      name: field.string(4),
      doc: field.strings(24),
      type: readType(field.table(6), names, field.string(4)),
      offset: field.uint16(10),
      required: field.bool(18),
      defaultValue: field.float64(14) === 0 ? field.int64(12) : field.float64(14),
    }))
    .sort((a, b) => a.offset - b.offset);
}

function readType(type: Reader, names: Names, field: string): FieldType {
  const index = type.int32(8, -1);
  switch (type.int8(4)) {
    case BASE_TYPE.string:
      return { kind: 'string' };
    case BASE_TYPE.vector: {
      if (type.int8(6) === BASE_TYPE.string) return { kind: 'vector', element: { kind: 'string' } };
      return { kind: 'vector', element: readElement(type.int8(6), index, names, field) };
    }
    case BASE_TYPE.array:
      return { kind: 'array', element: readElement(type.int8(6), index, names, field), length: type.uint16(10) };
    default:
      return readElement(type.int8(4), index, names, field);
  }
}

function readElement(baseType: number, index: number, names: Names, field: string): ScalarType | NamedType {
  if (baseType === BASE_TYPE.object) return names.objects[index];
  const scalar = SCALARS.get(baseType);
  if (scalar === undefined) throw new Error(`field ${field}: FlatBuffers base type ${baseType} is not supported here`);
  return { kind: 'scalar', scalar, enumName: index < 0 ? undefined : names.enums[index] };
}

function readEnum(item: Reader): Enum {
  const scalar = SCALARS.get(item.table(10).int8(4));
  if (scalar === undefined || item.bool(8)) throw new Error(`enum ${item.string(4)}: unions are not supported here`);
  const values = item
    .tables(6)
    .map((value) => ({ name: value.string(4), value: value.int64(6), doc: value.strings(12) }));
  return { name: localName(item.string(4)), doc: item.strings(14), scalar, values };
}

function localName(qualified: string): string {
  return qualified.slice(qualified.lastIndexOf('.') + 1);
}

function namespaceOf(qualified: string): string {
  return qualified.slice(0, qualified.lastIndexOf('.'));
}

/** One table of a trusted FlatBuffer; `slot` is the offset of the entry in the vtable. */
class Reader {
  #buffer: ByteBuffer;
  #position: number;

  constructor(buffer: ByteBuffer, position: number) {
    this.#buffer = buffer;
    this.#position = position;
  }

  #field(slot: number): number {
    const offset = this.#buffer.__offset(this.#position, slot);
    return offset === 0 ? 0 : this.#position + offset;
  }

  int8(slot: number): number {
    const at = this.#field(slot);
    return at === 0 ? 0 : this.#buffer.readInt8(at);
  }

  bool(slot: number): boolean {
    return this.int8(slot) !== 0;
  }

  uint16(slot: number): number {
    const at = this.#field(slot);
    return at === 0 ? 0 : this.#buffer.readUint16(at);
  }

  int32(slot: number, absent = 0): number {
    const at = this.#field(slot);
    return at === 0 ? absent : this.#buffer.readInt32(at);
  }

  int64(slot: number): bigint {
    const at = this.#field(slot);
    return at === 0 ? 0n : this.#buffer.readInt64(at);
  }

  float64(slot: number): number {
    const at = this.#field(slot);
    return at === 0 ? 0 : this.#buffer.readFloat64(at);
  }

  string(slot: number): string {
    return textOf(this.#buffer.__string(this.#field(slot)));
  }

  table(slot: number): Reader {
    return new Reader(this.#buffer, this.#buffer.__indirect(this.#field(slot)));
  }

  tables(slot: number): Reader[] {
    return this.#elements(slot).map((at) => new Reader(this.#buffer, this.#buffer.__indirect(at)));
  }

  /** Documentation lines: flatc keeps the space after the slashes. */
  strings(slot: number): string[] {
    return this.#elements(slot).map((at) => textOf(this.#buffer.__string(at)).trim());
  }

  #elements(slot: number): number[] {
    const at = this.#field(slot);
    if (at === 0) return [];
    const start = this.#buffer.__vector(at);
    return Array.from({ length: this.#buffer.__vector_len(at) }, (_, index) => start + index * 4);
  }
}

function textOf(text: string | Uint8Array): string {
  return typeof text === 'string' ? text : new TextDecoder().decode(text);
}

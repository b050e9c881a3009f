// Fixed structs and enums for the host: sizes, offsets, and a reader and a writer over a DataView. 64-bit fields are bigint, byte
// arrays are copies, padding is written as 0 and not read. The data plane does not pass here: it stays in WASM memory.
import { sizeOf } from './layouts.ts';
import { camelCase, docComment, generatedFrom, isPadding, upperSnakeCase } from './names.ts';
import {
  type ArrayType,
  type Enum,
  type Field,
  type NamedType,
  SCALAR_SIZE,
  type ScalarName,
  type ScalarType,
  type Schema,
  type Struct,
} from './schema.ts';

export const VIEW_METHOD: Record<ScalarName, string> = {
  bool: 'Uint8',
  uint8: 'Uint8',
  uint16: 'Uint16',
  uint32: 'Uint32',
  uint64: 'BigUint64',
  int8: 'Int8',
  int16: 'Int16',
  int32: 'Int32',
  int64: 'BigInt64',
  float32: 'Float32',
  float64: 'Float64',
};

export function writeTsLayout(schema: Schema): string {
  return [
    `// ${generatedFrom(`${schema.name}.fbs`)}`,
    '',
    ...schema.enums.map(writeTsEnum),
    ...[...schema.structs.values()].map((struct) => writeTsStruct(struct, schema.structs)),
    ...(hasBytes(schema) ? [WRITE_BYTES] : []),
  ].join('\n');
}

const WRITE_BYTES = `function writeBytes(view: DataView, offset: number, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new RangeError(\`\${bytes.length} bytes for a field of \${length}\`);
  new Uint8Array(view.buffer, view.byteOffset + offset, length).set(bytes);
}
`;

function hasBytes(schema: Schema): boolean {
  const fields = [...schema.structs.values()].flatMap((struct) => struct.fields);
  return fields.some((field) => field.type.kind === 'array' && isBytes(field.type) && !isPadding(field));
}

function writeTsEnum(item: Enum): string {
  const wide = SCALAR_SIZE[item.scalar] === 8;
  const values = item.values.map(
    (value) => `${docComment(value.doc, '  ')}  ${value.name}: ${value.value}${wide ? 'n' : ''},\n`,
  );
  return (
    `${docComment(item.doc)}export const ${item.name} = {\n${values.join('')}} as const;\n` +
    `export type ${item.name} = (typeof ${item.name})[keyof typeof ${item.name}];\n`
  );
}

type StructField = Field<ScalarType | NamedType | ArrayType>;

function writeTsStruct(struct: Struct, structs: Map<string, Struct>): string {
  const { name } = struct;
  const fields = struct.fields.filter((field) => !isPadding(field));
  const types = fields.map(
    (field) => `${docComment(field.doc, '  ')}  ${camelCase(field.name)}: ${tsType(field.type)};\n`,
  );
  const offsets = struct.fields.map((field) => `  ${camelCase(field.name)}: ${field.offset},\n`);
  const reads = fields.map((field) => `    ${camelCase(field.name)}: ${readExpression(field, structs)},\n`);
  const writes = struct.fields.map((field) => `  ${writeStatement(field, structs)}\n`);
  return [
    `${docComment(struct.doc)}export interface ${name} {\n${types.join('')}}\n`,
    `/** Bytes. */\nexport const ${upperSnakeCase(name)}_SIZE = ${struct.size};\n`,
    `/** Byte offset of each field. */\nexport const ${upperSnakeCase(name)}_OFFSET = {\n${offsets.join('')}} as const;\n`,
    `export function read${name}(view: DataView, offset: number): ${name} {\n  return {\n${reads.join('')}  };\n}\n`,
    `export function write${name}(view: DataView, offset: number, value: ${name}): void {\n${writes.join('')}}\n`,
  ].join('\n');
}

export function tsType(type: ScalarType | NamedType | ArrayType): string {
  if (type.kind === 'array') return isBytes(type) ? 'Uint8Array' : `${tsType(type.element)}[]`;
  if (type.kind !== 'scalar') return type.name;
  if (type.scalar === 'bool') return 'boolean';
  return SCALAR_SIZE[type.scalar] === 8 && type.scalar !== 'float64' ? 'bigint' : 'number';
}

function isBytes({ element }: ArrayType): boolean {
  return element.kind === 'scalar' && element.scalar === 'uint8';
}

function at(offset: number, addend = ''): string {
  return `offset${offset === 0 ? '' : ` + ${offset}`}${addend}`;
}

function readExpression({ type, offset }: StructField, structs: Map<string, Struct>): string {
  if (type.kind !== 'array') return readElement(type, at(offset));
  if (isBytes(type)) return `new Uint8Array(view.buffer, view.byteOffset + ${at(offset)}, ${type.length}).slice()`;
  const stride = sizeOf(type.element, structs);
  return `Array.from({ length: ${type.length} }, (_, index) => ${readElement(type.element, at(offset, ` + index * ${stride}`))})`;
}

function readElement(type: ScalarType | NamedType, position: string): string {
  if (type.kind !== 'scalar') return `read${type.name}(view, ${position})`;
  const read = `view.get${VIEW_METHOD[type.scalar]}(${position}${SCALAR_SIZE[type.scalar] === 1 ? '' : ', true'})`;
  return type.scalar === 'bool' ? `${read} !== 0` : read;
}

function writeStatement(field: StructField, structs: Map<string, Struct>): string {
  const { type, offset } = field;
  const value = `value.${camelCase(field.name)}`;
  if (isPadding(field)) return writePadding(type, offset, structs);
  if (type.kind !== 'array') return writeElement(type, at(offset), value);
  if (isBytes(type)) return `writeBytes(view, ${at(offset)}, ${value}, ${type.length});`;
  const stride = sizeOf(type.element, structs);
  const element = writeElement(type.element, at(offset, ` + index * ${stride}`), `${value}[index]`);
  return `for (let index = 0; index < ${type.length}; index++) ${element}`;
}

function writeElement(type: ScalarType | NamedType, position: string, value: string): string {
  if (type.kind !== 'scalar') return `write${type.name}(view, ${position}, ${value});`;
  const number = type.scalar === 'bool' ? `${value} ? 1 : 0` : value;
  return `view.set${VIEW_METHOD[type.scalar]}(${position}, ${number}${SCALAR_SIZE[type.scalar] === 1 ? '' : ', true'});`;
}

function writePadding(type: StructField['type'], offset: number, structs: Map<string, Struct>): string {
  const size = type.kind === 'array' ? type.length * sizeOf(type.element, structs) : 0;
  if (type.kind === 'array') return `new Uint8Array(view.buffer, view.byteOffset + ${at(offset)}, ${size}).fill(0);`;
  return writeElement(type, at(offset), type.kind === 'scalar' && tsType(type) === 'bigint' ? '0n' : '0');
}

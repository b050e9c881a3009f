// Tables for the host: a plain object per table, `encode` and `decode` around flatc's classes, and the layout that verify-table.ts
// walks before anything is decoded. Optional vectors and strings that are absent are undefined, which is not the same as empty.

import { batchItemOf } from './batches.ts';
import { sizeAndAlign } from './layouts.ts';
import { camelCase, docComment, generatedFrom, isPadding, kebabCase, pascalCase, upperSnakeCase } from './names.ts';
import {
  type ArrayType,
  type Field,
  type FieldType,
  type NamedType,
  type ScalarType,
  type Schema,
  type Struct,
  structOf,
  type Table,
} from './schema.ts';
import { tsType } from './ts-layout.ts';

/** Tables that are not batches, nested tables before those that hold them. */
export function textTables({ tables, structs }: Schema): Table[] {
  const byName = new Map(tables.map((table) => [table.name, table]));
  const ordered = new Set<Table>();
  const visit = (table: Table, above: Table[]): void => {
    if (above.includes(table)) throw new Error(`table ${table.name} contains itself`);
    for (const { type } of table.fields) {
      const nested = type.kind === 'vector' ? type.element : type;
      const found = nested.kind === 'table' ? byName.get(nested.name) : undefined;
      if (found !== undefined) visit(found, [...above, table]);
    }
    ordered.add(table);
  };
  for (const table of tables) if (batchItemOf(table, structs) === undefined) visit(table, []);
  return [...ordered];
}

/** Where flatc writes the class of a type, without extension. */
export function flatcPath(namespace: string, typeName: string): string {
  return `${namespace.replaceAll('.', '/')}/${kebabCase(typeName)}`;
}

export function writeTsTables(schema: Schema): string {
  const tables = textTables(schema);
  const structs = structsOf(tables, schema.structs);
  const body = tables.map((table) => writeTable(table, schema.structs)).join('\n');
  return [
    `// ${generatedFrom(`${schema.name}.fbs`)}`,
    `import { Builder, ByteBuffer } from 'flatbuffers';`,
    `import { type TableLayout, verifyTable } from '../verify-table.ts';`,
    ...tables.map(({ name }) => `import { ${name} as ${name}Table } from './${flatcPath(schema.namespace, name)}.js';`),
    ...[...structs].map(
      ({ name }) => `import { ${name} as ${name}Struct } from './${flatcPath(schema.namespace, name)}.js';`,
    ),
    ...[...structs].map(({ name }) => `import { type ${name}, read${name} } from './${schema.name}-layout.ts';`),
    '',
    body,
    FINISH,
    ...(structs.size > 0 ? [VIEW_OF] : []),
  ].join('\n');
}

const FINISH = `/** The finished message in memory of its own, padded to 8 bytes. */
function finish(builder: Builder, root: number): Uint8Array<ArrayBuffer> {
  builder.finish(root);
  const bytes = builder.asUint8Array();
  const message = new Uint8Array(Math.ceil(bytes.length / 8) * 8);
  message.set(bytes);
  return message;
}
`;

const VIEW_OF = `function viewOf(buffer: ByteBuffer): DataView {
  const bytes = buffer.bytes();
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
`;

function structsOf(tables: Table[], structs: Map<string, Struct>): Set<Struct> {
  const types = tables.flatMap((table) =>
    table.fields.map(({ type }) => (type.kind === 'vector' ? type.element : type)),
  );
  return new Set(types.flatMap((type) => (type.kind === 'struct' ? [structOf(structs, type.name)] : [])));
}

function writeTable(table: Table, structs: Map<string, Struct>): string {
  const { name } = table;
  const layout = `${upperSnakeCase(name)}_LAYOUT`;
  const layoutFields = table.fields.map((field) => `  ${layoutOf(field, structs)},\n`);
  const members = table.fields.map((field) => `${docComment(field.doc, '  ')}  ${member(field)};\n`);
  return [
    `${docComment(table.doc)}export interface ${name} {\n${members.join('')}}\n`,
    `export const ${layout}: TableLayout = [\n${layoutFields.join('')}];\n`,
    `export function encode${name}(value: ${name}): Uint8Array<ArrayBuffer> {\n` +
      `  const builder = new Builder(1024);\n  return finish(builder, add${name}(builder, value));\n}\n`,
    `/** Undefined when \`bytes\`, from an untrusted sender, are not such a message. */\n` +
      `export function decode${name}(bytes: Uint8Array): ${name} | undefined {\n` +
      `  if (!verifyTable(bytes, ${layout})) return undefined;\n` +
      `  return read${name}(${name}Table.getRootAs${name}(new ByteBuffer(bytes)));\n}\n`,
    writeAdd(table, structs),
    writeRead(table),
  ].join('\n');
}

/** Scalars always have a value: the default stands for an absent one. */
function mayBeAbsent({ type, required }: Field): boolean {
  return !required && type.kind !== 'scalar';
}

function member(field: Field): string {
  const type = memberType(field.type);
  return mayBeAbsent(field) ? `${camelCase(field.name)}?: ${type} | undefined` : `${camelCase(field.name)}: ${type}`;
}

function memberType(type: FieldType): string {
  if (type.kind === 'string') return 'string';
  if (type.kind === 'vector') return `${memberType(type.element)}[]`;
  return tsType(type);
}

function layoutOf({ type, offset, required }: Field, structs: Map<string, Struct>): string {
  const common = `slot: ${offset}, required: ${required}`;
  const sized = (kind: string, item: FieldType): string => {
    const { size, align } = sizeAndAlign(item, structs);
    return `{ kind: '${kind}', ${common}, size: ${size}, align: ${align} }`;
  };
  const nested = (kind: string, name: string): string =>
    `{ kind: '${kind}', ${common}, layout: ${upperSnakeCase(name)}_LAYOUT }`;
  if (type.kind === 'string') return `{ kind: 'string', ${common} }`;
  if (type.kind === 'table') return nested('table', type.name);
  if (type.kind !== 'vector') return sized('inline', type);
  if (type.element.kind === 'string') return `{ kind: 'strings', ${common} }`;
  return type.element.kind === 'table' ? nested('tables', type.element.name) : sized('vector', type.element);
}

/** Everything that is not inline must be complete before its table begins. */
function writeAdd({ name, fields }: Table, structs: Map<string, Struct>): string {
  const offsets = fields.filter(({ type }) => !isInline(type));
  const before = offsets.map((field) => {
    const value = `value.${camelCase(field.name)}`;
    const absent = mayBeAbsent(field) ? `${value} === undefined ? 0 : ` : '';
    return `  const ${camelCase(field.name)} = ${absent}${offsetExpression(name, field, value, structs)};\n`;
  });
  const inside = fields.map((field) => `  ${addStatement(name, field, structs)}\n`);
  return (
    `function add${name}(builder: Builder, value: ${name}): number {\n${before.join('')}` +
    `  ${name}Table.start${name}(builder);\n${inside.join('')}  return ${name}Table.end${name}(builder);\n}\n`
  );
}

function isInline(type: FieldType): type is ScalarType | NamedType {
  return type.kind === 'scalar' || type.kind === 'struct';
}

function offsetExpression(table: string, field: Field, value: string, structs: Map<string, Struct>): string {
  const { type } = field;
  if (type.kind === 'string') return `builder.createString(${value})`;
  if (type.kind === 'table') return `add${type.name}(builder, ${value})`;
  if (type.kind !== 'vector') throw new Error(`${field.name}: an inline field has no offset`);
  const create = `${table}Table.create${pascalCase(field.name)}Vector(builder, `;
  if (type.element.kind === 'scalar') return `${create}${value})`;
  if (type.element.kind === 'string') return `${create}${value}.map((text) => builder.createString(text)))`;
  if (type.element.kind === 'table') return `${create}${value}.map((item) => add${type.element.name}(builder, item)))`;
  return structVector(type.element.name, value, structs);
}

/** Built from the last item to the first, as the builder fills its memory from the end. */
function structVector(name: string, value: string, structs: Map<string, Struct>): string {
  const { size, align } = structOf(structs, name);
  return (
    `((items: readonly ${name}[]) => {\n    builder.startVector(${size}, items.length, ${align});\n` +
    `    for (const item of items.toReversed()) ${createStruct(name, 'item', structs)};\n` +
    `    return builder.endVector();\n  })(${value})`
  );
}

function addStatement(table: string, field: Field, structs: Map<string, Struct>): string {
  const name = camelCase(field.name);
  const add = `${table}Table.add${pascalCase(field.name)}(builder, `;
  if (field.type.kind === 'scalar') return `${add}value.${name});`;
  if (field.type.kind === 'struct') {
    const present = `${add}${createStruct(field.type.name, `value.${name}`, structs)});`;
    return field.required ? present : `if (value.${name} !== undefined) ${present}`;
  }
  return mayBeAbsent(field) ? `if (${name} !== 0) ${add}${name});` : `${add}${name});`;
}

function createStruct(name: string, value: string, structs: Map<string, Struct>): string {
  return `${name}Struct.create${name}(builder, ${structArguments(structOf(structs, name), value, structs).join(', ')})`;
}

/** flatc takes the fields of nested structs one after another. */
function structArguments(struct: Struct, value: string, structs: Map<string, Struct>): string[] {
  return struct.fields.flatMap((field): string[] => {
    const member = `${value}.${camelCase(field.name)}`;
    if (field.type.kind === 'struct') return structArguments(structOf(structs, field.type.name), member, structs);
    if (field.type.kind === 'array') return [arrayArgument(field.type, member, isPadding(field))];
    if (!isPadding(field)) return [member];
    return [tsType(field.type) === 'bigint' ? '0n' : '0'];
  });
}

function arrayArgument(type: ArrayType, member: string, padding: boolean): string {
  if (type.element.kind !== 'scalar') throw new Error('an array of structs inside a table is not supported here');
  return padding ? 'null' : `Array.from(${member})`;
}

function writeRead({ name, fields }: Table): string {
  const members = fields.map((field) => `    ${camelCase(field.name)}: ${readExpression(field)},\n`);
  return `function read${name}(table: ${name}Table): ${name} {\n  return {\n${members.join('')}  };\n}\n`;
}

function readExpression(field: Field): string {
  const name = camelCase(field.name);
  const { type } = field;
  if (type.kind === 'scalar') return `table.${name}()`;
  if (type.kind === 'string') return field.required ? `table.${name}()!` : `table.${name}() ?? undefined`;
  if (type.kind === 'vector') {
    const items = `Array.from({ length: table.${name}Length() }, (_, index) => ${itemExpression(type.element, `table.${name}(index)!`)})`;
    return field.required ? items : `table.bb!.__offset(table.bb_pos, ${field.offset}) === 0 ? undefined : ${items}`;
  }
  const present = itemExpression(type, `table.${name}()!`);
  return field.required ? present : `table.${name}() === null ? undefined : ${present}`;
}

function itemExpression(type: FieldType, item: string): string {
  if (type.kind === 'table') return `read${type.name}(${item})`;
  if (type.kind === 'struct') return `read${type.name}(viewOf(table.bb!), ${item}.bb_pos)`;
  return item;
}

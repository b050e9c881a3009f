// Tables in AssemblyScript: a walk that verifies a message of an untrusted sender, and a view that reads it afterwards. The checks
// and the loads themselves are in wasm-modules/assembly/lib. Batches need neither: lib/struct-batch.ts treats all of them alike.

import { AS_TYPE } from './as-enums.ts';
import { batchItemOf } from './batches.ts';
import { sizeAndAlign } from './layouts.ts';
import { camelCase, docComment } from './names.ts';
import { type Field, SCALAR_SIZE, type Schema, type Struct, structOf, type Table } from './schema.ts';

/** Imports and classes of all tables, or nothing when the schema has none. */
export function writeAsTables(schema: Schema): { imports: string; tables: string } {
  const tables = schema.tables.filter((table) => batchItemOf(table, schema.structs) === undefined);
  const text = tables
    .map((table) => `${writeVerifier(table, schema.structs)}\n${writeView(table, schema.structs)}`)
    .join('\n');
  return { tables: text, imports: ['read', 'verify'].map((part) => importLine(part, text)).join('') };
}

const LIBRARY: Record<string, string[]> = {
  read: ['fieldOf', 'follow', 'itemsOf'],
  verify: [
    'checkInline',
    'checkString',
    'checkStrings',
    'checkTable',
    'checkTables',
    'checkVector',
    'enterTable',
    'openMessage',
  ],
};

function importLine(part: string, text: string): string {
  const used = LIBRARY[part].filter((name) => new RegExp(`\\b${name}\\(`).test(text));
  return used.length === 0 ? '' : `import { ${used.join(', ')} } from "../lib/flatbuffer-${part}";\n`;
}

function writeVerifier({ name, fields }: Table, structs: Map<string, Struct>): string {
  const checks = fields.map((field) => ` &&\n    ${writeCheck(field, structs)}`);
  return (
    `/** True when the \`length\` bytes at the 8-aligned \`base\` hold the table ${name} and may be read. */\n` +
    `export function verify${name}(base: usize, length: u32): bool {\n` +
    `  const root = openMessage(base, length);\n  return root !== 0 && check${name}(root);\n}\n\n` +
    `function check${name}(table: u32): bool {\n` +
    `  const vtable = enterTable(table);\n  return (\n    vtable !== 0${checks.join('')}\n  );\n}\n`
  );
}

function writeCheck({ type, offset, required }: Field, structs: Map<string, Struct>): string {
  const where = `table, vtable, ${offset}`;
  switch (type.kind) {
    case 'scalar':
    case 'struct': {
      const { size, align } = sizeAndAlign(type, structs);
      return `checkInline(${where}, ${size}, ${align}, ${required})`;
    }
    case 'string':
      return `checkString(${where}, ${required})`;
    case 'table':
      return `checkTable(${where}, ${required}, check${type.name})`;
    case 'vector': {
      if (type.element.kind === 'string') return `checkStrings(${where}, ${required})`;
      if (type.element.kind === 'table') return `checkTables(${where}, ${required}, check${type.element.name})`;
      const { size, align } = sizeAndAlign(type.element, structs);
      return `checkVector(${where}, ${size}, ${align}, ${required})`;
    }
    case 'array':
      throw new Error('FlatBuffers has no arrays in tables');
  }
}

function writeView({ name, doc, fields }: Table, structs: Map<string, Struct>): string {
  const root =
    `  /** The root table of a message that \`verify${name}\` accepted. */\n` +
    `  static root(base: usize): ${name} {\n    return changetype<${name}>(follow(base));\n  }\n`;
  const getters = fields.map((field) => `\n${writeGetter(field, structs)}`);
  return `${docComment([...doc, ABOUT_VIEW])}@unmanaged\nexport class ${name} {\n${root}${getters.join('')}}\n`;
}

function writeGetter(field: Field, structs: Map<string, Struct>): string {
  const { type, offset } = field;
  const name = camelCase(field.name);
  const self = 'changetype<usize>(this)';
  switch (type.kind) {
    case 'scalar': {
      const scalar = AS_TYPE[type.scalar];
      const value = type.scalar === 'bool' ? `${field.defaultValue === 1n}` : `${field.defaultValue}`;
      return getter(field.doc, name, scalar, [
        `const field = fieldOf(${self}, ${offset});`,
        `return field === 0 ? ${value} : load<${scalar}>(field);`,
      ]);
    }
    case 'string':
      return getter(field.doc, name, 'usize', [`return itemsOf(${self}, ${offset});`]);
    case 'struct':
      return getter(field.doc, name, type.name, [`return changetype<${type.name}>(fieldOf(${self}, ${offset}));`]);
    case 'table':
      return getter(field.doc, name, type.name, [
        `const field = fieldOf(${self}, ${offset});`,
        `return changetype<${type.name}>(field === 0 ? 0 : follow(field));`,
      ]);
    case 'vector': {
      const items = getter(field.doc, name, 'usize', [`return itemsOf(${self}, ${offset});`]);
      return `${items}\n${writeItemGetter(name, type.element, structs)}`;
    }
    case 'array':
      throw new Error('FlatBuffers has no arrays in tables');
  }
}

const ABOUT_VIEW =
  'Text and vectors are the address of their first byte or item, 0 = absent; countOf() tells how many there are.';

function getter(doc: string[], name: string, type: string, lines: string[]): string {
  return `${docComment(doc, '  ')}  get ${name}(): ${type} {\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`;
}

type Element = Extract<Field['type'], { kind: 'vector' }>['element'];

/** Items by index, which must be less than countOf() of the vector. */
function writeItemGetter(name: string, element: Element, structs: Map<string, Struct>): string {
  const item = (type: string, expression: string): string =>
    `  ${name}At(index: u32): ${type} {\n    return ${expression};\n  }\n`;
  if (element.kind === 'scalar') {
    const type = AS_TYPE[element.scalar];
    return item(type, `load<${type}>(this.${name} + <usize>index * ${SCALAR_SIZE[element.scalar]})`);
  }
  if (element.kind === 'struct') {
    const { size } = structOf(structs, element.name);
    return item(element.name, `changetype<${element.name}>(this.${name} + <usize>index * ${size})`);
  }
  const address = `follow(this.${name} + <usize>index * 4)`;
  return element.kind === 'table'
    ? item(element.name, `changetype<${element.name}>(${address})`)
    : item('usize', `${address} + 4`);
}

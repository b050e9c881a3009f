// Fixed structs in AssemblyScript: an unmanaged class laid over linear memory. A nested struct is flattened (its fields get its name
// as prefix) and can also be taken as a view of its own class. A byte array becomes words where it is aligned for them.

import { AS_TYPE } from './as-enums.ts';
import { camelCase, docComment, pascalCase, upperSnakeCase } from './names.ts';
import { type ArrayType, SCALAR_SIZE, type Struct, structOf } from './schema.ts';

interface Member {
  name: string;
  type: string;
  offset: number;
  doc: string[];
}

export function writeAsStruct(struct: Struct, structs: Map<string, Struct>, source: string): string {
  const members = flatten(struct, structs, 0, '');
  const lines = members.map(
    (member) => `${docComment(member.doc, '  ')}  ${member.name}: ${member.type}; // ${member.offset}\n`,
  );
  const views = struct.fields.flatMap((field) => writeView(field));
  const message = JSON.stringify(`${struct.name} must match schemas/${source}`);
  const misplaced = members.map((member) => `offsetof<${struct.name}>("${member.name}") !== ${member.offset}`);
  return (
    `${docComment(struct.doc)}@unmanaged\nexport class ${struct.name} {\n${lines.join('')}${views.join('')}}\n\n` +
    `/** Bytes. */\nexport const ${upperSnakeCase(struct.name)}_SIZE: u32 = ${struct.size};\n\n` +
    `if (offsetof<${struct.name}>() !== ${struct.size}) ERROR(${message});\n` +
    misplaced.map((condition) => `if (${condition}) ERROR(${message});\n`).join('')
  );
}

function flatten(struct: Struct, structs: Map<string, Struct>, base: number, prefix: string): Member[] {
  return struct.fields.flatMap((field): Member[] => {
    const name = prefix === '' ? camelCase(field.name) : prefix + pascalCase(field.name);
    const offset = base + field.offset;
    if (field.type.kind === 'scalar') return [{ name, type: AS_TYPE[field.type.scalar], offset, doc: field.doc }];
    if (field.type.kind === 'array') return flattenArray(field.type, structs, { name, offset, doc: field.doc });
    return flatten(structOf(structs, field.type.name), structs, offset, name);
  });
}

function flattenArray(type: ArrayType, structs: Map<string, Struct>, at: Omit<Member, 'type'>): Member[] {
  const { element } = type;
  if (element.kind !== 'scalar') {
    const item = structOf(structs, element.name);
    return Array.from({ length: type.length }, (_, index) =>
      flatten(item, structs, at.offset + index * item.size, `${at.name}${index}`),
    ).flat();
  }
  if (isWords(type, at.offset)) return flattenBytes(type, at);
  return Array.from({ length: type.length }, (_, index) => ({
    name: `${at.name}${index}`,
    type: AS_TYPE[element.scalar],
    offset: at.offset + index * SCALAR_SIZE[element.scalar],
    doc: index === 0 ? at.doc : [],
  }));
}

function isWords({ element, length }: ArrayType, offset: number): boolean {
  return element.kind === 'scalar' && element.scalar === 'uint8' && length % 8 === 0 && offset % 8 === 0;
}

/** 16 bytes are an address: hi holds bytes 0..7 and lo bytes 8..15, both as loaded. Others are numbered words. */
function flattenBytes(type: ArrayType, at: Omit<Member, 'type'>): Member[] {
  const suffixes =
    type.length === 16 ? ['Hi', 'Lo'] : Array.from({ length: type.length / 8 }, (_, index) => `${index}`);
  return suffixes.map((suffix, index) => ({
    name: at.name + suffix,
    type: 'u64',
    offset: at.offset + index * 8,
    doc: index === 0 ? at.doc : [],
  }));
}

/** A view of a nested struct, or the address of an array. */
function writeView({ name, type, offset }: Struct['fields'][number]): string[] {
  const address = `changetype<usize>(this) + ${offset}`;
  if (type.kind === 'struct') {
    return [`\n  get ${camelCase(name)}(): ${type.name} {\n    return changetype<${type.name}>(${address});\n  }\n`];
  }
  if (type.kind !== 'array' || name === 'reserved') return [];
  return [
    `\n  /** Address of the ${type.length} elements. */\n  get ${camelCase(name)}(): usize {\n    return ${address};\n  }\n`,
  ];
}

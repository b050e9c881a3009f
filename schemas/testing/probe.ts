// Reads structs and tables through the generated AssemblyScript classes: a module with one export for each field, and a reader that
// follows the schema and builds the same plain objects as the generated TypeScript.

import { AS_TYPE } from '../generator/as-enums.ts';
import { batchItemOf } from '../generator/batches.ts';
import { camelCase, isPadding } from '../generator/names.ts';
import {
  type Field,
  type FieldType,
  SCALAR_SIZE,
  type ScalarName,
  type Schema,
  type Struct,
  structOf,
  type Table,
} from '../generator/schema.ts';
import { VIEW_METHOD } from '../generator/ts-layout.ts';
import type { Value } from './values.ts';

export function writeProbe(schema: Schema): string {
  const tables = schema.tables.filter((table) => batchItemOf(table, schema.structs) === undefined);
  return [
    `import * as gen from "./gen/${schema.name}";`,
    'export { countOf } from "./lib/flatbuffer-read";',
    'export { batchCount, batchItems, beginBatch, finishBatch } from "./lib/struct-batch";',
    ...tables.map((table) => `export { verify${table.name} } from "./gen/${schema.name}";`),
    ...[...schema.structs.values()].flatMap((struct) => probeStruct(struct)),
    ...tables.flatMap((table) => [
      `export function ${table.name}_root(base: usize): usize { return changetype<usize>(gen.${table.name}.root(base)); }`,
      ...table.fields.map((field) => probe(table, field)),
      ...table.fields.flatMap((field) => probeItem(table, field)),
    ]),
  ].join('\n');
}

function probeStruct(struct: Struct): string[] {
  return struct.fields.filter((field) => !isPadding(field)).map((field) => probe(struct, field));
}

function probe(owner: { name: string }, { name, type }: Field): string {
  const value = `changetype<gen.${owner.name}>(at).${camelCase(name)}`;
  return write(`${owner.name}_${name}`, '', type, value);
}

function probeItem(owner: Table, { name, type }: Field): string[] {
  if (type.kind !== 'vector') return [];
  const value = `changetype<gen.${owner.name}>(at).${camelCase(name)}At(index)`;
  return [write(`${owner.name}_${name}_at`, ', index: u32', type.element, value)];
}

function write(name: string, parameters: string, type: FieldType, value: string): string {
  const isView = type.kind === 'struct' || type.kind === 'table';
  const result = type.kind === 'scalar' ? AS_TYPE[type.scalar] : 'usize';
  return `export function ${name}(at: usize${parameters}): ${result} { return ${isView ? `changetype<usize>(${value})` : value}; }`;
}

type Call = (...inputs: number[]) => number | bigint;

/** A page: a module without static data has no memory to begin with. */
const MEMORY_BYTES_MIN = 65536;

export class ProbeReader {
  readonly memory: WebAssembly.Memory;
  #schema: Schema;
  #calls = new Map<string, Call>();

  constructor(schema: Schema, module: WebAssembly.Module) {
    const { exports } = new WebAssembly.Instance(module);
    if (!(exports.memory instanceof WebAssembly.Memory)) throw new Error('the probe exports no memory');
    this.memory = exports.memory;
    if (this.memory.buffer.byteLength < MEMORY_BYTES_MIN) this.memory.grow(1);
    this.#schema = schema;
    for (const [name, value] of Object.entries(exports)) {
      if (typeof value === 'function') this.#calls.set(name, (...inputs) => Reflect.apply(value, undefined, inputs));
    }
  }

  call(name: string, ...inputs: number[]): number {
    return Number(this.#call(name, inputs)) >>> 0;
  }

  #call(name: string, inputs: number[]): number | bigint {
    const call = this.#calls.get(name);
    if (call === undefined) throw new Error(`the probe has no ${name}`);
    return call(...inputs);
  }

  /** Puts bytes at the very end of linear memory, where a load beyond them traps; returns their address. */
  place(bytes: Uint8Array): number {
    const address = this.memory.buffer.byteLength - bytes.length;
    new Uint8Array(this.memory.buffer, address).set(bytes);
    return address;
  }

  readStruct(struct: Struct, at: number): Value {
    const fields = struct.fields.filter((field) => !isPadding(field));
    return Object.fromEntries(
      fields.map((field) => [camelCase(field.name), this.#read(`${struct.name}_${field.name}`, field.type, [at])]),
    );
  }

  readRoot(table: Table, base: number): Value {
    return this.#readTable(table, this.call(`${table.name}_root`, base));
  }

  #readTable(table: Table, at: number): Value {
    return Object.fromEntries(
      table.fields.map((field) => {
        const value = this.#read(`${table.name}_${field.name}`, field.type, [at]);
        return [camelCase(field.name), value];
      }),
    );
  }

  #read(name: string, type: FieldType, inputs: number[]): Value {
    const result = this.#call(name, inputs);
    if (type.kind === 'scalar') return fromWasm(type.scalar, result);
    const address = Number(result) >>> 0;
    if (address === 0) return undefined;
    switch (type.kind) {
      case 'string':
        return new TextDecoder().decode(
          new Uint8Array(this.memory.buffer, address, this.call('countOf', address)).slice(),
        );
      case 'struct':
        return this.readStruct(structOf(this.#schema.structs, type.name), address);
      case 'table':
        return this.#readTable(this.#tableOf(type.name), address);
      case 'vector':
        return Array.from({ length: this.call('countOf', address) }, (_, index) =>
          this.#read(`${name}_at`, type.element, [...inputs, index]),
        );
      case 'array':
        return this.#readArray(type, address);
    }
  }

  #readArray({ element, length }: Extract<FieldType, { kind: 'array' }>, address: number): Value {
    if (element.kind !== 'scalar') {
      const struct = structOf(this.#schema.structs, element.name);
      return Array.from({ length }, (_, index) => this.readStruct(struct, address + index * struct.size));
    }
    if (element.scalar === 'uint8') return new Uint8Array(this.memory.buffer, address, length).slice();
    const view = new DataView(this.memory.buffer);
    const size = SCALAR_SIZE[element.scalar];
    const read = VIEW_METHOD[element.scalar];
    if (read !== 'Int16') throw new Error(`arrays of ${element.scalar} have no test yet`);
    return Array.from({ length }, (_, index) => view.getInt16(address + index * size, true));
  }

  #tableOf(name: string): Table {
    const table = this.#schema.tables.find((item) => item.name === name);
    if (table === undefined) throw new Error(`no table ${name}`);
    return table;
  }
}

function fromWasm(scalar: ScalarName, value: number | bigint): Value {
  if (scalar === 'bool') return value !== 0;
  if (typeof value === 'bigint') return scalar === 'uint64' ? BigInt.asUintN(64, value) : value;
  return scalar === 'uint32' ? value >>> 0 : value;
}

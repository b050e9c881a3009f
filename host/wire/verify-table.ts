// Decides whether bytes from an untrusted sender are a FlatBuffer that may be read without further checks; the rules are those of
// wasm-modules/assembly/lib/flatbuffer-verify.ts, and a test holds the two against each other. gen/*-tables.ts describes the tables.
// Depth is bounded because the generator refuses tables that contain themselves; work is linear in the length because objects are
// paid for at each visit, also when many offsets share them.
import { isUtf8 } from 'node:buffer';

/** Visited bytes per byte of message. An honest sender needs 1, or less than 3 when it shares equal strings. */
const VISITED_BYTES_FACTOR = 4;

/** A field by its slot in the vtable. `inline` and `vector`: bytes and alignment of the value or of one item. */
export type FieldLayout = { slot: number; required: boolean } & (
  | { kind: 'inline' | 'vector'; size: number; align: number }
  | { kind: 'string' | 'strings' }
  | { kind: 'table' | 'tables'; layout: TableLayout }
);

export type TableLayout = readonly FieldLayout[];

/** What a lookup returns for a field that may not be read; undefined is a field that is absent. */
export const INVALID = -1;

interface Message {
  view: DataView;
  visitableBytes: number;
}

/** A table whose frame has been checked; positions are offsets from the start of the message. */
interface CheckedTable {
  message: Message;
  position: number;
  bytes: number;
  vtable: number;
  vtableBytes: number;
}

export function verifyTable(bytes: Uint8Array, layout: TableLayout): boolean {
  const table = rootTable(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  return table !== undefined && checkFields(table, layout);
}

/** The root table of a message, its fields not checked; undefined when there is none. */
export function rootTable(view: DataView): CheckedTable | undefined {
  const message = { view, visitableBytes: view.byteLength * VISITED_BYTES_FACTOR };
  const position = view.byteLength < 4 ? undefined : follow(message, 0);
  return position === undefined ? undefined : enterTable(message, position);
}

function enterTable(message: Message, position: number): CheckedTable | undefined {
  const { view } = message;
  const vtable = position - view.getInt32(position, true);
  if (vtable < 4 || vtable % 2 !== 0 || vtable + 4 > view.byteLength) return undefined;
  const vtableBytes = view.getUint16(vtable, true);
  const bytes = view.getUint16(vtable + 2, true);
  if (vtableBytes < 4 || vtableBytes % 2 !== 0 || vtable + vtableBytes > view.byteLength) return undefined;
  if (bytes < 4 || position + bytes > view.byteLength || !visit(message, bytes)) return undefined;
  return { message, position, bytes, vtable, vtableBytes };
}

function checkFields(table: CheckedTable, layout: TableLayout): boolean {
  return layout.every((field) => checkField(table, field));
}

function checkField(table: CheckedTable, field: FieldLayout): boolean {
  const at = locate(table, field);
  if (at === undefined) return !field.required;
  if (at === INVALID) return false;
  switch (field.kind) {
    case 'inline':
    case 'vector':
      return true;
    case 'string':
      return checkString(table.message, at);
    case 'strings':
      return everyOffset(table.message, at, (position) => checkString(table.message, position));
    case 'table':
      return checkNested(table.message, at, field.layout);
    case 'tables':
      return everyOffset(table.message, at, (position) => checkNested(table.message, position, field.layout));
  }
}

/** Position of an inline value, of an offset to one object, or of the length of a vector. */
function locate(table: CheckedTable, field: FieldLayout): number | undefined {
  switch (field.kind) {
    case 'inline':
      return findField(table, field.slot, field.size, field.align);
    case 'vector':
      return findVector(table, field.slot, field.size, field.align);
    case 'string':
    case 'table':
      return findField(table, field.slot, 4, 4);
    case 'strings':
    case 'tables':
      return findVector(table, field.slot, 4, 4);
  }
}

function findField(table: CheckedTable, slot: number, size: number, align: number): number | undefined {
  if (slot >= table.vtableBytes) return undefined;
  const offset = table.message.view.getUint16(table.vtable + slot, true);
  if (offset === 0) return undefined;
  if (offset < 4 || offset + size > table.bytes || (table.position + offset) % align !== 0) return INVALID;
  return table.position + offset;
}

/** Position of the length of a vector whose items are in bounds and aligned. */
export function findVector(table: CheckedTable, slot: number, size: number, align: number): number | undefined {
  const field = findField(table, slot, 4, 4);
  if (field === undefined || field === INVALID) return field;
  const { message } = table;
  const vector = follow(message, field);
  if (vector === undefined || (vector + 4) % align !== 0) return INVALID;
  const bytes = message.view.getUint32(vector, true) * size;
  return vector + 4 + bytes <= message.view.byteLength && visit(message, bytes + 4) ? vector : INVALID;
}

function everyOffset({ view }: Message, vector: number, check: (position: number) => boolean): boolean {
  const end = vector + 4 + view.getUint32(vector, true) * 4;
  for (let position = vector + 4; position < end; position += 4) {
    if (!check(position)) return false;
  }
  return true;
}

function checkNested(message: Message, offset: number, layout: TableLayout): boolean {
  const position = follow(message, offset);
  const table = position === undefined ? undefined : enterTable(message, position);
  return table !== undefined && checkFields(table, layout);
}

/** In bounds, NUL after the last byte, UTF-8. */
function checkString(message: Message, offset: number): boolean {
  const { view } = message;
  const string = follow(message, offset);
  if (string === undefined) return false;
  const bytes = view.getUint32(string, true);
  const end = string + 4 + bytes;
  if (end >= view.byteLength || !visit(message, bytes + 5) || view.getUint8(end) !== 0) return false;
  return isUtf8(new Uint8Array(view.buffer, view.byteOffset + string + 4, bytes));
}

/** Position that the offset at `position` leads to, with 4 bytes to read there; undefined when it leads nowhere. */
function follow({ view }: Message, position: number): number | undefined {
  const offset = view.getUint32(position, true);
  const target = position + offset;
  return offset !== 0 && target % 4 === 0 && target + 4 <= view.byteLength ? target : undefined;
}

function visit(message: Message, bytes: number): boolean {
  if (bytes > message.visitableBytes) return false;
  message.visitableBytes -= bytes;
  return true;
}

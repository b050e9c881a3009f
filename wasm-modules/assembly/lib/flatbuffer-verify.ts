// Decides whether bytes from an untrusted sender are a FlatBuffer that may be read without further checks. gen/*.ts walks the tables
// of a schema; this file checks one thing at a time. Positions are offsets from the start of the message, sums are taken in 64 bits,
// so nothing wraps, and nothing outside of [base, base + length) is loaded whatever the bytes are. Depth is bounded because the
// generator refuses tables that contain themselves; work is linear in the length because objects are paid for at each visit, also
// when many offsets share them.

/** Visited bytes per byte of message. An honest sender needs 1, or less than 3 when it shares equal strings. */
const VISITED_BYTES_FACTOR: u64 = 4;

/** What a lookup returns for a field that is not there, and for one that may not be read. Neither is a position of a field. */
const ABSENT: u32 = 0;
const INVALID: u32 = 0xffffffff;

let messageBase: usize = 0;
let messageLength: u64 = 0;
let visitableBytes: u64 = 0;

/** Starts a message at `base`; returns the position of its root table, or 0. One message is under verification at a time. */
export function openMessage(base: usize, length: u32): u32 {
  messageBase = base;
  messageLength = length;
  visitableBytes = messageLength * VISITED_BYTES_FACTOR;
  return length < 4 ? 0 : follow(0);
}

/** Checks the frame of the table at `table` (inside the message, 4-aligned); returns the position of its vtable, or 0. */
export function enterTable(table: u32): u32 {
  const vtable = <i64>table - <i64>load<i32>(messageBase + table);
  if (vtable < 4 || (vtable & 1) !== 0 || vtable + 4 > <i64>messageLength) return 0;
  const vtableBytes = <u32>load<u16>(messageBase + <usize>vtable);
  const tableBytes = <u32>load<u16>(messageBase + <usize>vtable, 2);
  if (vtableBytes < 4 || (vtableBytes & 1) !== 0 || !fits(<u64>vtable, vtableBytes)) return 0;
  if (tableBytes < 4 || !fits(table, tableBytes) || !visit(tableBytes)) return 0;
  return <u32>vtable;
}

/** A scalar or struct inside the table. */
export function checkInline(table: u32, vtable: u32, slot: u32, size: u32, align: u32, required: bool): bool {
  const field = findField(table, vtable, slot, size, align);
  return field === ABSENT ? !required : field !== INVALID;
}

/** A string: in bounds, NUL after its last byte, UTF-8. */
export function checkString(table: u32, vtable: u32, slot: u32, required: bool): bool {
  const field = findField(table, vtable, slot, 4, 4);
  if (field === ABSENT) return !required;
  return field !== INVALID && checkStringAt(field);
}

/** A vector of scalars or structs of `size` bytes. */
export function checkVector(table: u32, vtable: u32, slot: u32, size: u32, align: u32, required: bool): bool {
  const vector = findVector(table, vtable, slot, size, align);
  return vector === ABSENT ? !required : vector !== INVALID;
}

export function checkStrings(table: u32, vtable: u32, slot: u32, required: bool): bool {
  const vector = findVector(table, vtable, slot, 4, 4);
  if (vector === ABSENT) return !required;
  if (vector === INVALID) return false;
  const count = load<u32>(messageBase + vector);
  for (let index: u32 = 0; index < count; index++) {
    if (!checkStringAt(vector + 4 + index * 4)) return false;
  }
  return true;
}

/** A nested table; `check` is the walk of its type. */
export function checkTable(table: u32, vtable: u32, slot: u32, required: bool, check: (table: u32) => bool): bool {
  const field = findField(table, vtable, slot, 4, 4);
  if (field === ABSENT) return !required;
  if (field === INVALID) return false;
  const nested = follow(field);
  return nested !== 0 && check(nested);
}

export function checkTables(table: u32, vtable: u32, slot: u32, required: bool, check: (table: u32) => bool): bool {
  const vector = findVector(table, vtable, slot, 4, 4);
  if (vector === ABSENT) return !required;
  if (vector === INVALID) return false;
  const count = load<u32>(messageBase + vector);
  for (let index: u32 = 0; index < count; index++) {
    const nested = follow(vector + 4 + index * 4);
    if (nested === 0 || !check(nested)) return false;
  }
  return true;
}

function findField(table: u32, vtable: u32, slot: u32, size: u32, align: u32): u32 {
  if (slot >= <u32>load<u16>(messageBase + vtable)) return ABSENT;
  const offset = <u32>load<u16>(messageBase + vtable + slot);
  if (offset === 0) return ABSENT;
  const tableBytes = <u32>load<u16>(messageBase + vtable, 2);
  if (offset < 4 || offset + size > tableBytes) return INVALID;
  const field = table + offset;
  return (field & (align - 1)) === 0 ? field : INVALID;
}

/** Position of the length of a vector whose items are in bounds and aligned. */
function findVector(table: u32, vtable: u32, slot: u32, size: u32, align: u32): u32 {
  const field = findField(table, vtable, slot, 4, 4);
  if (field === ABSENT || field === INVALID) return field;
  const vector = follow(field);
  if (vector === 0 || ((vector + 4) & (align - 1)) !== 0) return INVALID;
  const bytes = <u64>load<u32>(messageBase + vector) * size;
  return fits(<u64>vector + 4, bytes) && visit(bytes + 4) ? vector : INVALID;
}

function checkStringAt(position: u32): bool {
  const string = follow(position);
  if (string === 0) return false;
  const bytes = <u64>load<u32>(messageBase + string);
  if (!fits(<u64>string + 4, bytes + 1) || !visit(bytes + 5)) return false;
  const start = messageBase + string + 4;
  const end = start + <usize>bytes;
  return load<u8>(end) === 0 && isUtf8(start, end);
}

/** Position that the offset at `position` leads to, with 4 bytes to read there; 0 when it leads nowhere. */
function follow(position: u32): u32 {
  const offset = load<u32>(messageBase + position);
  const target = <u64>position + offset;
  return offset !== 0 && (target & 3) === 0 && fits(target, 4) ? <u32>target : 0;
}

function fits(position: u64, bytes: u64): bool {
  return position + bytes <= messageLength;
}

function visit(bytes: u64): bool {
  if (bytes > visitableBytes) return false;
  visitableBytes -= bytes;
  return true;
}

/** RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
export function isUtf8(start: usize, end: usize): bool {
  let at = start;
  while (at < end) {
    const first = <u32>load<u8>(at);
    if (first < 0x80) {
      at++;
      continue;
    }
    if (first < 0xc2 || first > 0xf4) return false;
    const following: usize = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (end - at <= following) return false;
    const second = <u32>load<u8>(at, 1);
    const secondMin: u32 = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const secondMax: u32 = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (second < secondMin || second > secondMax) return false;
    for (let index: usize = 2; index <= following; index++) {
      if ((load<u8>(at + index) & 0xc0) !== 0x80) return false;
    }
    at += following + 1;
  }
  return true;
}

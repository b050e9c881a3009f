// A batch is a FlatBuffer table with one vector of a fixed struct. It is written in place: the items lie one after another, and a
// prefix of 24 bytes before them makes them a message that every FlatBuffers runtime reads. Offsets count from the 8-aligned start:
//
//   0  u32 12   root table            12  i32  8   table: distance to the vtable
//   4  u16  6   vtable: its bytes     16  u32  4   field `items`: distance to the vector
//   6  u16  8   table bytes           20  u32      number of items
//   8  u16  4   field `items`         24           items
//  10  u16  0
//
// host/wire/struct-batch.ts is the same for the host.

import { countOf, follow, itemsOf } from './flatbuffer-read';
import { checkVector, enterTable, openMessage } from './flatbuffer-verify';

export const BATCH_PREFIX_BYTES: u32 = 24;

/** The two constant words of the prefix. */
const PREFIX_ROOT: u64 = 0x0008_0006_0000_000c;
const PREFIX_TABLE: u64 = 0x0000_0008_0000_0004;
const PREFIX_VECTOR: u32 = 4;
/** The slot of `items` in the vtable. */
const ITEMS_SLOT: u32 = 4;

/** Where the first item belongs when the message begins at `base`, which is 8-aligned. */
export function beginBatch(base: usize): usize {
  return base + BATCH_PREFIX_BYTES;
}

/** Writes the prefix for `count` items of `structSize` bytes that are in place already; returns the bytes of the message. */
export function finishBatch(base: usize, count: u32, structSize: u32): u32 {
  store<u64>(base, PREFIX_ROOT);
  store<u64>(base, PREFIX_TABLE, 8);
  store<u32>(base, PREFIX_VECTOR, 16);
  store<u32>(base, count, 20);
  return BATCH_PREFIX_BYTES + count * structSize;
}

/**
 * Address of the first item of a batch from an untrusted sender, or 0 when the bytes are not a batch. All items are then in bounds
 * and 8-aligned, for an 8-aligned `base`; the values in them are not checked. `structSize`: bytes, a multiple of 8.
 */
export function batchItems(base: usize, length: u32, structSize: u32): usize {
  if (
    length >= BATCH_PREFIX_BYTES &&
    load<u64>(base) === PREFIX_ROOT &&
    load<u64>(base, 8) === PREFIX_TABLE &&
    load<u32>(base, 16) === PREFIX_VECTOR
  ) {
    const bytes = <u64>load<u32>(base, 20) * structSize;
    return bytes <= <u64>(length - BATCH_PREFIX_BYTES) ? base + BATCH_PREFIX_BYTES : 0;
  }
  return itemsElsewhere(base, length, structSize);
}

/** The same message as another FlatBuffers library lays it out. */
function itemsElsewhere(base: usize, length: u32, structSize: u32): usize {
  const root = openMessage(base, length);
  const vtable = root === 0 ? 0 : enterTable(root);
  if (vtable === 0 || !checkVector(root, vtable, ITEMS_SLOT, structSize, 8, true)) return 0;
  return itemsOf(follow(base), ITEMS_SLOT);
}

/** Number of items, by the address that `batchItems` returned. */
export function batchCount(items: usize): u32 {
  return countOf(items);
}

// A batch is a FlatBuffer table with one vector of a fixed struct, laid out as in wasm-modules/assembly/lib/struct-batch.ts: a prefix
// of 24 bytes, then the items. Written by copying a constant, read by comparing with it.
import { findVector, INVALID, rootTable } from './verify-table.ts';

export const BATCH_PREFIX_BYTES = 24;

/** Root offset 12; vtable (6, 8, 4) and its padding; distance to the vtable 8; distance to the vector 4. Then comes the count. */
const PREFIX_WORDS = [12, 0x0008_0006, 4, 8, 4] as const;
const COUNT_OFFSET = 20;
const ITEMS_SLOT = 4;

/** Writes the prefix for `count` items that begin `BATCH_PREFIX_BYTES` after `offset`. */
function writeBatchPrefix(view: DataView, offset: number, count: number): void {
  for (let index = 0; index < PREFIX_WORDS.length; index++)
    view.setUint32(offset + index * 4, PREFIX_WORDS[index], true);
  view.setUint32(offset + COUNT_OFFSET, count, true);
}

/** The message around a copy of `items`, structs of `structSize` bytes one after another. */
export function encodeBatch(items: Uint8Array, structSize: number): Uint8Array<ArrayBuffer> {
  if (items.length % structSize !== 0)
    throw new RangeError(`${items.length} bytes are not a number of structs of ${structSize}`);
  const message = new Uint8Array(BATCH_PREFIX_BYTES + items.length);
  writeBatchPrefix(new DataView(message.buffer), 0, items.length / structSize);
  message.set(items, BATCH_PREFIX_BYTES);
  return message;
}

export interface BatchItems {
  /** Byte offset of the first item from the start of the message, a multiple of 8. */
  offset: number;
  count: number;
}

/**
 * The items of a batch from an untrusted sender, or undefined when the bytes are not a batch. All of them are then in bounds; the
 * values in them are not checked. `structSize`: bytes, a multiple of 8.
 */
export function batchItems(message: Uint8Array, structSize: number): BatchItems | undefined {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  if (!hasPrefix(view)) return itemsElsewhere(view, structSize);
  const count = view.getUint32(COUNT_OFFSET, true);
  return count * structSize <= view.byteLength - BATCH_PREFIX_BYTES ? { offset: BATCH_PREFIX_BYTES, count } : undefined;
}

function hasPrefix(view: DataView): boolean {
  if (view.byteLength < BATCH_PREFIX_BYTES) return false;
  return PREFIX_WORDS.every((word, index) => view.getUint32(index * 4, true) === word);
}

/** The same message as another FlatBuffers library lays it out. */
function itemsElsewhere(view: DataView, structSize: number): BatchItems | undefined {
  const table = rootTable(view);
  if (table === undefined) return undefined;
  const vector = findVector(table, ITEMS_SLOT, structSize, 8);
  if (vector === undefined || vector === INVALID) return undefined;
  return { offset: vector + 4, count: view.getUint32(vector, true) };
}

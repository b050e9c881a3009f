// A block between workers is a sequence of whole records, each with its size in front (schemas/records.fbs, RecordHeader).
import { strict as assert } from 'node:assert';
import { viewOf } from '../wire/frame.ts';

/** Bytes of the longest run of whole records at the start of `block`, at most `room`. `block` itself may end within a record. */
export function wholeRecordBytes(block: Uint8Array, room: number): number {
  const view = viewOf(block);
  const limit = Math.min(block.length, room);
  let end = 0;
  while (end < limit) {
    const size = view.getUint32(end, true);
    assert(size > 0, `record without a size at ${end} of ${block.length} bytes`);
    if (end + size > limit) break;
    end += size;
  }
  return end;
}

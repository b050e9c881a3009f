// What this worker has to say to each other worker: one block of records per worker, both hops in the order they were written. The
// host takes the block after every call and clears it. Writers stop at OUTBOX_BYTES_SOFT between two sockets or flows and are called again,
// so a block stays near that size.
import { RECORD_HEADER_SIZE, RecordHeader } from '../gen/records';
import { allocate, blockBytes, growBlock } from './arena';

/** Where a writer stops and lets the host drain. */
export const OUTBOX_BYTES_SOFT: u32 = 1 << 20;
const OUTBOX_BYTES_FIRST: u32 = 1 << 16;

@unmanaged
class Outbox {
  block: usize;
  bytes: u32;
  capacity: u32;
  /** Where in the block the record of the last `beginRecord` begins. */
  last: u32;
  pad0: u32;
}

let outboxes: usize = 0;
let workerCount: u32 = 0;
let unbounded = false;

export function initOutboxes(workers: u32): void {
  workerCount = workers;
  outboxes = allocate(<usize>workers * offsetof<Outbox>());
}

function outboxOf(worker: u32): Outbox {
  return changetype<Outbox>(outboxes + <usize>worker * offsetof<Outbox>());
}

export function outboxAddress(worker: u32): usize {
  return outboxOf(worker).block;
}

export function outboxBytes(worker: u32): u32 {
  return outboxOf(worker).bytes;
}

export function clearOutbox(worker: u32): void {
  outboxOf(worker).bytes = 0;
}

/** While true nobody is told to stop: what must leave with a window leaves, however much it is. */
export function setUnbounded(isUnbounded: bool): void {
  unbounded = isUnbounded;
}

/** True when a writer should stop until the host has drained. */
export function isOutboxFull(): bool {
  if (unbounded) return false;
  for (let worker: u32 = 0; worker < workerCount; worker++) {
    if (outboxOf(worker).bytes >= OUTBOX_BYTES_SOFT) return true;
  }
  return false;
}

/** Room for `bytes` more; `commitOutbox` says how many of them were used. Traps when memory is used up. */
export function reserveOutbox(worker: u32, bytes: u32): usize {
  const outbox = outboxOf(worker);
  if (outbox.bytes + bytes > outbox.capacity) {
    const wanted = max(OUTBOX_BYTES_FIRST, outbox.bytes + bytes);
    const grown = growBlock(outbox.block, outbox.capacity, outbox.bytes, wanted);
    if (grown === 0) unreachable();
    outbox.block = grown;
    outbox.capacity = <u32>blockBytes(wanted);
  }
  return outbox.block + outbox.bytes;
}

export function commitOutbox(worker: u32, bytes: u32): void {
  outboxOf(worker).bytes += bytes;
}

/** Writes the header of a record of `bytes` and returns where its struct belongs. */
export function beginRecord(worker: u32, kind: u16, bytes: u32): usize {
  const size = (RECORD_HEADER_SIZE + bytes + 7) & ~7;
  const header = changetype<RecordHeader>(reserveOutbox(worker, size));
  header.size = size;
  header.kind = kind;
  header.pad0 = 0;
  outboxOf(worker).last = outboxOf(worker).bytes;
  commitOutbox(worker, size);
  return changetype<usize>(header) + RECORD_HEADER_SIZE;
}

/** Makes the record of the last `beginRecord`, which ends the block, longer by `bytes`, a multiple of 8; returns where these begin. */
export function extendRecord(worker: u32, bytes: u32): usize {
  const at = reserveOutbox(worker, bytes);
  const outbox = outboxOf(worker);
  const header = changetype<RecordHeader>(outbox.block + outbox.last);
  assert(outbox.last + header.size === outbox.bytes);
  header.size += bytes;
  commitOutbox(worker, bytes);
  return at;
}

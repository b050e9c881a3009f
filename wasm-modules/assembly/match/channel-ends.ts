// What a channel calls an end, as a dense number, and which row that is here. 0 = refused, or closed.
import { allocate, PAGE_BYTES, takeBlock } from '../lib/arena';

/** Numbers of a page, as a power of two. */
const PAGE_SHIFT: u32 = 13;
/** Of a channel: more than a worker has memory for sockets. */
const PAGE_COUNT_MAX: u32 = (1 << 26) >>> PAGE_SHIFT;

if (PAGE_BYTES !== 4 << PAGE_SHIFT) ERROR('a page of numbers is a page of the arena');

/** Pages by channel, each of rows by number. */
let channels: usize = 0;

export function initChannelEnds(workers: u32): void {
  channels = allocate(<usize>workers * PAGE_COUNT_MAX * sizeof<usize>());
}

/** The address of the page of a number. */
function pageSlot(from: u32, end: u32): usize {
  return channels + ((<usize>from * PAGE_COUNT_MAX + (end >>> PAGE_SHIFT)) << 2);
}

function rowSlot(page: usize, end: u32): usize {
  return page + ((<usize>end & ((1 << PAGE_SHIFT) - 1)) << 2);
}

export function endOfChannel(from: u32, end: u32): u32 {
  const page = load<usize>(pageSlot(from, end));
  return page === 0 ? 0 : load<u32>(rowSlot(page, end));
}

/** Traps when memory is used up. */
export function setEndOfChannel(from: u32, end: u32, row: u32): void {
  const slot = pageSlot(from, end);
  if (load<usize>(slot) === 0) {
    const page = takeBlock(PAGE_BYTES);
    if (page === 0) unreachable();
    store<usize>(slot, page);
  }
  store<u32>(rowSlot(load<usize>(slot), end), row);
}

// All memory of an instance. Two ways to take it: `allocate` for what lives as long as the instance, and blocks for what grows and
// shrinks (a session's rows, staged records, outboxes). A block is a power of two, so that a freed one fits the next of its class;
// its free list is threaded through the block itself. Memory grows in steps: growing is cheap, a grow per request is not.

/** What chains of records are made of, and pages of rows where such a block is free: so what was staged serves the rows that came of it. */
export const PAGE_BYTES: u32 = 1 << 15;
/** Pages that are taken from new memory at once, so that what else grows meanwhile does not lie between single pages. */
const PAGES_AT_ONCE: u32 = 16;
/** Smallest block, as a power of two. */
const BLOCK_SHIFT_MIN: u32 = 6;
const BLOCK_SHIFT_MAX: u32 = 31;
const PAGE_BYTES_SHIFT: u64 = 16;
/** WebAssembly pages per growth: 16 MiB. Memory ends at multiples of it, so that huge pages seldom lie across its end (host/reducer/addon). */
const GROWTH_PAGES: u64 = 256;

let top: u64 = 0;
let end: u64 = 0;
/** Heads of the free lists by size class. */
const freeBlocks = memory.data(32 * sizeof<usize>());

/** `bytes` of zeros, 16-aligned, for the life of the instance. Traps when the 4 GiB are used up: only fixed tables are taken this way. */
export function allocate(bytes: usize): usize {
  const address = reserve(bytes);
  if (address === 0) unreachable();
  return address;
}

/** `allocate`, but in the smallest freed block that holds `bytes`, up to a page. What is left of it becomes smaller blocks. */
export function allocateInPage(bytes: usize): usize {
  for (let size = blockBytes(bytes); size <= PAGE_BYTES; size <<= 1) {
    if (load<usize>(freeBlocks + blockShift(size) * sizeof<usize>()) === 0) continue;
    const block = takeBlock(size);
    giveParts(block + <usize>align64(bytes), block + size);
    return block;
  }
  return bytes <= PAGE_BYTES && breakLarger() ? allocateInPage(bytes) : allocate(bytes);
}

/** Gives what lies between, as blocks. */
function giveParts(from: usize, to: usize): void {
  let at = from;
  while (at < to) {
    const size: usize = 1 << (31 - clz<u32>(<u32>(to - at)));
    giveBlock(at, size);
    at += size;
  }
}

/** `bytes` of zeros, 64-aligned, or 0 when memory is used up. */
export function takeBlock(bytes: usize): usize {
  const shift = blockShift(bytes);
  if (shift > BLOCK_SHIFT_MAX) return 0;
  const size: usize = (<usize>1) << shift;
  const freed = takeFreed(shift);
  if (freed === 0) return size === PAGE_BYTES ? reservePage() : reserve(size);
  memory.fill(freed, 0, size);
  return freed;
}

/** `takeBlock` with what whoever had it before left there: in what is filled in order, zeros cost as much as records. */
export function takeBlockAsIs(bytes: usize): usize {
  const shift = blockShift(bytes);
  if (shift > BLOCK_SHIFT_MAX) return 0;
  const freed = takeFreed(shift);
  if (freed !== 0) return freed;
  const size: usize = (<usize>1) << shift;
  return size === PAGE_BYTES ? reservePage() : reserve(size);
}

/**
 * `takeBlock` of up to a page, of which a whole page is made where there is none: small blocks that come and go together lie together. Pages stay
 * cut for their size.
 */
export function takeBlockInPage(bytes: usize): usize {
  assert(bytes <= PAGE_BYTES);
  const freed = takeFreed(blockShift(bytes));
  if (freed === 0) {
    const page = takeBlockAsIs(PAGE_BYTES);
    if (page === 0) return 0;
    const size = blockBytes(bytes);
    for (let rest: usize = PAGE_BYTES; rest !== 0; rest -= size) giveBlock(page + rest - size, size);
    return takeBlock(bytes);
  }
  memory.fill(freed, 0, blockBytes(bytes));
  return freed;
}

function takeFreed(shift: u32): usize {
  const head = freeBlocks + <usize>shift * sizeof<usize>();
  const freed = load<usize>(head);
  if (freed !== 0) store<usize>(head, load<usize>(freed));
  return freed;
}

/** Makes pages of the smallest free block that is larger than one. */
function breakLarger(): bool {
  for (let size: u32 = PAGE_BYTES << 1; size !== 0; size <<= 1) {
    const head = freeBlocks + blockShift(size) * sizeof<usize>();
    const block = load<usize>(head);
    if (block === 0) continue;
    store<usize>(head, load<usize>(block));
    for (let rest: usize = size; rest !== 0; rest -= PAGE_BYTES) giveBlock(block + rest - PAGE_BYTES, PAGE_BYTES);
    return true;
  }
  return false;
}

function reservePage(): usize {
  if (breakLarger()) return takeBlock(PAGE_BYTES);
  const pages = reserve(PAGES_AT_ONCE * PAGE_BYTES);
  if (pages === 0) return reserve(PAGE_BYTES);
  for (let page = PAGES_AT_ONCE - 1; page > 0; page--) giveBlock(pages + page * PAGE_BYTES, PAGE_BYTES);
  return pages;
}

/** `bytes` must be what the block was taken with, or rounds to the same power of two. */
export function giveBlock(address: usize, bytes: usize): void {
  const head = freeBlocks + blockShift(bytes) * sizeof<usize>();
  store<usize>(address, load<usize>(head));
  store<usize>(head, address);
}

/** What a block of `bytes` really holds. */
export function blockBytes(bytes: usize): usize {
  return (<usize>1) << blockShift(bytes);
}

/** Copies `usedBytes` into a block of at least `bytes`; returns 0, with the old block untouched, when memory is used up. */
export function growBlock(address: usize, oldBytes: usize, usedBytes: usize, bytes: usize): usize {
  const grown = takeBlock(bytes);
  if (grown === 0) return 0;
  if (address !== 0) {
    memory.copy(grown, address, usedBytes);
    giveBlock(address, oldBytes);
  }
  return grown;
}

/** Bytes of linear memory in use or free for reuse. */
export function arenaBytes(): u64 {
  return top;
}

function blockShift(bytes: usize): u32 {
  const shift: u32 = bytes <= 1 ? 0 : 32 - clz<u32>(<u32>bytes - 1);
  return shift < BLOCK_SHIFT_MIN ? BLOCK_SHIFT_MIN : shift;
}

function reserve(bytes: usize): usize {
  if (top === 0) {
    top = align64(<u64>__heap_base);
    end = (<u64>memory.size()) << PAGE_BYTES_SHIFT;
  }
  const next = align64(top + bytes);
  if (next > end) {
    const missing = ((next - end) >> PAGE_BYTES_SHIFT) + 1;
    if (!growBy(pagesToGrow(missing)) && !growBy(missing)) return 0;
  }
  const address = <usize>top;
  top = next;
  return address;
}

/** At least `missing`. */
function pagesToGrow(missing: u64): u64 {
  const pages = end >> PAGE_BYTES_SHIFT;
  return ((pages + missing + GROWTH_PAGES - 1) & ~(GROWTH_PAGES - 1)) - pages;
}

function growBy(pages: u64): bool {
  if ((end >> PAGE_BYTES_SHIFT) + pages > 65535) return false;
  if (memory.grow(<i32>pages) === -1) return false;
  end += pages << PAGE_BYTES_SHIFT;
  return true;
}

function align64(value: u64): u64 {
  return (value + 63) & ~63;
}

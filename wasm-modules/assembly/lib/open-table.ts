// A hash table of rows: slot = tag u32 | row u32, linear probing, load at most 2/3. The tag is the whole hash, so growth and removal
// need no key. Keys live in the rows: the caller walks the rows of a tag and compares.
//
//   for (let row = table.first(tag); row !== 0; row = table.next()) if (isKey(row)) ...
//
// Row 0 does not exist (an empty slot is 0). Rows of one tag come in any order: no result may depend on it.
//
// It grows as extendible hashing does (Fagin et al., 1979): the high bits of a tag name an entry of the directory, and that a segment; the
// low bits are the slot in it. A full segment doubles up to SEGMENT_SLOTS_MAX, from then on it is split in two. So an insertion moves the rows
// of one segment, however many the table has, and no second copy of the table is made.
import { allocate, giveBlock, takeBlock } from './arena';

const SLOT_BYTES: usize = 8;
const SEGMENT_SLOTS_MIN: u32 = 64;
const SEGMENT_SLOTS_MAX: u32 = 1024;
/** A split that leaves less than this share of the rows on one side is none: rows of one tag cannot be split, their segment doubles. */
const SPLIT_SHARE: u32 = 8;
const TAG_BITS: u32 = 32;
const ENTRY_SHIFT: u32 = 4;
/** Bits of the directory at most. */
const DIRECTORY_BITS_MAX: u32 = TAG_BITS - ENTRY_SHIFT;

/** Of the directory. Where a segment has fewer bits than the directory, a row of entries names it, and the first of them counts. */
@unmanaged
class Entry {
  slots: usize;
  mask: u32;
  count: u32;
  /** High bits that all tags of the segment share. */
  bits: u32;
}

if (offsetof<Entry>() !== 1 << ENTRY_SHIFT) ERROR('an entry has 2^ENTRY_SHIFT bytes');

@unmanaged
export class OpenTable {
  private directory: usize;
  /** Of a tag, so that it is 2^ENTRY_SHIFT times the number of its entry, but for the lowest ENTRY_SHIFT bits. */
  private directoryShift: u32;
  private count: u32;
  private countMax: u32;
  private moved: u64;
  /** Where the walk of `first` and `next` stands. */
  private walkTag: u32;
  private walkSlot: u32;

  /** `countMax`: rows at once. */
  static create(countMax: u32): OpenTable {
    const table = changetype<OpenTable>(allocate(offsetof<OpenTable>()));
    table.directory = allocate(offsetof<Entry>());
    table.directoryShift = DIRECTORY_BITS_MAX;
    const entry = table.namedBy(0);
    entry.slots = allocate(<usize>SEGMENT_SLOTS_MIN * SLOT_BYTES);
    entry.mask = SEGMENT_SLOTS_MIN - 1;
    table.countMax = countMax;
    return table;
  }

  get size(): u32 {
    return this.count;
  }

  /** Rows that growth has moved since the table was made. */
  get movedRows(): u64 {
    return this.moved;
  }

  /** A row whose tag is `tag`, or 0. */
  first(tag: u32): u32 {
    const entry = this.namedBy(tag);
    this.walkTag = tag;
    return this.probe(entry, tag, tag & entry.mask);
  }

  /** Where the row lies at which `first` begins to look, u32; 0 there is none. It stands until the table changes. */
  home(tag: u32): usize {
    const entry = this.namedBy(tag);
    return slotAt(entry.slots, tag & entry.mask) + 4;
  }

  /** The next row of the tag given to `first`, or 0. The table must not have changed in between. */
  next(): u32 {
    const entry = this.namedBy(this.walkTag);
    return this.probe(entry, this.walkTag, (this.walkSlot + 1) & entry.mask);
  }

  /** Returns false, and changes nothing, when the table is full or memory is used up. */
  insert(tag: u32, row: u32): bool {
    if (this.count >= this.countMax) return false;
    let entry = this.entryOf(tag);
    while (<u64>(entry.count + 1) * 3 > <u64>(entry.mask + 1) * 2) {
      if (!this.grow(entry, tag)) return false;
      entry = this.entryOf(tag);
    }
    place(entry, tag, row);
    this.count++;
    return true;
  }

  /** Removes the slot of (tag, row), which must be there; what follows in its run moves back, so there are no tombstones. */
  remove(tag: u32, row: u32): void {
    for (let found = this.first(tag); found !== row; found = this.next()) {}
    const entry = this.entryOf(tag);
    this.count--;
    entry.count--;
    const slots = entry.slots;
    const mask = entry.mask;
    let hole = this.walkSlot;
    let slot = (hole + 1) & mask;
    while (load<u32>(slotAt(slots, slot), 4) !== 0) {
      const home = load<u32>(slotAt(slots, slot)) & mask;
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        store<u64>(slotAt(slots, hole), load<u64>(slotAt(slots, slot)));
        hole = slot;
      }
      slot = (slot + 1) & mask;
    }
    store<u64>(slotAt(slots, hole), 0);
  }

  private namedBy(tag: u32): Entry {
    return changetype<Entry>(this.directory + ((tag >>> this.directoryShift) & ~((1 << ENTRY_SHIFT) - 1)));
  }

  /** The entry that counts the rows of the segment of `tag`. */
  private entryOf(tag: u32): Entry {
    const bits = this.namedBy(tag).bits;
    return this.namedBy(bits === 0 ? 0 : tag & (~0 << (TAG_BITS - bits)));
  }

  private get directoryBits(): u32 {
    return DIRECTORY_BITS_MAX - this.directoryShift;
  }

  /** Entries that name the segment. */
  private span(entry: Entry): u32 {
    return 1 << (this.directoryBits - entry.bits);
  }

  private probe(entry: Entry, tag: u32, start: u32): u32 {
    const slots = entry.slots;
    const mask = entry.mask;
    let slot = start;
    while (true) {
      const address = slotAt(slots, slot);
      const row = load<u32>(address, 4);
      if (row === 0 || load<u32>(address) === tag) {
        this.walkSlot = slot;
        return row;
      }
      slot = (slot + 1) & mask;
    }
  }

  /** Room for more rows in the segment of `tag`, which may have to grow again; false, and nothing is changed, when memory is used up. */
  private grow(entry: Entry, tag: u32): bool {
    if (entry.mask + 1 < SEGMENT_SLOTS_MAX || !isDivisible(entry)) return this.double(entry);
    if (entry.bits === this.directoryBits) {
      if (!this.doubleDirectory()) return false;
      return this.split(this.entryOf(tag));
    }
    return this.split(entry);
  }

  private double(entry: Entry): bool {
    const span = this.span(entry);
    const bytes = bytesOf(entry);
    const slots = takeBlock(bytes * 2);
    if (slots === 0) return false;
    const old = entry.slots;
    const oldMask = entry.mask;
    this.pointTo(entry, span, slots, oldMask * 2 + 1, entry.bits);
    this.refill(entry, entry, old, oldMask);
    giveBlock(old, bytes);
    return true;
  }

  private split(entry: Entry): bool {
    const bytes = bytesOf(entry);
    const low = takeBlock(bytes);
    if (low === 0) return false;
    const high = takeBlock(bytes);
    if (high === 0) {
      giveBlock(low, bytes);
      return false;
    }
    const half = this.span(entry) >>> 1;
    const old = entry.slots;
    const bits = entry.bits + 1;
    const other = changetype<Entry>(changetype<usize>(entry) + <usize>half * offsetof<Entry>());
    this.pointTo(entry, half, low, entry.mask, bits);
    this.pointTo(other, half, high, entry.mask, bits);
    this.refill(entry, other, old, entry.mask);
    giveBlock(old, bytes);
    return true;
  }

  /** `entry` and the entries behind it name an empty segment. */
  private pointTo(entry: Entry, span: u32, slots: usize, mask: u32, bits: u32): void {
    for (let index: u32 = 0; index < span; index++) {
      const named = changetype<Entry>(changetype<usize>(entry) + <usize>index * offsetof<Entry>());
      named.slots = slots;
      named.mask = mask;
      named.count = 0;
      named.bits = bits;
    }
  }

  /** Rows of the old slots go to `low` and `high`, by the last bit that the tags of each share. */
  private refill(low: Entry, high: Entry, old: usize, oldMask: u32): void {
    for (let slot: u32 = 0; slot <= oldMask; slot++) {
      const row = load<u32>(slotAt(old, slot), 4);
      if (row === 0) continue;
      const tag = load<u32>(slotAt(old, slot));
      place(low !== high && bitOf(tag, low.bits - 1) !== 0 ? high : low, tag, row);
      this.moved++;
    }
  }

  private doubleDirectory(): bool {
    const count: u32 = 1 << this.directoryBits;
    const bytes = <usize>count * offsetof<Entry>();
    const old = this.directory;
    const grown = takeBlock(bytes * 2);
    if (grown === 0) return false;
    for (let index: usize = 0; index < count; index++) {
      const entry = old + index * offsetof<Entry>();
      memory.copy(grown + index * 2 * offsetof<Entry>(), entry, offsetof<Entry>());
      memory.copy(grown + (index * 2 + 1) * offsetof<Entry>(), entry, offsetof<Entry>());
    }
    giveBlock(old, bytes);
    this.directory = grown;
    this.directoryShift--;
    return true;
  }
}

function slotAt(slots: usize, slot: u32): usize {
  return slots + <usize>slot * SLOT_BYTES;
}

function bytesOf(entry: Entry): usize {
  return (<usize>entry.mask + 1) * SLOT_BYTES;
}

/** The bit of a tag, counted from its highest. */
function bitOf(tag: u32, index: u32): u32 {
  return (tag >>> (TAG_BITS - 1 - index)) & 1;
}

function place(entry: Entry, tag: u32, row: u32): void {
  const mask = entry.mask;
  let slot = tag & mask;
  while (load<u32>(slotAt(entry.slots, slot), 4) !== 0) slot = (slot + 1) & mask;
  store<u64>(slotAt(entry.slots, slot), <u64>tag | ((<u64>row) << 32));
  entry.count++;
}

function isDivisible(entry: Entry): bool {
  if (entry.bits === DIRECTORY_BITS_MAX) return false;
  let high: u32 = 0;
  for (let slot: u32 = 0; slot <= entry.mask; slot++) {
    const address = slotAt(entry.slots, slot);
    if (load<u32>(address, 4) !== 0) high += bitOf(load<u32>(address), entry.bits);
  }
  const least = entry.count / SPLIT_SHARE;
  return high > least && entry.count - high > least;
}

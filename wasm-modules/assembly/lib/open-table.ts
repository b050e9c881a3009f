// A hash table of rows: slot = tag u32 | row u32, linear probing, load at most 2/3. The tag is the whole hash, so growth and removal
// need no key. Keys live in the rows: the caller walks the rows of a tag and compares.
//
//   for (let row = table.first(tag); row !== 0; row = table.next()) if (isKey(row)) ...
//
// Row 0 does not exist (an empty slot is 0). Rows of one tag come in any order: no result may depend on it.
import { allocate, giveBlock, takeBlock } from './arena';

const SLOT_BYTES: usize = 8;
const SLOT_COUNT_MIN: u32 = 64;

@unmanaged
export class OpenTable {
  private slots: usize;
  private mask: u32;
  private count: u32;
  private countMax: u32;
  /** Where the walk of `first` and `next` stands. */
  private walkTag: u32;
  private walkSlot: u32;

  /** `countMax`: rows at once. Grows by doubling. */
  static create(countMax: u32): OpenTable {
    const table = changetype<OpenTable>(allocate(offsetof<OpenTable>()));
    table.slots = allocate(<usize>SLOT_COUNT_MIN * SLOT_BYTES);
    table.mask = SLOT_COUNT_MIN - 1;
    table.countMax = countMax;
    return table;
  }

  get size(): u32 {
    return this.count;
  }

  /** A row whose tag is `tag`, or 0. */
  first(tag: u32): u32 {
    this.walkTag = tag;
    return this.probe(tag & this.mask);
  }

  /** The next row of the tag given to `first`, or 0. The table must not have changed in between. */
  next(): u32 {
    return this.probe((this.walkSlot + 1) & this.mask);
  }

  /** Returns false, and changes nothing, when the table is full or memory is used up. */
  insert(tag: u32, row: u32): bool {
    if (this.count >= this.countMax) return false;
    if (<u64>(this.count + 1) * 3 > <u64>(this.mask + 1) * 2 && !this.grow()) return false;
    this.place(tag, row);
    this.count++;
    return true;
  }

  /** Removes the slot of (tag, row), which must be there; what follows in its run moves back, so there are no tombstones. */
  remove(tag: u32, row: u32): void {
    for (let found = this.first(tag); found !== row; found = this.next()) {}
    this.count--;
    let hole = this.walkSlot;
    let slot = (hole + 1) & this.mask;
    while (load<u32>(this.slotAt(slot), 4) !== 0) {
      const home = load<u32>(this.slotAt(slot)) & this.mask;
      if (((slot - home) & this.mask) >= ((slot - hole) & this.mask)) {
        store<u64>(this.slotAt(hole), load<u64>(this.slotAt(slot)));
        hole = slot;
      }
      slot = (slot + 1) & this.mask;
    }
    store<u64>(this.slotAt(hole), 0);
  }

  private slotAt(slot: u32): usize {
    return this.slots + <usize>slot * SLOT_BYTES;
  }

  private probe(start: u32): u32 {
    const tag = this.walkTag;
    let slot = start;
    while (true) {
      const address = this.slotAt(slot);
      const row = load<u32>(address, 4);
      if (row === 0 || load<u32>(address) === tag) {
        this.walkSlot = slot;
        return row;
      }
      slot = (slot + 1) & this.mask;
    }
  }

  private place(tag: u32, row: u32): void {
    let slot = tag & this.mask;
    while (load<u32>(this.slotAt(slot), 4) !== 0) slot = (slot + 1) & this.mask;
    store<u64>(this.slotAt(slot), <u64>tag | ((<u64>row) << 32));
  }

  private grow(): bool {
    const oldSlots = this.slots;
    const oldBytes = (<usize>this.mask + 1) * SLOT_BYTES;
    const grown = takeBlock(oldBytes * 2);
    if (grown === 0) return false;
    this.slots = grown;
    this.mask = this.mask * 2 + 1;
    for (let at = oldSlots; at < oldSlots + oldBytes; at += SLOT_BYTES) {
      const row = load<u32>(at, 4);
      if (row !== 0) this.place(load<u32>(at), row);
    }
    giveBlock(oldSlots, oldBytes);
    return true;
  }
}

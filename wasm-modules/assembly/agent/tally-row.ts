// One tally of agent/tallies.ts, and the lists through them, in the order in which they were staged or told.
import { RowPool } from '../lib/row-pool';

@unmanaged
export class TallyRow {
  /** In the list of what is staged, or of what was told. */
  next: u32; // 0
  previous: u32; // 4
  nextOfOwner: u32; // 8
  previousOfOwner: u32; // 12
  /** Row of the socket; 0 = the host. */
  owner: u32; // 16
  /** In which it was told; 0 = staged. */
  window: u32; // 20
  kind: u16; // 24
  /** Of samples (lib/bucket.ts). */
  bucket: i16; // 26
  code: u32; // 28
  label: u32; // 32
  pad0: u32; // 36
  count: u64; // 40
  sum: u64; // 48
}

if (offsetof<TallyRow>() !== 56) ERROR('TallyRow has 56 bytes');

@unmanaged
export class TallyList {
  first: u32;
  last: u32;

  push(rows: RowPool, row: u32): void {
    const entry = changetype<TallyRow>(rows.at(row));
    entry.next = 0;
    entry.previous = this.last;
    if (this.last === 0) this.first = row;
    else changetype<TallyRow>(rows.at(this.last)).next = row;
    this.last = row;
  }

  remove(rows: RowPool, row: u32): void {
    const entry = changetype<TallyRow>(rows.at(row));
    if (entry.previous === 0) this.first = entry.next;
    else changetype<TallyRow>(rows.at(entry.previous)).next = entry.next;
    if (entry.next === 0) this.last = entry.previous;
    else changetype<TallyRow>(rows.at(entry.next)).previous = entry.previous;
  }
}

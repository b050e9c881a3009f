// The remote address of an end in eight bytes: an IPv4 address is kept there itself, any other in a row of its own. Nearly all are IPv4, and
// those of a service's clients are all different, so what is shared would not pay for the table that finds it.
import { RowPool } from '../lib/row-pool';

/** Bytes 8 to 11 of ::ffff:a.b.c.d, as loaded (enrich/address-text.ts). */
const MAPPED_PREFIX: u32 = 0xffff0000;
/** Of ends, of brief flows that are kept, and of Onces that are staged or wait: more than there is memory for, with what names them. */
const WIDE_COUNT_MAX: u32 = 1 << 26;

@unmanaged
export class WideAddress {
  high: u64;
  low: u64;
}

@unmanaged
export class RemoteAddress {
  /** The last four bytes of an IPv4 address. */
  private narrow: u32;
  /** Row of a WideAddress; 0 = it is an IPv4 address. */
  private wide: u32;

  get isNarrow(): bool {
    return this.wide === 0;
  }

  get high(): u64 {
    return this.wide === 0 ? 0 : wideAt(this.wide).high;
  }

  get low(): u64 {
    return this.wide === 0 ? ((<u64>this.narrow) << 32) | MAPPED_PREFIX : wideAt(this.wide).low;
  }

  /** Of one that is zeros. Traps when memory is used up. */
  set(high: u64, low: u64): void {
    if (high === 0 && <u32>low === MAPPED_PREFIX) {
      this.narrow = <u32>(low >> 32);
      return;
    }
    this.wide = rows.take();
    wideAt(this.wide).high = high;
    wideAt(this.wide).low = low;
  }

  /** Of one that is zeros: the same address, which stands as long as `other`. */
  borrow(other: RemoteAddress): void {
    this.narrow = other.narrow;
    this.wide = other.wide;
  }

  /** Gives back what `set` took. */
  release(): void {
    if (this.wide !== 0) rows.give(this.wide);
  }
}

const rows: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));

export function initRemoteAddresses(): void {
  rows.begin(offsetof<WideAddress>(), WIDE_COUNT_MAX);
}

function wideAt(row: u32): WideAddress {
  return rows.row<WideAddress>(row);
}

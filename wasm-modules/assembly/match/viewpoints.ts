// From where ends are seen: which session of which agent, on which host, in which address space, at which local address. The sockets that a
// host has at one address share a row, so that an end keeps its number in place of 48 bytes.
import { MatchOpen } from '../gen/records';
import { hashPair, stableHashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { tellerOf } from '../lib/teller';

/** More than there is memory for, with what names them. */
export const VIEWPOINT_COUNT_MAX: u32 = 1 << 25;

@unmanaged
export class Viewpoint {
  /** First, because a free row keeps its list there. */
  tag: u32;
  /** Ends, records that are staged, wait or are kept, and handles of other workers (once-channel.ts), that name it. */
  references: u32;
  boot: u64;
  session: u64;
  identity: u64;
  addressSpace: u64;
  localHigh: u64;
  localLow: u64;
  /** Of the agent (lib/teller.ts). */
  teller: u32;
  /** Tells it from what had the row before; never 0. */
  generation: u32;

  isOf(boot: u64, session: u64, identity: u64, addressSpace: u64, localHigh: u64, localLow: u64): bool {
    return (
      this.localLow === localLow &&
      this.session === session &&
      this.localHigh === localHigh &&
      this.addressSpace === addressSpace &&
      this.identity === identity &&
      this.boot === boot
    );
  }
}

if (offsetof<Viewpoint>() !== 64) ERROR('a viewpoint is one cache line');

const rows: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
let table: OpenTable = changetype<OpenTable>(0);
/** The last that was asked for, 0 = none: the sockets of a host are told one after another, and mostly have one address. */
let lastRow: u32 = 0;
let lastGeneration: u32 = 0;

export function initViewpoints(): void {
  rows.begin(offsetof<Viewpoint>(), VIEWPOINT_COUNT_MAX);
  table = OpenTable.create(VIEWPOINT_COUNT_MAX);
  lastRow = 0;
  lastGeneration = 0;
}

export function viewpointAt(row: u32): Viewpoint {
  return rows.row<Viewpoint>(row);
}

/** The one from which `open` is told, retained. */
export function viewpointOf(open: MatchOpen): u32 {
  return retainPoint(
    open.boot,
    open.session,
    open.identity,
    open.addressSpace,
    open.localAddressHi,
    open.localAddressLo,
  );
}

/** Of a socket of which no address is known, retained. */
export function viewpointWithoutAddress(boot: u64, session: u64): u32 {
  return retainPoint(boot, session, 0, 0, 0, 0);
}

/** `row` as another session sees it, retained. */
export function viewpointOfSession(row: u32, session: u64, identity: u64): u32 {
  const point = viewpointAt(row);
  return retainPoint(point.boot, session, identity, point.addressSpace, point.localHigh, point.localLow);
}

/** The one that is named so, retained. Traps when memory is used up. */
export function retainPoint(
  boot: u64,
  session: u64,
  identity: u64,
  addressSpace: u64,
  localHigh: u64,
  localLow: u64,
): u32 {
  let row = lastRow;
  if (row === 0 || !viewpointAt(row).isOf(boot, session, identity, addressSpace, localHigh, localLow)) {
    const tag = hashPair(stableHashPair(session ^ addressSpace, localHigh), localLow);
    row = table.first(tag);
    while (row !== 0 && !viewpointAt(row).isOf(boot, session, identity, addressSpace, localHigh, localLow))
      row = table.next();
    if (row === 0) {
      row = rows.take();
      if (row === 0 || !table.insert(tag, row)) unreachable();
      const point = viewpointAt(row);
      point.tag = tag;
      point.references = 0;
      point.boot = boot;
      point.session = session;
      point.identity = identity;
      point.addressSpace = addressSpace;
      point.localHigh = localHigh;
      point.localLow = localLow;
      point.teller = tellerOf(identity);
      lastGeneration = max(lastGeneration + 1, 1);
      point.generation = lastGeneration;
    }
    lastRow = row;
  }
  viewpointAt(row).references++;
  return row;
}

export function retainViewpoint(row: u32): void {
  viewpointAt(row).references++;
}

export function releaseViewpoint(row: u32): void {
  const point = viewpointAt(row);
  if (--point.references !== 0) return;
  table.remove(point.tag, row);
  rows.give(row);
  if (lastRow === row) lastRow = 0;
}

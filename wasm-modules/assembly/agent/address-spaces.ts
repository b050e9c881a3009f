// Where an address means something (docs/protocol.md, section 5): loopback and link-local ones only inside their network namespace, all
// others in the configured space, which is handle 1. Addresses are the 16 bytes of RFC 4291 as two little-endian loads. Containers come
// and go, so a namespace's space is counted by its sockets and folds, and one that has none left is used again when all are taken.
import { NetnsSpace } from '../gen/agent';
import { allocate } from '../lib/arena';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { NETNS_SPACE_COUNT_MAX } from './limits';

export const DEFAULT_SPACE: u32 = 1;

/** ::ffff:0:0/96 is zeros in the upper half and these bytes in the lower one. */
const V4_MAPPED_LO: u64 = 0x0000_0000_ffff_0000;
const LOOPBACK_V6_LO: u64 = 0x0100_0000_0000_0000;

@unmanaged
class SpaceRow {
  link: u32;
  netns: u32;
  references: u32;
  /** To be announced. */
  isNews: u32;
}

let byNetns: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
/** NetnsSpace structs for the host. */
let news: usize = 0;
let refused: u64 = 0;

export function initAddressSpaces(): void {
  byNetns = OpenTable.create(NETNS_SPACE_COUNT_MAX);
  rows = RowPool.create(offsetof<SpaceRow>(), NETNS_SPACE_COUNT_MAX);
  news = allocate(NETNS_SPACE_COUNT_MAX * offsetof<NetnsSpace>());
}

function rowAt(row: u32): SpaceRow {
  return changetype<SpaceRow>(rows.at(row));
}

/** The default one included. */
export function addressSpaceCount(): u32 {
  return rows.live + 1;
}

export function addressSpacesRefused(): u64 {
  return refused;
}

/** 127.0.0.0/8, 169.254.0.0/16, ::1, fe80::/10. */
export function isLocalToNetns(hi: u64, lo: u64): bool {
  if (hi === 0) {
    if (lo === LOOPBACK_V6_LO) return true;
    if ((lo & 0xffff_ffff) !== V4_MAPPED_LO) return false;
    return (<u32>(lo >>> 32) & 0xff) === 127 || (<u32>(lo >>> 32) & 0xffff) === 0xfea9;
  }
  return (hi & 0xc0ff) === 0x80fe;
}

/** The space of a connection in the namespace `netns`, with one reference more. */
export function retainSpaceOf(localHi: u64, localLo: u64, remoteHi: u64, remoteLo: u64, netns: u32): u32 {
  if (!isLocalToNetns(localHi, localLo) && !isLocalToNetns(remoteHi, remoteLo)) return DEFAULT_SPACE;
  const hash = hashPair(netns, 0);
  for (let row = byNetns.first(hash); row !== 0; row = byNetns.next()) {
    if (rowAt(row).netns !== netns) continue;
    rowAt(row).references++;
    return row + DEFAULT_SPACE;
  }
  let row = rows.take();
  if (row === 0) row = takeUnused();
  if (row === 0) {
    refused++;
    return DEFAULT_SPACE;
  }
  const space = rowAt(row);
  space.netns = netns;
  space.references = 1;
  space.isNews = 1;
  byNetns.insert(hash, row);
  return row + DEFAULT_SPACE;
}

function takeUnused(): u32 {
  const end = rows.end;
  for (let row: u32 = 1; row < end; row++) {
    if (rowAt(row).references !== 0) continue;
    byNetns.remove(hashPair(rowAt(row).netns, 0), row);
    return row;
  }
  return 0;
}

export function retainSpace(handle: u32): void {
  if (handle > DEFAULT_SPACE) rowAt(handle - DEFAULT_SPACE).references++;
}

export function releaseSpace(handle: u32): void {
  if (handle > DEFAULT_SPACE) rowAt(handle - DEFAULT_SPACE).references--;
}

let newsCount: u32 = 0;

/** Spaces that mean another namespace since the last call, as NetnsSpace structs. */
export function takeSpaceNews(): usize {
  newsCount = 0;
  const end = rows.end;
  for (let row: u32 = 1; row < end; row++) {
    const space = rowAt(row);
    if (space.isNews === 0) continue;
    space.isNews = 0;
    const told = changetype<NetnsSpace>(news + newsCount++ * offsetof<NetnsSpace>());
    told.handle = row + DEFAULT_SPACE;
    told.netns = space.netns;
  }
  return news;
}

export function spaceNewsCount(): u32 {
  return newsCount;
}

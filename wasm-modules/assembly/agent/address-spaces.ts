// Where an address means something (docs/protocol.md, section 5): loopback and link-local ones only inside their network namespace, all
// others in the configured space, which is handle 1. Addresses are the 16 bytes of RFC 4291 as two little-endian loads.
import { NetnsSpace } from "../gen/agent";
import { hashPair } from "../lib/hash";
import { OpenTable } from "../lib/open-table";
import { RowPool } from "../lib/row-pool";
import { NETNS_SPACE_COUNT_MAX } from "./limits";

export const DEFAULT_SPACE: u32 = 1;

/** ::ffff:0:0/96 in the upper half is zeros, in the lower half these bytes. */
const V4_MAPPED_LO: u64 = 0x0000_0000_ffff_0000;
const LOOPBACK_V6_LO: u64 = 0x0100_0000_0000_0000;

let byNetns: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
let refused: u64 = 0;

export function initAddressSpaces(): void {
  byNetns = OpenTable.create(NETNS_SPACE_COUNT_MAX);
  rows = RowPool.create(offsetof<NetnsSpace>(), NETNS_SPACE_COUNT_MAX);
}

/** Namespaces that have a space of their own; their handles are 2 and up, without gaps. */
export function netnsSpaceCount(): u32 {
  return rows.live;
}

export function netnsSpacesRefused(): u64 {
  return refused;
}

/** `index`: from 0. */
export function netnsSpaceAt(index: u32): usize {
  return rows.at(index + 1);
}

function spaceAt(row: u32): NetnsSpace {
  return changetype<NetnsSpace>(rows.at(row));
}

/** 127.0.0.0/8, 169.254.0.0/16, ::1, fe80::/10. */
export function isLocalToNetns(hi: u64, lo: u64): bool {
  if (hi === 0) {
    if (lo === LOOPBACK_V6_LO) return true;
    if ((lo & 0xffff_ffff) !== V4_MAPPED_LO) return false;
    const first = <u32>(lo >>> 32) & 0xff;
    return first === 127 || (<u32>(lo >>> 32) & 0xffff) === 0xfea9;
  }
  return (hi & 0xc0ff) === 0x80fe;
}

/** The space of a connection in the namespace `netns`. */
export function spaceOf(localHi: u64, localLo: u64, remoteHi: u64, remoteLo: u64, netns: u32): u32 {
  if (!isLocalToNetns(localHi, localLo) && !isLocalToNetns(remoteHi, remoteLo)) return DEFAULT_SPACE;
  const hash = hashPair(netns, 0);
  for (let row = byNetns.first(hash); row !== 0; row = byNetns.next()) {
    if (spaceAt(row).netns === netns) return row + DEFAULT_SPACE;
  }
  const row = rows.take();
  if (row === 0) {
    refused++;
    return DEFAULT_SPACE;
  }
  const space = spaceAt(row);
  space.handle = row + DEFAULT_SPACE;
  space.netns = netns;
  byNetns.insert(hash, row);
  return space.handle;
}

// Which hosts announced which address, so that ingest can refuse a socket that uses somebody else's. Every worker hears every
// announcement; what was heard in a window counts from its close on, so the answer does not depend on interleaving.
import { hashPair, stableHashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';

/** Claims beyond it are not checked against. */
export const CLAIM_COUNT_MAX: u32 = 1 << 18;

@unmanaged
class Claim {
  /** 1 = on the list of changes. First, because a free row keeps its list there. */
  pending: u32;
  next: u32;
  addressHigh: u64;
  addressLow: u64;
  space: u64;
  boot: u64;
  /** Sessions of this host that claim it. */
  claims: u32;
  claimsPending: i32;
}

/** The last question and its answer: the sockets of a host are told one after another, and mostly have one address. */
@unmanaged
class Asked {
  addressHigh: u64;
  addressLow: u64;
  space: u64;
  boot: u64;
  isForeign: u32;
  /** 0 = answers have changed since. */
  isKnown: u32;
}

let rows: RowPool = changetype<RowPool>(0);
const lastAsked: Asked = changetype<Asked>(memory.data(offsetof<Asked>(), 8));
let table: OpenTable = changetype<OpenTable>(0);
let pendingHead: u32 = 0;

export function initClaimedAddresses(): void {
  rows = RowPool.create(offsetof<Claim>(), CLAIM_COUNT_MAX);
  lastAsked.isKnown = 0;
  table = OpenTable.create(CLAIM_COUNT_MAX);
}

function claimAt(row: u32): Claim {
  return changetype<Claim>(rows.at(row));
}

function tagOf(addressHigh: u64, addressLow: u64, space: u64): u32 {
  return hashPair(stableHashPair(addressHigh, space), addressLow);
}

/** True when `row` is a claim of this address. */
function isOf(row: u32, addressHigh: u64, addressLow: u64, space: u64): bool {
  const claim = claimAt(row);
  return claim.addressHigh === addressHigh && claim.addressLow === addressLow && claim.space === space;
}

export function noteClaim(addressHigh: u64, addressLow: u64, space: u64, boot: u64, isEnded: bool): void {
  const tag = tagOf(addressHigh, addressLow, space);
  let row = table.first(tag);
  while (row !== 0 && !(isOf(row, addressHigh, addressLow, space) && claimAt(row).boot === boot)) row = table.next();
  if (row === 0) row = addClaim(tag, addressHigh, addressLow, space, boot);
  if (row === 0) return;
  const claim = claimAt(row);
  claim.claimsPending += isEnded ? -1 : 1;
  if (claim.pending !== 0) return;
  claim.pending = 1;
  claim.next = pendingHead;
  pendingHead = row;
}

function addClaim(tag: u32, addressHigh: u64, addressLow: u64, space: u64, boot: u64): u32 {
  const row = rows.take();
  if (row === 0) return 0;
  const claim = claimAt(row);
  memory.fill(changetype<usize>(claim), 0, offsetof<Claim>());
  claim.addressHigh = addressHigh;
  claim.addressLow = addressLow;
  claim.space = space;
  claim.boot = boot;
  if (table.insert(tag, row)) return row;
  rows.give(row);
  return 0;
}

/** At a close: what was noted takes effect. */
export function applyClaims(): void {
  if (pendingHead !== 0) lastAsked.isKnown = 0;
  while (pendingHead !== 0) {
    const row = pendingHead;
    const claim = claimAt(row);
    pendingHead = claim.next;
    claim.pending = 0;
    const claims = <i32>claim.claims + claim.claimsPending;
    claim.claims = max(claims, 0);
    claim.claimsPending = 0;
    if (claim.claims !== 0) continue;
    table.remove(tagOf(claim.addressHigh, claim.addressLow, claim.space), row);
    rows.give(row);
  }
}

/** True when other hosts announced the address and the host `boot` did not. */
export function isForeignAddress(addressHigh: u64, addressLow: u64, space: u64, boot: u64): bool {
  const last = lastAsked;
  if (
    last.isKnown === 0 ||
    last.addressLow !== addressLow ||
    last.addressHigh !== addressHigh ||
    last.space !== space ||
    last.boot !== boot
  ) {
    last.addressHigh = addressHigh;
    last.addressLow = addressLow;
    last.space = space;
    last.boot = boot;
    last.isForeign = u32(findForeign(addressHigh, addressLow, space, boot));
    last.isKnown = 1;
  }
  return last.isForeign !== 0;
}

function findForeign(addressHigh: u64, addressLow: u64, space: u64, boot: u64): bool {
  let isClaimed = false;
  for (let row = table.first(tagOf(addressHigh, addressLow, space)); row !== 0; row = table.next()) {
    if (!isOf(row, addressHigh, addressLow, space) || claimAt(row).claims === 0) continue;
    if (claimAt(row).boot === boot) return false;
    isClaimed = true;
  }
  return isClaimed;
}

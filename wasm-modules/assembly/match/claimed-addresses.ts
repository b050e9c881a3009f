// Which hosts announced which address, so that ingest can refuse a socket that uses somebody else's. Every worker hears every
// announcement. What is told of window w is judged by what was heard up to the end of w - 2: it may be read before w - 1 has closed or
// after, and the answer does not depend on that.
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
  /** Sessions of this host that claimed it at the last close, at the one before, and what was heard since. */
  claims: u32;
  claimsBefore: u32;
  claimsPending: i32;
  /** In the list of those whose two answers may differ. */
  nextSettling: u32;
}

/** The last question and its answer: the sockets of a host are told one after another, and mostly have one address. */
@unmanaged
class Asked {
  addressHigh: u64;
  addressLow: u64;
  space: u64;
  boot: u64;
  isAhead: u32;
  isForeign: u32;
  /** 0 = answers have changed since. */
  isKnown: u32;
  pad0: u32;
}

let rows: RowPool = changetype<RowPool>(0);
const lastAsked: Asked = changetype<Asked>(memory.data(offsetof<Asked>(), 8));
let table: OpenTable = changetype<OpenTable>(0);
let pendingHead: u32 = 0;
let settlingHead: u32 = 0;

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

/** At a close: what was noted is the new answer, and what was noted before the last close the old one. */
export function applyClaims(): void {
  if ((pendingHead | settlingHead) !== 0) lastAsked.isKnown = 0;
  while (settlingHead !== 0) {
    const row = settlingHead;
    const claim = claimAt(row);
    settlingHead = claim.nextSettling;
    claim.claimsBefore = claim.claims;
    if (claim.claims !== 0 || claim.pending !== 0) continue;
    table.remove(tagOf(claim.addressHigh, claim.addressLow, claim.space), row);
    rows.give(row);
  }
  while (pendingHead !== 0) {
    const row = pendingHead;
    const claim = claimAt(row);
    pendingHead = claim.next;
    claim.pending = 0;
    claim.claims = max(<i32>claim.claims + claim.claimsPending, 0);
    claim.claimsPending = 0;
    claim.nextSettling = settlingHead;
    settlingHead = row;
  }
}

/**
 * True when other hosts announced the address and the host `boot` did not. `isAhead`: the question is for the window after the open one, or
 * after the one that closes.
 */
export function isForeignAddress(addressHigh: u64, addressLow: u64, space: u64, boot: u64, isAhead: bool): bool {
  const last = lastAsked;
  if (
    last.isKnown === 0 ||
    last.addressLow !== addressLow ||
    last.addressHigh !== addressHigh ||
    last.space !== space ||
    last.boot !== boot ||
    last.isAhead !== u32(isAhead)
  ) {
    last.addressHigh = addressHigh;
    last.addressLow = addressLow;
    last.space = space;
    last.boot = boot;
    last.isAhead = u32(isAhead);
    last.isForeign = u32(findForeign(addressHigh, addressLow, space, boot, isAhead));
    last.isKnown = 1;
  }
  return last.isForeign !== 0;
}

function findForeign(addressHigh: u64, addressLow: u64, space: u64, boot: u64, isAhead: bool): bool {
  let isClaimed = false;
  for (let row = table.first(tagOf(addressHigh, addressLow, space)); row !== 0; row = table.next()) {
    const claim = claimAt(row);
    if (!isOf(row, addressHigh, addressLow, space) || (isAhead ? claim.claims : claim.claimsBefore) === 0) continue;
    if (claim.boot === boot) return false;
    isClaimed = true;
  }
  return isClaimed;
}

// Names an end that no agent looks at: the host that announced the address, else the name that its client asked for, else the address itself. Addresses are the 16 bytes of
// RFC 4291 as two loads of 8 (IPv4 as ::ffff:a.b.c.d); a space is the hash of its name.
//
// A binding is a chain of claims, one per host. It counts from the moment it is learned, so it names the flows of the window in which
// it is learned; one that ends names that window still. Exactly one claiming host gives its name: docker bridges have the same
// address on every host, and then the address says nothing about the host. So the order in which claims arrive does not matter.

import { ReducerCounter } from '../gen/records';
import { count, set } from '../lib/counters';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { nodeNamedAfter } from './address-nodes';
import { releaseNode, retainNode, touchNode } from './nodes';

export const BINDING_COUNT_MAX: u32 = 1 << 17;
export const CLAIM_COUNT_MAX: u32 = 1 << 18;

@unmanaged
class Binding {
  firstClaim: u32;
  hash: u32;
  hi: u64;
  lo: u64;
  space: u64;
}

/** Sessions of one host on one address: `count` of them, of which `ending` end with the open window, and `left` are gone and replaced. */
@unmanaged
class Claim {
  next: u32;
  host: u32;
  binding: u32;
  count: u32;
  ending: u32;
  /** In the list of claims with an end in the open window. */
  nextEnding: u32;
  left: u32;
}

let bindings: RowPool = changetype<RowPool>(0);
let claims: RowPool = changetype<RowPool>(0);
let table: OpenTable = changetype<OpenTable>(0);
let endingHead: u32 = 0;

export function initAddresses(bindingCountMax: u32, claimCountMax: u32): void {
  bindings = RowPool.create(offsetof<Binding>(), bindingCountMax);
  claims = RowPool.create(offsetof<Claim>(), claimCountMax);
  table = OpenTable.create(bindingCountMax);
  endingHead = 0;
}

/** The node of an address; borrowed (labels.ts). `named`: what it is when no host has it alone; 0 = what its digits say. */
export function nodeOfAddress(addressHi: u64, addressLo: u64, space: u64, named: u32): u32 {
  const binding = findBinding(addressHi, addressLo, space);
  if (binding === 0) return namedOrAddress(named, addressHi, addressLo);
  const claim = claimAt(bindingAt(binding).firstClaim);
  if (claim.next !== 0) {
    count(ReducerCounter.AddressesAmbiguous);
    return namedOrAddress(named, addressHi, addressLo);
  }
  touchNode(claim.host);
  return claim.host;
}

function namedOrAddress(named: u32, addressHi: u64, addressLo: u64): u32 {
  if (named === 0) return nodeNamedAfter(addressHi, addressLo);
  touchNode(named);
  return named;
}

/** A session on `host` announced the address. Every bind has one unbind. */
export function bindHostAddress(addressHi: u64, addressLo: u64, space: u64, host: u32): void {
  const found = findBinding(addressHi, addressLo, space);
  const binding = found !== 0 ? found : createBinding(addressHi, addressLo, space);
  if (binding === 0) {
    count(ReducerCounter.AddressClaimsRefused);
    return;
  }
  const known = findClaim(binding, host);
  if (known === 0) createClaim(binding, host);
  else if (claimAt(known).left !== 0) claimAt(known).left--;
  else claimAt(known).count++;
}

/**
 * A session on `host` no longer has the address; the binding goes in `endHostAddresses`. `isReplaced`: the next session of its agent claims the
 * address, or has already; until it does the host keeps it.
 */
export function unbindHostAddress(addressHi: u64, addressLo: u64, space: u64, host: u32, isReplaced: bool): void {
  const binding = findBinding(addressHi, addressLo, space);
  const claim = binding === 0 ? 0 : findClaim(binding, host);
  if (claim === 0) return;
  const row = claimAt(claim);
  if (isReplaced && row.count - row.ending === 1) {
    row.left++;
    return;
  }
  if (row.ending++ !== 0) return;
  row.nextEnding = endingHead;
  endingHead = claim;
}

/** All flows of the window are named and no record of the next has come: forgets the claims that ended. */
export function endHostAddresses(): void {
  let claim = endingHead;
  endingHead = 0;
  while (claim !== 0) {
    const row = claimAt(claim);
    const next = row.nextEnding;
    row.count -= min(row.count, row.ending);
    row.ending = 0;
    if (row.count === 0) removeClaim(claim);
    claim = next;
  }
}

function bindingAt(binding: u32): Binding {
  return changetype<Binding>(bindings.at(binding));
}

function claimAt(claim: u32): Claim {
  return changetype<Claim>(claims.at(claim));
}

function hashBinding(hi: u64, lo: u64, space: u64): u32 {
  return hashPair(hi + space, lo);
}

function findBinding(hi: u64, lo: u64, space: u64): u32 {
  if (bindings.live === 0) return 0;
  for (let row = table.first(hashBinding(hi, lo, space)); row !== 0; row = table.next()) {
    const binding = bindingAt(row);
    if (binding.hi === hi && binding.lo === lo && binding.space === space) return row;
  }
  return 0;
}

function createBinding(hi: u64, lo: u64, space: u64): u32 {
  if (claims.isFull()) return 0;
  const row = bindings.take();
  if (row === 0) return 0;
  const hash = hashBinding(hi, lo, space);
  if (!table.insert(hash, row)) {
    bindings.give(row);
    return 0;
  }
  const binding = bindingAt(row);
  binding.firstClaim = 0;
  binding.hash = hash;
  binding.hi = hi;
  binding.lo = lo;
  binding.space = space;
  return row;
}

function findClaim(binding: u32, host: u32): u32 {
  let claim = bindingAt(binding).firstClaim;
  while (claim !== 0 && claimAt(claim).host !== host) claim = claimAt(claim).next;
  return claim;
}

function createClaim(binding: u32, host: u32): void {
  const claim = claims.take();
  if (claim === 0) {
    count(ReducerCounter.AddressClaimsRefused);
    return;
  }
  const row = claimAt(claim);
  row.next = bindingAt(binding).firstClaim;
  row.host = host;
  row.binding = binding;
  row.count = 1;
  row.ending = 0;
  row.left = 0;
  bindingAt(binding).firstClaim = claim;
  retainNode(host);
  set(ReducerCounter.AddressClaimsLive, claims.live);
}

function removeClaim(claim: u32): void {
  const row = claimAt(claim);
  const binding = bindingAt(row.binding);
  if (binding.firstClaim === claim) {
    binding.firstClaim = row.next;
  } else {
    let previous = claimAt(binding.firstClaim);
    while (previous.next !== claim) previous = claimAt(previous.next);
    previous.next = row.next;
  }
  releaseNode(row.host);
  if (binding.firstClaim === 0) {
    table.remove(binding.hash, row.binding);
    bindings.give(row.binding);
  }
  claims.give(claim);
  set(ReducerCounter.AddressClaimsLive, claims.live);
}

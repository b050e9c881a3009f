// A hash of what a row is called, the same in every worker and run: it decides between rows that are alike otherwise.

import { nodeAt } from '../enrich/nodes';
import { textAddress, textBytes } from '../lib/intern';
import { Row } from './tree';

export const HASH_BITS: u64 = 20;
const HASH_MASK: u32 = (1 << 20) - 1;
/** In `Row.namesHash`, whose hash may be 0. */
const IS_HASHED: u32 = 1 << 31;
const FNV_OFFSET: u32 = 0x811c9dc5;
const FNV_PRIME: u32 = 0x01000193;

export function hashOfNames(row: Row): u32 {
  if (row.namesHash === 0) row.namesHash = hashNames(row) | IS_HASHED;
  return row.namesHash & HASH_MASK;
}

/** FNV-1a, 32 bits, of what each end is called and of the service, folded to HASH_BITS. */
function hashNames(row: Row): u32 {
  let hash = hashEnd(row.serverNode, hashEnd(row.clientNode, FNV_OFFSET));
  for (let shift: i32 = 16; shift >= 0; shift -= 8) hash = hashByte(hash, (row.service >>> shift) & 255);
  return (hash ^ (hash >>> 20)) & HASH_MASK;
}

function hashEnd(node: u32, before: u32): u32 {
  const end = nodeAt(node);
  return hashText(end.zone, hashText(end.role, hashText(end.id, before)));
}

/** A byte 0 ends a text. */
function hashText(text: u32, before: u32): u32 {
  let hash = before;
  const address = textAddress(text);
  const bytes = textBytes(text);
  for (let at: u32 = 0; at < bytes; at++) hash = hashByte(hash, load<u8>(address + at));
  return hashByte(hash, 0);
}

function hashByte(hash: u32, byte: u32): u32 {
  return (hash ^ byte) * FNV_PRIME;
}

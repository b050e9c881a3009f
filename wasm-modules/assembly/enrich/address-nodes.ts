// From an address to the node that is named after it, so that the text of an address is made once while its node lives. The row does
// not retain the node; the node drops the row when it goes.

import { NodeKind } from '../gen/records';
import { allocate } from '../lib/arena';
import { hashPair } from '../lib/hash';
import { internText, retainText } from '../lib/intern';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { ADDRESS_TEXT_BYTES_MAX, AddressClass, classifyAddress, formatAddressInto } from './address-text';
import { LiteralText } from './literal-text';
import {
  draftNode,
  ID_BYTES_MAX,
  NODE_COUNT_MAX,
  nodeAt,
  nodeOfDraft,
  ROLE_BYTES_MAX,
  touchNode,
  unknownNode,
} from './nodes';

@unmanaged
class AddressRow {
  node: u32;
  hash: u32;
  hi: u64;
  lo: u64;
}

let rows: RowPool = changetype<RowPool>(0);
let table: OpenTable = changetype<OpenTable>(0);
let text: usize = 0;
let privateRole: LiteralText = changetype<LiteralText>(0);
let publicRole: LiteralText = changetype<LiteralText>(0);

export function initAddressNodes(): void {
  rows = RowPool.create(offsetof<AddressRow>(), NODE_COUNT_MAX);
  table = OpenTable.create(NODE_COUNT_MAX);
  text = allocate(ADDRESS_TEXT_BYTES_MAX + 1);
  privateRole = LiteralText.of('(private)');
  publicRole = LiteralText.of('(internet)');
}

/** The node named after an address that belongs to no known host. Its id is the address, its role the class. */
export function nodeNamedAfter(hi: u64, lo: u64): u32 {
  const hash = hashPair(hi, lo);
  for (let row = table.first(hash); row !== 0; row = table.next()) {
    const found = addressAt(row);
    if (found.hi === hi && found.lo === lo) {
      touchNode(found.node);
      return found.node;
    }
  }
  return createAddressNode(hi, lo, hash);
}

function addressAt(row: u32): AddressRow {
  return changetype<AddressRow>(rows.at(row));
}

/** The node of `row` is gone. */
export function dropAddress(row: u32): void {
  table.remove(addressAt(row).hash, row);
  rows.give(row);
}

function createAddressNode(hi: u64, lo: u64, hash: u32): u32 {
  const addressClass = classifyAddress(hi, lo);
  if (addressClass === AddressClass.Unspecified) return unknownNode();
  const isPrivate = addressClass === AddressClass.Private;
  const role = isPrivate ? privateRole : publicRole;
  const draft = draftNode(isPrivate ? NodeKind.PrivateAddress : NodeKind.PublicAddress);
  draft.id = internText(text, formatAddressInto(hi, lo, text), ID_BYTES_MAX);
  draft.role = internText(role.address, role.bytes, ROLE_BYTES_MAX);
  draft.address = retainText(draft.id);
  const node = nodeOfDraft();
  const created = nodeAt(node);
  if (created.kind !== NodeKind.Other) remember(hi, lo, hash, node);
  return node;
}

/** The node may be known already, from another worker's record. */
function remember(hi: u64, lo: u64, hash: u32, node: u32): void {
  const row = rows.take();
  if (row === 0) return;
  if (!table.insert(hash, row)) {
    rows.give(row);
    return;
  }
  const remembered = addressAt(row);
  remembered.node = node;
  remembered.hash = hash;
  remembered.hi = hi;
  remembered.lo = lo;
  nodeAt(node).addressRow = row;
}

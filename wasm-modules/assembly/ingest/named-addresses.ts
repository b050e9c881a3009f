// What the sockets of a session call the addresses that they connect to: the names by which their host asked for them (wire.NamedAddress).
// A socket has the name that its remote address has when it is told as open; what the address is called later is no matter to it. Sessions
// do not name addresses for one another.

import { nodeOfName } from '../enrich/labels';
import { releaseNode, retainNode } from '../enrich/nodes';
import { labelAt } from '../enrich/tally-labels';
import { RefusalReason } from '../gen/records';
import { Announce, NamedAddress } from '../gen/wire';
import { countRefusal } from '../lib/counters';
import { countOf } from '../lib/flatbuffer-read';
import { hashPair } from '../lib/hash';
import { textAddress, textBytes } from '../lib/intern';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { isKnownLabel, labelOfHandle } from './labels';
import { Session } from './session';
import { spaceOf } from './twin-tables';

/** Per worker, and of one session; a further address keeps no name. */
const NAMED_ADDRESS_COUNT_MAX: u32 = 1 << 18;
const SESSION_NAMED_ADDRESS_COUNT_MAX: u32 = 1 << 16;

@unmanaged
class NamedAddressRow {
  high: u64;
  low: u64;
  space: u64;
  session: u64;
  /** Retained. */
  node: u32;
  // The rows of one session.
  next: u32;
  previous: u32;
  pad0: u32;
}

let rows: RowPool = changetype<RowPool>(0);
let table: OpenTable = changetype<OpenTable>(0);

export function initNamedAddresses(): void {
  rows = RowPool.create(offsetof<NamedAddressRow>(), NAMED_ADDRESS_COUNT_MAX);
  table = OpenTable.create(NAMED_ADDRESS_COUNT_MAX);
}

/** The node of the name that the session has for the address; 0 = none. */
export function nodeNamed(session: Session, high: u64, low: u64, space: u64): u32 {
  if (session.namedCount === 0) return 0;
  const row = find(session, high, low, space);
  return row === 0 ? 0 : rowAt(row).node;
}

export function checkNamedAddresses(session: Session, announce: Announce): u8 {
  const count = countOf(announce.namedAddresses);
  for (let index: u32 = 0; index < count; index++) {
    const named = announce.namedAddressesAt(index);
    if (spaceOf(session, named.addressSpace) === 0) return RefusalReason.UnknownAddressSpace;
    if (!isKnownLabel(session, named.label)) return RefusalReason.UnknownLabel;
  }
  return RefusalReason.None;
}

export function applyNamedAddresses(session: Session, announce: Announce): void {
  const count = countOf(announce.namedAddresses);
  for (let index: u32 = 0; index < count; index++) apply(session, announce.namedAddressesAt(index));
}

export function giveNamedAddresses(session: Session): void {
  while (session.firstNamed !== 0) give(session, session.firstNamed);
}

function apply(session: Session, named: NamedAddress): void {
  const space = spaceOf(session, named.addressSpace);
  const known = find(session, named.addressHi, named.addressLo, space);
  const label = labelOfHandle(session, named.label);
  const node = label === 0 ? 0 : nodeOfLabel(label);
  if (known !== 0) {
    if (node === 0) give(session, known);
    else rename(rowAt(known), node);
  } else if (node !== 0 && !add(session, named, space, node)) {
    countRefusal(RefusalReason.NamedAddressQuota);
  }
}

function nodeOfLabel(label: u32): u32 {
  const text = labelAt(label).text;
  return nodeOfName(textAddress(text), textBytes(text));
}

function rename(row: NamedAddressRow, node: u32): void {
  retainNode(node);
  releaseNode(row.node);
  row.node = node;
}

function add(session: Session, named: NamedAddress, space: u64, node: u32): bool {
  if (session.namedCount >= SESSION_NAMED_ADDRESS_COUNT_MAX) return false;
  const taken = rows.take();
  if (taken === 0) return false;
  const row = rowAt(taken);
  row.high = named.addressHi;
  row.low = named.addressLo;
  row.space = space;
  row.session = session.session;
  if (!table.insert(hashOf(session, row.high, row.low, space), taken)) {
    rows.give(taken);
    return false;
  }
  retainNode(node);
  row.node = node;
  row.previous = 0;
  row.next = session.firstNamed;
  if (row.next !== 0) rowAt(row.next).previous = taken;
  session.firstNamed = taken;
  session.namedCount++;
  return true;
}

function give(session: Session, given: u32): void {
  const row = rowAt(given);
  table.remove(hashOf(session, row.high, row.low, row.space), given);
  if (row.previous === 0) session.firstNamed = row.next;
  else rowAt(row.previous).next = row.next;
  if (row.next !== 0) rowAt(row.next).previous = row.previous;
  releaseNode(row.node);
  rows.give(given);
  session.namedCount--;
}

function find(session: Session, high: u64, low: u64, space: u64): u32 {
  for (let found = table.first(hashOf(session, high, low, space)); found !== 0; found = table.next()) {
    const row = rowAt(found);
    if (row.low === low && row.high === high && row.space === space && row.session === session.session) return found;
  }
  return 0;
}

function rowAt(row: u32): NamedAddressRow {
  return changetype<NamedAddressRow>(rows.at(row));
}

function hashOf(session: Session, high: u64, low: u64, space: u64): u32 {
  return hashPair(high + space, low ^ session.session);
}

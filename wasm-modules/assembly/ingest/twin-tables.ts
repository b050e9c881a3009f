// What a session announced besides sockets: processes and address spaces by handle, and the addresses of its host.

import { releaseNode, retainNode } from '../enrich/nodes';
import { MatchHostAddress, RecordKind } from '../gen/records';
import { giveBlock, growBlock } from '../lib/arena';
import { Session } from './session';
import { stageRecord, TO_ALL_WORKERS } from './staging';

/** Handles of a session are below these. */
export const PROCESS_COUNT_MAX: u32 = 262_144;
export const ADDRESS_SPACE_COUNT_MAX: u32 = 4096;
export const HOST_ADDRESS_COUNT_MAX: u32 = 2048;

/** An announced process that has no node of its own. */
const NO_NODE: u32 = 0xffffffff;

@unmanaged
export class OwnAddress {
  high: u64;
  low: u64;
  space: u64;
}

/** True when a socket may name the process: 0, or announced. */
export function isKnownProcess(session: Session, handle: u32): bool {
  return handle === 0 || nodeSlot(session, handle) !== 0;
}

/** The node of an announced process; that of the host for 0. */
export function nodeOfHandle(session: Session, handle: u32): u32 {
  if (handle === 0) return session.host;
  const node = nodeSlot(session, handle);
  return node === NO_NODE ? session.host : node;
}

function nodeSlot(session: Session, handle: u32): u32 {
  return handle < session.processCapacity ? load<u32>(session.processes + ((<usize>handle) << 2)) : 0;
}

/** Makes room for handles up to `handle`; false when memory is used up. */
export function ensureProcess(session: Session, handle: u32): bool {
  if (handle < session.processCapacity) return true;
  const capacity = capacityFor(handle);
  const oldBytes = (<usize>session.processCapacity) << 2;
  const grown = growBlock(session.processes, oldBytes, oldBytes, (<usize>capacity) << 2);
  if (grown === 0) return false;
  session.processes = grown;
  session.processCapacity = capacity;
  return true;
}

/** Retains `node` for the handle; 0 for `node` ends the process. */
export function setProcess(session: Session, handle: u32, node: u32, isAnnounced: bool): void {
  const before = nodeSlot(session, handle);
  if (before === 0 && isAnnounced) session.processCount++;
  if (before !== 0 && !isAnnounced) session.processCount--;
  retainNode(node);
  if (before !== NO_NODE) releaseNode(before);
  if (handle >= session.processCapacity) return;
  store<u32>(session.processes + ((<usize>handle) << 2), isAnnounced ? (node === 0 ? NO_NODE : node) : 0);
}

/** The identity of an announced address space, or 0. */
export function spaceOf(session: Session, handle: u32): u64 {
  return handle < session.spaceCapacity ? load<u64>(session.spaces + ((<usize>handle) << 3)) : 0;
}

export function ensureSpace(session: Session, handle: u32): bool {
  if (handle < session.spaceCapacity) return true;
  const capacity = capacityFor(handle);
  const oldBytes = (<usize>session.spaceCapacity) << 3;
  const grown = growBlock(session.spaces, oldBytes, oldBytes, (<usize>capacity) << 3);
  if (grown === 0) return false;
  session.spaces = grown;
  session.spaceCapacity = capacity;
  return true;
}

export function setSpace(session: Session, handle: u32, space: u64): void {
  store<u64>(session.spaces + ((<usize>handle) << 3), space);
}

function capacityFor(handle: u32): u32 {
  let capacity: u32 = 64;
  while (capacity <= handle) capacity *= 2;
  return capacity;
}

export function addressAt(session: Session, index: u32): OwnAddress {
  return changetype<OwnAddress>(session.addresses + <usize>index * offsetof<OwnAddress>());
}

export function ensureAddresses(session: Session, count: u32): bool {
  if (count <= session.addressCapacity) return true;
  const used = <usize>session.addressCount * offsetof<OwnAddress>();
  const old = <usize>session.addressCapacity * offsetof<OwnAddress>();
  const grown = growBlock(session.addresses, old, used, <usize>count * offsetof<OwnAddress>());
  if (grown === 0) return false;
  session.addresses = grown;
  session.addressCapacity = count;
  return true;
}

/** Tells every worker that the address is, or is no longer, one of this host; `ended` as in records.MatchHostAddress. */
export function stageAddress(session: Session, address: OwnAddress, ended: u32): void {
  const record = changetype<MatchHostAddress>(
    stageRecord(session, RecordKind.HostAddress, offsetof<MatchHostAddress>(), TO_ALL_WORKERS),
  );
  record.addressHi = address.high;
  record.addressLo = address.low;
  record.addressSpace = address.space;
  record.node = session.host;
  record.ended = ended;
  record.boot = session.boot;
}

/** Forgets all that was announced; the claims of host addresses stay with match. */
export function giveTables(session: Session): void {
  for (let handle: u32 = 1; handle < session.processCapacity; handle++) {
    const node = nodeSlot(session, handle);
    if (node !== NO_NODE) releaseNode(node);
  }
  if (session.processes !== 0) giveBlock(session.processes, (<usize>session.processCapacity) << 2);
  if (session.spaces !== 0) giveBlock(session.spaces, (<usize>session.spaceCapacity) << 3);
  session.processes = 0;
  session.processCapacity = 0;
  session.processCount = 0;
  session.spaces = 0;
  session.spaceCapacity = 0;
}

export function giveAddresses(session: Session): void {
  if (session.addresses !== 0) {
    giveBlock(session.addresses, <usize>session.addressCapacity * offsetof<OwnAddress>());
  }
  session.addresses = 0;
  session.addressCapacity = 0;
  session.addressCount = 0;
}

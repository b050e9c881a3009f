// The sockets of this host: found by cookie, numbered by row. A row stays where it is until its end is committed. Which rows have something
// to tell is a bitmap, so telling walks memory in order and a socket is told once however often it moved.
import { allocate } from '../lib/arena';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { releaseSpace } from './address-spaces';
import { releaseHealth } from './health-row';
import { releaseProcess } from './processes';
import { SocketFlag, SocketRow } from './socket-row';
import { dropTallies } from './tallies';
import { NOTHING, releaseVersion, retainVersion } from './versions';

let byCookie: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
/** One bit per row. */
let dirty: usize = 0;
let dirtyBytes: usize = 0;
let refused: u64 = 0;

export function initSockets(countMax: u32): void {
  byCookie = OpenTable.create(countMax);
  rows = RowPool.create(offsetof<SocketRow>(), countMax);
  dirtyBytes = <usize>((countMax >>> 6) + 1) * 8;
  dirty = allocate(dirtyBytes);
}

export function socketCount(): u32 {
  return rows.live;
}

export function socketsRefused(): u64 {
  return refused;
}

export function refuseSocket(): void {
  refused++;
}

export function socketAt(row: u32): SocketRow {
  return changetype<SocketRow>(rows.at(row));
}

/**
 * The row of the socket's connection that began at `startTimeNs`; 0 = unknown. A socket may connect again after a failure or a close, and an
 * end that waited elsewhere comes behind the opening of the next. Where one of the two beginnings is not known, what ended before the other
 * is another connection. `startTimeNs` 0: the only one that can be meant, open or not.
 */
export function findSocket(cookie: u64, startTimeNs: u64): u32 {
  let closed: u32 = 0;
  for (let row = byCookie.first(hashPair(cookie, 0)); row !== 0; row = byCookie.next()) {
    const socket = socketAt(row);
    if (socket.cookie !== cookie) continue;
    if (startTimeNs !== 0 && socket.startTimeNs !== 0 && startTimeNs !== socket.startTimeNs) continue;
    if (!socket.has(SocketFlag.Closed)) return row;
    if (startTimeNs <= socket.endTimeNs) closed = row;
  }
  return closed;
}

/** A row with this cookie, of which nothing is told; 0 when the table is full. */
export function addSocket(cookie: u64): u32 {
  const row = rows.take();
  if (row === 0) {
    refused++;
    return 0;
  }
  const socket = socketAt(row);
  memory.fill(changetype<usize>(socket), 0, offsetof<SocketRow>());
  socket.cookie = cookie;
  socket.told = retainVersion(NOTHING);
  socket.committed = retainVersion(NOTHING);
  byCookie.insert(hashPair(cookie, 0), row);
  return row;
}

export function freeSocket(row: u32): void {
  const socket = socketAt(row);
  dropTallies(row);
  releaseHealth(socket);
  releaseVersion(socket.told);
  releaseVersion(socket.committed);
  byCookie.remove(hashPair(socket.cookie, 0), row);
  releaseProcess(socket.process);
  releaseSpace(socket.space);
  socket.cookie = 0;
  socket.startTimeNs = 0;
  clearDirty(row);
  rows.give(row);
}

/** Row after `row` that holds a socket; 0 after the last. Start with 0. */
export function nextSocket(row: u32): u32 {
  const end = rows.end;
  for (let next = row + 1; next < end; next++) {
    if (socketAt(next).cookie !== 0) return next;
  }
  return 0;
}

export function markDirty(row: u32): void {
  const word = dirty + <usize>(row >>> 6) * 8;
  store<u64>(word, load<u64>(word) | ((<u64>1) << (row & 63)));
}

export function clearDirty(row: u32): void {
  const word = dirty + <usize>(row >>> 6) * 8;
  store<u64>(word, load<u64>(word) & ~((<u64>1) << (row & 63)));
}

/** Row after `row` that has something to tell; 0 after the last. Start with 0. */
export function nextDirty(row: u32): u32 {
  const start = row + 1;
  let at = <usize>(start >>> 6) * 8;
  if (at >= dirtyBytes) return 0;
  let bits = load<u64>(dirty + at) & (~(<u64>0) << (start & 63));
  while (bits === 0) {
    at += 8;
    if (at >= dirtyBytes) return 0;
    bits = load<u64>(dirty + at);
  }
  return ((<u32>at) << 3) + <u32>ctz(bits);
}

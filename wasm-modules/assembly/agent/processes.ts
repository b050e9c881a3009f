// The processes that own sockets: found by (pid, start), numbered by a dense handle, counted by their sockets. The host gives them names
// and announces them before a frame mentions them. One that has had no socket for a while ends: first it is announced as ended, then its
// handle is free.

import { ProcessToName } from '../gen/agent';
import { SocketEvent } from '../gen/kernel-events';
import { allocate } from '../lib/arena';
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { PROCESS_IDLE_NS } from './limits';

@unmanaged
class ProcessRow {
  link: u32;
  /** 0 = the row is free. */
  pid: u32;
  startTimeNs: u64;
  /** Sockets and folds. */
  references: u32;
  /** The window in which the last reference went. */
  idleSince: u32;
}

/** Processes told to the host, or by it, in one call. */
const TO_NAME_COUNT_MAX: u32 = 256;
const ENDED_COUNT_MAX: u32 = 1024;

let byIdentity: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
let toName: usize = 0;
let toNameCount: u32 = 0;
let ended: usize = 0;
let openWindow: u32 = 0;
let idleWindows: u32 = 0;
let refused: u64 = 0;

export function initProcesses(countMax: u32): void {
  byIdentity = OpenTable.create(countMax);
  rows = RowPool.create(offsetof<ProcessRow>(), countMax);
  toName = allocate(TO_NAME_COUNT_MAX * offsetof<ProcessToName>());
  ended = allocate(ENDED_COUNT_MAX * 4);
}

function processAt(handle: u32): ProcessRow {
  return changetype<ProcessRow>(rows.at(handle));
}

export function processCount(): u32 {
  return rows.live;
}

export function processesRefused(): u64 {
  return refused;
}

/** The window that is not told yet; the length of windows in nanoseconds. */
export function setProcessWindow(window: u32, windowNs: f64): void {
  openWindow = window;
  idleWindows = <u32>Math.ceil(PROCESS_IDLE_NS / windowNs);
}

/** The owner that an event names, with one reference more; 0 = none. */
export function retainOwner(event: SocketEvent): u32 {
  if (event.ownerPid === 0) return 0;
  const hash = hashPair(event.ownerStartTimeNs, event.ownerPid);
  for (let handle = byIdentity.first(hash); handle !== 0; handle = byIdentity.next()) {
    const row = processAt(handle);
    if (row.pid !== event.ownerPid || row.startTimeNs !== event.ownerStartTimeNs) continue;
    row.references++;
    return handle;
  }
  return addProcess(event, hash);
}

function addProcess(event: SocketEvent, hash: u32): u32 {
  const handle = rows.take();
  if (handle === 0) {
    refused++;
    return 0;
  }
  const row = processAt(handle);
  row.pid = event.ownerPid;
  row.startTimeNs = event.ownerStartTimeNs;
  row.references = 1;
  row.idleSince = 0;
  byIdentity.insert(hash, handle);
  queueToName(handle, event);
  return handle;
}

/** The queue has room: applyEvents stops in time (isNamingDue). */
function queueToName(handle: u32, event: SocketEvent): void {
  const entry = changetype<ProcessToName>(toName + toNameCount++ * offsetof<ProcessToName>());
  entry.handle = handle;
  entry.pid = event.ownerPid;
  entry.uid = event.ownerUid;
  entry.pad0 = 0;
  entry.startTimeNs = event.ownerStartTimeNs;
  entry.cgroupId = event.cgroupId;
  memory.copy(entry.comm, event.ownerComm, 16);
}

/** The host has to take the processes to name before another event is applied. */
export function isNamingDue(): bool {
  return toNameCount === TO_NAME_COUNT_MAX;
}

export function processesToName(): usize {
  return toName;
}

export function processesToNameCount(): u32 {
  return toNameCount;
}

export function clearProcessesToName(): void {
  toNameCount = 0;
}

export function retainProcess(handle: u32): void {
  if (handle !== 0) processAt(handle).references++;
}

export function releaseProcess(handle: u32): void {
  if (handle === 0) return;
  const row = processAt(handle);
  if (--row.references === 0) row.idleSince = openWindow;
}

/** Handles (u32) of processes that ended, at most ENDED_COUNT_MAX of them; they are free when this returns. */
export function endIdleProcesses(): usize {
  endedCount = 0;
  const end = rows.end;
  for (let handle: u32 = 1; handle < end && endedCount < ENDED_COUNT_MAX; handle++) {
    const row = processAt(handle);
    if (row.pid === 0 || row.references !== 0) continue;
    // The windows may have become longer meanwhile.
    row.idleSince = min(row.idleSince, openWindow);
    if (row.idleSince + idleWindows >= openWindow) continue;
    byIdentity.remove(hashPair(row.startTimeNs, row.pid), handle);
    row.pid = 0;
    rows.give(handle);
    store<u32>(ended + endedCount++ * 4, handle);
  }
  return ended;
}

let endedCount: u32 = 0;

export function endedProcessCount(): u32 {
  return endedCount;
}

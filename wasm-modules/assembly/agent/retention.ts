// Closed sockets wait here, oldest first, until their end is committed. Three lists:
//
//   once   closed before this channel knew of them: one record will tell all, unless something was tallied
//   ended  opened on this channel, adopted, or with tallies: a Close will follow
//   told   their end was told and is not committed
//
// Together they are limited: beyond it the oldest that can do without a row of its own is folded (folds.ts).
import { foldSocket } from './folds';
import { releaseHandle } from './handles';
import { settle } from './settled';
import { SocketFlag, SocketRow } from './socket-row';
import { samplesInOnce, tallyDuration } from './socket-tallies';
import { clearDirty, freeSocket, markDirty, socketAt } from './sockets';
import { loseTallies } from './tallies';

/** A list through SocketRow.next. */
@unmanaged
class RowList {
  first: u32;
  last: u32;

  push(row: u32, socket: SocketRow): void {
    socket.next = 0;
    if (this.first === 0) this.first = row;
    else socketAt(this.last).next = row;
    this.last = row;
  }

  shift(): u32 {
    const row = this.first;
    if (row !== 0) this.first = socketAt(row).next;
    return row;
  }
}

const once = changetype<RowList>(memory.data(8, 8));
const ended = changetype<RowList>(memory.data(8, 8));
const told = changetype<RowList>(memory.data(8, 8));
let closedCount: u32 = 0;
let closedMax: u32 = 0;

export function initRetention(countMax: u32): void {
  closedMax = countMax;
}

export function closedSocketCount(): u32 {
  return closedCount;
}

/** Files a socket that has just closed. `timeNs`: CLOCK_MONOTONIC. */
export function endSocket(row: u32, socket: SocketRow, reason: u8, timeNs: u64): void {
  socket.set(SocketFlag.Closed);
  socket.endTimeNs = timeNs;
  socket.reason = reason;
  closedCount++;
  fileUntold(row, socket);
  if (closedCount > closedMax) foldOldest();
}

function fileUntold(row: u32, socket: SocketRow): void {
  if (socket.has(SocketFlag.OpenTold) || socket.hasBaseline) {
    if (socket.has(SocketFlag.OpenTold)) clearDirty(row);
    else markDirty(row);
    tallyDuration(row, socket);
    ended.push(row, socket);
  } else {
    socket.set(SocketFlag.Once);
    clearDirty(row);
    once.push(row, socket);
  }
}

/**
 * Before a window or a snapshot is told: whoever has tallies needs a handle for them, so it is opened and closed. Only now, because a closed
 * socket takes tallies until it is told, and as long as it has no handle it can fold.
 */
export function fileTallied(): void {
  const first = once.first;
  once.first = 0;
  for (let row = first; row !== 0; ) {
    const socket = socketAt(row);
    const next = socket.next;
    if (socket.tallies === 0) {
      once.push(row, socket);
    } else {
      socket.clear(SocketFlag.Once);
      markDirty(row);
      tallyDuration(row, socket);
      ended.push(row, socket);
    }
    row = next;
  }
}

/** A socket whose Close is owed cannot fold: the reducer would keep it open. There are no more of those than open sockets. */
function foldOldest(): void {
  const row = told.first !== 0 ? told.shift() : once.shift();
  if (row === 0) return;
  const socket = socketAt(row);
  foldSocket(socket);
  if (socket.has(SocketFlag.Once)) loseTallies(samplesInOnce(socket), socket.closeWindow !== 0);
  if (socket.handle !== 0 && !socket.has(SocketFlag.HandleReleased)) releaseHandle(socket.handle, 0);
  dropClosed(row);
}

function dropClosed(row: u32): void {
  freeSocket(row);
  closedCount--;
}

/** The next socket to tell as Once, or as Close; 0 = none. It is filed as told in `window`. */
export function tellOnce(window: u32): u32 {
  const row = once.shift();
  if (row !== 0) fileTold(row, window);
  return row;
}

export function tellClose(window: u32): u32 {
  const row = ended.shift();
  if (row !== 0) fileTold(row, window);
  return row;
}

function fileTold(row: u32, window: u32): void {
  const socket = socketAt(row);
  if (socket.closeWindow === 0) socket.closeWindow = window;
  told.push(row, socket);
  if (socket.handle === 0 || socket.has(SocketFlag.HandleReleased)) return;
  releaseHandle(socket.handle, window);
  socket.set(SocketFlag.HandleReleased);
}

/** A snapshot may have put older windows behind newer ones, so the whole list is walked. */
export function commitClosed(window: u32): void {
  let row = told.first;
  told.first = 0;
  while (row !== 0) {
    const socket = socketAt(row);
    const next = socket.next;
    if (socket.closeWindow > window) {
      told.push(row, socket);
    } else {
      settle(socket);
      dropClosed(row);
    }
    row = next;
  }
}

/** For a new channel: every closed socket is to be told again. The same reducer may still commit the window in which it was told first. */
export function retellClosed(isSameReducer: bool): void {
  const firstTold = told.first;
  const firstEnded = ended.first;
  const firstOnce = once.first;
  told.first = 0;
  ended.first = 0;
  once.first = 0;
  refile(firstTold, isSameReducer);
  refile(firstEnded, isSameReducer);
  refile(firstOnce, isSameReducer);
}

function refile(first: u32, keepWindow: bool): void {
  for (let row = first; row !== 0; ) {
    const socket = socketAt(row);
    const next = socket.next;
    socket.clear(SocketFlag.Once | SocketFlag.OpenTold);
    if (!keepWindow) socket.closeWindow = 0;
    fileUntold(row, socket);
    row = next;
  }
}

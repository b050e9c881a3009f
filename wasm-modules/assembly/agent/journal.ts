// What was told and is not committed yet, in the order of telling: (socket, window, totals). A commit moves the entries up to its window
// into the sockets' committed totals, so they are exact for any window, however many are under way. The entries of one socket are a chain,
// newest first.
import { Totals } from '../gen/wire';
import { Fifo } from './fifo';
import { copyTotals, SocketFlag, SocketRow } from './socket-row';
import { nextSocket, socketAt } from './sockets';

@unmanaged
export class JournalEntry {
  row: u32; // 0
  window: u32; // 4
  /** SocketRow.identity: the row may hold another socket by now. */
  identity: u64; // 8
  /** The socket's entry before this one, and its window: it is gone once that window is committed. */
  previous: u32; // 16
  previousWindow: u32; // 20
  private totals0: u64; // 24
  private totals1: u64;
  private totals2: u64;
  private totals3: u64;
  private totals4: u64;
  private totals5: u64;

  get totals(): Totals {
    return changetype<Totals>(changetype<usize>(this) + 24);
  }
}

if (offsetof<JournalEntry>() !== 72) ERROR('JournalEntry has 72 bytes');

let entries: Fifo<JournalEntry> = changetype<Fifo<JournalEntry>>(0);
let entriesMax: u32 = 0;
/** Sockets with SocketFlag.Unjournaled, at most. */
let unjournaled: u32 = 0;
let committedWindow: u32 = 0;
let skipped: u64 = 0;

export function initJournal(countMax: u32): void {
  entries = Fifo.create<JournalEntry>();
  entriesMax = countMax;
}

export function journalCount(): u32 {
  return entries.count;
}

export function journalSkipped(): u64 {
  return skipped;
}

/** The socket's told totals are what the reducer has with the end of `window`, which may have a snapshot and updates: one entry for all. */
export function journalTold(row: u32, socket: SocketRow, window: u32): void {
  const newest = pendingEntry(socket);
  if (changetype<usize>(newest) !== 0 && newest.window === window) {
    socket.clear(SocketFlag.Unjournaled);
    copyTotals(newest.totals, socket.told);
    return;
  }
  if (entries.count >= entriesMax) {
    skipped++;
    if (!socket.has(SocketFlag.Unjournaled)) unjournaled++;
    socket.set(SocketFlag.Unjournaled);
    return;
  }
  socket.clear(SocketFlag.Unjournaled);
  const entry = entries.push();
  entry.row = row;
  entry.window = window;
  entry.identity = socket.identity;
  entry.previous = socket.lastEntry;
  entry.previousWindow = socket.lastEntryWindow;
  copyTotals(entry.totals, socket.told);
  socket.lastEntry = <u32>changetype<usize>(entry);
  socket.lastEntryWindow = window;
}

/** The newest entry of a socket that is not committed, or null (address 0). */
export function pendingEntry(socket: SocketRow): JournalEntry {
  return changetype<JournalEntry>(socket.lastEntryWindow > committedWindow ? socket.lastEntry : 0);
}

/** The one before it, or null. */
export function pendingEntryBefore(entry: JournalEntry): JournalEntry {
  return changetype<JournalEntry>(entry.previousWindow > committedWindow ? entry.previous : 0);
}

/** Notes what found the journal full, now that there may be room. To be called when a window has been told. */
export function journalSkippedSockets(window: u32): void {
  if (unjournaled === 0 || entries.count >= entriesMax) return;
  unjournaled = 0;
  for (let row = nextSocket(0); row !== 0; row = nextSocket(row)) {
    const socket = socketAt(row);
    if (!socket.has(SocketFlag.Unjournaled)) continue;
    if (entries.count < entriesMax) journalTold(row, socket, window);
    else unjournaled++;
  }
}

export function commitJournal(window: u32): void {
  committedWindow = max(committedWindow, window);
  while (entries.count > 0 && entries.first().window <= window) {
    const entry = entries.first();
    const socket = socketAt(entry.row);
    if (socket.identity === entry.identity) {
      raiseCommitted(socket.committed, entry.totals);
      socket.set(SocketFlag.OpenCommitted);
    }
    entries.shift();
  }
}

/**
 * Totals of one socket rise together. A snapshot starts from what was committed, below what the journal holds: the same reducer may commit
 * that still, and another one is told at least as much with the snapshot's window.
 */
function raiseCommitted(committed: Totals, totals: Totals): void {
  const isLower =
    totals.bytesSent < committed.bytesSent ||
    totals.bytesReceived < committed.bytesReceived ||
    totals.segmentsSent < committed.segmentsSent ||
    totals.segmentsReceived < committed.segmentsReceived;
  if (!isLower) copyTotals(committed, totals);
}

/** Windows get another length, so a new reducer will be told: nothing of before will be committed, and its numbers mean nothing any more. */
export function restartJournal(): void {
  entries.clear();
  unjournaled = 0;
  committedWindow = 0;
  for (let row = nextSocket(0); row !== 0; row = nextSocket(row)) {
    socketAt(row).lastEntryWindow = 0;
    socketAt(row).clear(SocketFlag.Unjournaled);
  }
}

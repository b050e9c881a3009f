// What was told and is not committed yet, in the order of telling: (socket, window, totals). A commit moves the entries up to its window
// into the sockets' committed totals, so they are exact for any window, however many are under way. The entries of one socket are a chain,
// newest first. The newest one has the totals that the socket has told, until it tells others.
import { Totals } from '../gen/wire';
import { Fifo } from './fifo';
import { SocketFlag, SocketRow } from './socket-row';
import { nextSocket, socketAt } from './sockets';
import {
  AS_NOW,
  committedOf,
  keepNow,
  releaseVersion,
  retainVersion,
  setCommitted,
  toldOf,
  totalsOf,
} from './versions';

/** In place of an entry's version: what the socket has told. */
const AS_TOLD: u32 = 0;

@unmanaged
export class JournalEntry {
  row: u32; // 0
  window: u32; // 4
  /** SocketRow.identity: the row may hold another socket by now. */
  identity: u64; // 8
  /** The socket's entry before this one, and its window: it is gone once that window is committed. */
  previous: u32; // 16
  previousWindow: u32; // 20
  version: u32; // 24
  pad0: u32; // 28
}

if (offsetof<JournalEntry>() !== 32) ERROR('JournalEntry has 32 bytes');

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

/** What the channel has heard of the socket is `version` from now on; the caller's reference goes over to the socket. */
export function changeTold(socket: SocketRow, version: u32): void {
  keepEntry(socket);
  releaseVersion(socket.told);
  socket.told = version;
}

/** The newest entry of the socket has totals of its own from now on. */
function keepEntry(socket: SocketRow): void {
  const newest = pendingEntry(socket);
  if (changetype<usize>(newest) === 0 || newest.version !== AS_TOLD) return;
  if (socket.told === AS_NOW) keepNow(socket);
  newest.version = retainVersion(socket.told);
}

/** The socket's told totals are what the reducer has with the end of `window`, which may have a snapshot and updates: one entry for all. */
export function journalTold(row: u32, socket: SocketRow, window: u32): void {
  const newest = pendingEntry(socket);
  if (changetype<usize>(newest) !== 0 && newest.window === window) {
    socket.clear(SocketFlag.Unjournaled);
    if (newest.version !== AS_TOLD) releaseVersion(newest.version);
    newest.version = AS_TOLD;
    return;
  }
  if (entries.count >= entriesMax) {
    skipped++;
    if (!socket.has(SocketFlag.Unjournaled)) unjournaled++;
    socket.set(SocketFlag.Unjournaled);
    return;
  }
  socket.clear(SocketFlag.Unjournaled);
  keepEntry(socket);
  const entry = entries.push();
  entry.row = row;
  entry.window = window;
  entry.identity = socket.identity;
  entry.previous = socket.lastEntry;
  entry.previousWindow = socket.lastEntryWindow;
  entry.version = AS_TOLD;
  socket.lastEntry = <u32>changetype<usize>(entry);
  socket.lastEntryWindow = window;
}

export function totalsOfEntry(entry: JournalEntry, socket: SocketRow): Totals {
  return entry.version === AS_TOLD ? toldOf(socket) : totalsOf(entry.version, socket);
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
      raiseCommitted(socket, entry);
      socket.set(SocketFlag.OpenCommitted);
    }
    shiftEntry();
  }
}

function shiftEntry(): void {
  const version = entries.first().version;
  if (version !== AS_TOLD) releaseVersion(version);
  entries.shift();
}

/**
 * Totals of one socket rise together. A snapshot starts from what was committed, below what the journal holds: the same reducer may commit
 * that still, and another one is told at least as much with the snapshot's window.
 */
function raiseCommitted(socket: SocketRow, entry: JournalEntry): void {
  const committed = committedOf(socket);
  const totals = totalsOfEntry(entry, socket);
  const isLower =
    totals.bytesSent < committed.bytesSent ||
    totals.bytesReceived < committed.bytesReceived ||
    totals.segmentsSent < committed.segmentsSent ||
    totals.segmentsReceived < committed.segmentsReceived;
  if (!isLower) setCommitted(socket, retainVersion(entry.version === AS_TOLD ? socket.told : entry.version));
}

/** Windows get another length, so a new reducer will be told: nothing of before will be committed, and its numbers mean nothing any more. */
export function restartJournal(): void {
  while (entries.count > 0) shiftEntry();
  unjournaled = 0;
  committedWindow = 0;
  for (let row = nextSocket(0); row !== 0; row = nextSocket(row)) {
    socketAt(row).lastEntryWindow = 0;
    socketAt(row).clear(SocketFlag.Unjournaled);
  }
}

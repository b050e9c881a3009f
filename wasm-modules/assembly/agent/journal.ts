// What was told and is not committed yet, in the order of telling: (socket, window, totals). A commit moves the entries up to its window
// into the sockets' committed totals, so they are exact for any window, however many are under way.
import { Totals } from "../gen/wire";
import { Fifo } from "./fifo";
import { nextSocket, socketAt } from "./sockets";
import { copyTotals, SocketFlag, SocketRow } from "./socket-row";

@unmanaged
class JournalEntry {
  row: u32; // 0
  window: u32; // 4
  /** The row may hold another socket by now. */
  cookie: u64; // 8
  private totals0: u64; // 16
  private totals1: u64;
  private totals2: u64;
  private totals3: u64;
  private totals4: u64;
  private totals5: u64;

  get totals(): Totals {
    return changetype<Totals>(changetype<usize>(this) + 16);
  }
}

if (offsetof<JournalEntry>() !== 64) ERROR("JournalEntry has 64 bytes");

let entries: Fifo<JournalEntry> = changetype<Fifo<JournalEntry>>(0);
let entriesMax: u32 = 0;
/** Sockets with SocketFlag.Unjournaled, at most. */
let unjournaled: u32 = 0;
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

/** The socket's told totals are what the reducer has with the end of `window`. */
export function journalTold(row: u32, socket: SocketRow, window: u32): void {
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
  entry.cookie = socket.cookie;
  copyTotals(entry.totals, socket.told);
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
  while (entries.count > 0 && entries.first().window <= window) {
    const entry = entries.first();
    const socket = socketAt(entry.row);
    if (socket.cookie === entry.cookie) {
      copyTotals(socket.committed, entry.totals);
      socket.set(SocketFlag.OpenCommitted);
    }
    entries.shift();
  }
}

/** A new channel knows nothing of what was told on the old one. */
export function clearJournal(): void {
  entries.clear();
  unjournaled = 0;
}

// Socket rows of a session by handle, in chunks that stay where they are: 64 bytes a socket, side by side for one agent, so an update is
// one index and no hash.
import { EndTotals } from '../gen/records';
import { giveBlock, growBlock, takeBlock } from '../lib/arena';
import { Session } from './session';

/** Sockets of a session at once: handles are below it. */
export const SOCKET_COUNT_MAX: u32 = 1 << 20;
const CHUNK_SHIFT: u32 = 8;
const CHUNK_ROWS: u32 = 1 << CHUNK_SHIFT;
const CHUNKS_FIRST: u32 = 16;

export namespace SocketState {
  export const Free: u8 = 0;
  export const Open: u8 = 1;
  /** Open at the agent, not taken here: what it reports is ignored. */
  export const Refused: u8 = 2;
}

/** Opened since the last WindowEnd. */
export const SOCKET_NEW: u8 = 1;
/** Seen by the check of the batch at hand: an agent names a socket once in a batch. */
export const SOCKET_IN_BATCH: u8 = 2;
/** On the list of rows that moved. */
export const SOCKET_DIRTY: u8 = 4;
export const SOCKET_EXISTING: u8 = 8;
/** Its totals have changed since the last WindowEnd. */
export const SOCKET_MOVED: u8 = 16;

@unmanaged
export class Socket {
  bytesSent: u64;
  bytesReceived: u64;
  segmentsSent: u64;
  segmentsReceived: u64;
  retransmits: u64;
  srttUs: u32;
  /** Its number on the channel to `worker`. */
  end: u32;
  nextDirty: u32;
  /** Up to where its totals are known, a window. */
  toldWindow: u32;
  worker: u8;
  state: u8;
  flags: u8;
  /** Reports since the last WindowEnd. */
  reports: u8;
  /** Low half of the cookie: tells a refreshed Open from a handle that is taken. */
  cookieLow: u32;

  /** Its running totals, without `minRttUs`. */
  get totals(): EndTotals {
    return changetype<EndTotals>(changetype<usize>(this));
  }
}

if (offsetof<Socket>('srttUs') !== offsetof<EndTotals>('srttUs')) ERROR('a socket row begins with its totals');
if (offsetof<Socket>() !== 64) ERROR('a socket row is one cache line');

/** The row of a handle, or 0 when its chunk does not exist. */
export function socketRow(session: Session, handle: u32): usize {
  const chunk = handle >>> CHUNK_SHIFT;
  if (chunk >= session.chunkCapacity) return 0;
  const base = load<usize>(session.chunks + <usize>chunk * sizeof<usize>());
  return base === 0 ? 0 : base + <usize>(handle & (CHUNK_ROWS - 1)) * offsetof<Socket>();
}

/** The row of a handle for which `ensureSocket` was true. */
export function socketAt(session: Session, handle: u32): Socket {
  const chunk = load<usize>(session.chunks + <usize>(handle >>> CHUNK_SHIFT) * sizeof<usize>());
  return changetype<Socket>(chunk + <usize>(handle & (CHUNK_ROWS - 1)) * offsetof<Socket>());
}

/** Makes the row of `handle` (below SOCKET_COUNT_MAX) exist; false when memory is used up. */
export function ensureSocket(session: Session, handle: u32): bool {
  const chunk = handle >>> CHUNK_SHIFT;
  if (chunk >= session.chunkCapacity && !growChunks(session, chunk + 1)) return false;
  const address = session.chunks + <usize>chunk * sizeof<usize>();
  if (load<usize>(address) === 0) {
    const rows = takeBlock(<usize>CHUNK_ROWS * offsetof<Socket>());
    if (rows === 0) return false;
    store<usize>(address, rows);
  }
  if (handle >= session.socketEnd) session.socketEnd = handle + 1;
  return true;
}

function growChunks(session: Session, count: u32): bool {
  let capacity = session.chunkCapacity === 0 ? CHUNKS_FIRST : session.chunkCapacity;
  while (capacity < count) capacity *= 2;
  const oldBytes = <usize>session.chunkCapacity * sizeof<usize>();
  const grown = growBlock(session.chunks, oldBytes, oldBytes, <usize>capacity * sizeof<usize>());
  if (grown === 0) return false;
  session.chunks = grown;
  session.chunkCapacity = capacity;
  return true;
}

/** Puts a row on the list that the next WindowEnd works through. */
export function markDirty(session: Session, handle: u32, socket: Socket): void {
  if ((socket.flags & SOCKET_DIRTY) !== 0) return;
  socket.flags |= SOCKET_DIRTY;
  socket.nextDirty = session.dirtyHead;
  session.dirtyHead = handle;
}

/** Clears a free row for a new socket; it may still be on the list. */
export function resetSocket(session: Session, handle: u32, socket: Socket): void {
  const next = socket.nextDirty;
  const dirty = socket.flags & SOCKET_DIRTY;
  memory.fill(changetype<usize>(socket), 0, offsetof<Socket>());
  socket.nextDirty = next;
  socket.flags = dirty;
  markDirty(session, handle, socket);
}

export function giveSockets(session: Session): void {
  for (let chunk: u32 = 0; chunk < session.chunkCapacity; chunk++) {
    const rows = load<usize>(session.chunks + <usize>chunk * sizeof<usize>());
    if (rows !== 0) giveBlock(rows, <usize>CHUNK_ROWS * offsetof<Socket>());
  }
  if (session.chunks !== 0) giveBlock(session.chunks, <usize>session.chunkCapacity * sizeof<usize>());
  session.chunks = 0;
  session.chunkCapacity = 0;
  session.socketEnd = 0;
  session.dirtyHead = 0;
}

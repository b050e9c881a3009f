// The twin of an agent: its sockets, processes, address spaces and host addresses by handle, and what it told since its last WindowEnd.
import { SESSION_STATE_SIZE, SessionFlag, SessionState } from '../gen/records';
import { LossKind } from '../gen/wire';
import { allocate, takeBlock } from '../lib/arena';
import { BlockChain } from '../lib/block-chain';

/** Per worker. */
export const SESSION_COUNT_MAX: u32 = 4096;
/** A SessionState, and behind it the total of each kind of loss (losses.ts). */
const STATE_BYTES: usize = <usize>SESSION_STATE_SIZE + <usize>LossKind.End * sizeof<u64>();

/** What a session is doing with its window, or with its end. */
export namespace Phase {
  /** Frames are read. */
  export const Read: u8 = 0;
  /** Staged records go to match, then the rows that moved. */
  export const ShipStaged: u8 = 1;
  export const ShipRows: u8 = 2;
  /** The rows of a departed session are closed. */
  export const CloseRows: u8 = 3;
}

@unmanaged
export class Session {
  state: SessionState;
  /** 0 = free slot. */
  isUsed: u8;
  phase: u8;
  /** kernel.CloseReason for the rows of a departed session. */
  departure: u8;
  /** A snapshot began on this channel and its first WindowEnd may repeat the last one. */
  isRepeatAllowed: u8;
  /** The node of its host, retained. */
  host: u32;
  session: u64;
  boot: u64;
  identity: u64;
  // sockets.ts
  chunks: usize;
  chunkCapacity: u32;
  /** One above the greatest handle that has a row. */
  socketEnd: u32;
  dirtyHead: u32;
  /** Where CloseRows stands. */
  cursor: u32;
  // twin-tables.ts
  processes: usize;
  processCapacity: u32;
  processCount: u32;
  spaces: usize;
  spaceCapacity: u32;
  addressCount: u32;
  addresses: usize;
  addressCapacity: u32;
  // labels.ts
  labels: usize;
  labelCapacity: u32;
  /** Since the last WindowEnd. */
  tallyCount: u32;
  // named-addresses.ts
  firstNamed: u32;
  namedCount: u32;
  // staging.ts
  private staged0: u64;
  private staged1: u64;
  private staged2: u64;
  private staged3: u64;
  // windows
  /** Where the time of a socket's first report begins. */
  toldWindow: u32;
  /** Of the WindowEnd that is being shipped. */
  endWindow: u32;
  fromWindow: u32;

  get staged(): BlockChain {
    return changetype<BlockChain>(changetype<usize>(this) + offsetof<Session>('staged0'));
  }
}

let sessions: usize = 0;

export function initSessions(): void {
  sessions = allocate(<usize>SESSION_COUNT_MAX * offsetof<Session>());
}

export function sessionAt(slot: u32): Session {
  return changetype<Session>(sessions + <usize>slot * offsetof<Session>());
}

/** The slot of a session that this worker has, or SESSION_COUNT_MAX. */
export function findSession(session: u64): u32 {
  for (let slot: u32 = 0; slot < SESSION_COUNT_MAX; slot++) {
    if (sessionAt(slot).isUsed !== 0 && sessionAt(slot).session === session) return slot;
  }
  return SESSION_COUNT_MAX;
}

/** Takes a free slot; SESSION_COUNT_MAX when there is none or memory is used up. Its SessionState stays with the slot. */
export function takeSession(): u32 {
  for (let slot: u32 = 0; slot < SESSION_COUNT_MAX; slot++) {
    const session = sessionAt(slot);
    if (session.isUsed !== 0) continue;
    const state = changetype<usize>(session.state) === 0 ? takeBlock(STATE_BYTES) : changetype<usize>(session.state);
    if (state === 0) return SESSION_COUNT_MAX;
    memory.fill(changetype<usize>(session), 0, offsetof<Session>());
    memory.fill(state, 0, STATE_BYTES);
    session.state = changetype<SessionState>(state);
    session.isUsed = 1;
    return slot;
  }
  return SESSION_COUNT_MAX;
}

export function hasFlag(session: Session, flag: u32): bool {
  return (session.state.flags & flag) !== 0;
}

export function setFlag(session: Session, flag: u32, isSet: bool): void {
  if (isSet) session.state.flags |= flag;
  else session.state.flags &= ~flag;
}

/** True when it takes no more frames. */
export function isOver(session: Session): bool {
  return hasFlag(session, SessionFlag.Quarantined | SessionFlag.Detached);
}

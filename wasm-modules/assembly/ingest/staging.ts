// What a session told since its last WindowEnd and is not a row that moved: opens, baselines, closes, short-lived and failed sockets, folds,
// tallies, host addresses. A seal in between finds all of a window or nothing of it in match. Records are kept in the form in which they will
// leave, but for what a WaitingOnce names (match/once-channel.ts); `RecordHeader.pad0` holds the receiving worker meanwhile.

import { releaseNode } from '../enrich/nodes';
import { releaseLabel } from '../enrich/tally-labels';
import { MatchFold, MatchTally, RECORD_HEADER_SIZE, RecordHeader, RecordKind } from '../gen/records';
import { arenaBytes } from '../lib/arena';
import { Session } from './session';

/** Staged bytes of a session; a frame that would exceed it is refused. */
export const STAGED_BYTES_MAX: u32 = 256 << 20;
/** From here on nothing new is staged; what is left carries the closes. */
const ARENA_BYTES_FULL: u64 = 3584 << 20;
/** `RecordHeader.pad0` of what goes to every worker. */
export const TO_ALL_WORKERS: u16 = 0xffff;

/** True when `bytes` of records, headers included, may be staged. */
export function canStage(session: Session, bytes: u64): bool {
  return session.staged.bytes + bytes <= STAGED_BYTES_MAX && arenaBytes() <= ARENA_BYTES_FULL;
}

/** Room for a record behind its header, with what was there before. Traps when memory is used up in spite of `canStage`. */
export function stageRecord(session: Session, kind: u16, bytes: u32, worker: u16): usize {
  const size = (RECORD_HEADER_SIZE + bytes + 7) & ~7;
  const address = session.staged.append(size);
  if (address === 0) unreachable();
  const header = changetype<RecordHeader>(address);
  header.size = size;
  header.kind = kind;
  header.pad0 = worker;
  return address + RECORD_HEADER_SIZE;
}

/** `stageRecord`, but of zeros. */
export function stageBlank(session: Session, kind: u16, bytes: u32, worker: u16): usize {
  const record = stageRecord(session, kind, bytes, worker);
  memory.fill(record, 0, bytes);
  return record;
}

/** Takes the next staged record, which stands until the next call; 0 after the last. */
export function nextStaged(session: Session): usize {
  const header = session.staged.front();
  if (header !== 0) session.staged.pass(changetype<RecordHeader>(header).size);
  return header;
}

/** Increments cannot be told twice without counting twice: what a snapshot will tell again, or nobody will confirm, is forgotten. */
export function dropStagedIncrements(session: Session): void {
  const staged = session.staged;
  for (let address = staged.rewind(); address !== 0; address = staged.next(changetype<RecordHeader>(address).size)) {
    const header = changetype<RecordHeader>(address);
    const record = address + RECORD_HEADER_SIZE;
    if (header.kind === RecordKind.MatchFold) releaseNode(changetype<MatchFold>(record).node);
    else if (header.kind === RecordKind.MatchTally) releaseLabel(changetype<MatchTally>(record).label);
    else continue;
    header.kind = RecordKind.None;
  }
}

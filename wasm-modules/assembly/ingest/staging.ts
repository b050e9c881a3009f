// What a session told since its last WindowEnd and is not a row that moved: opens, baselines, closes, short-lived and failed sockets, folds,
// tallies, host addresses. A seal in between finds all of a window or nothing of it in match. Records are kept in the form in which they will leave,
// in blocks of a chain; `RecordHeader.pad0` holds the receiving worker meanwhile.

import { releaseNode } from '../enrich/nodes';
import { releaseLabel } from '../enrich/tally-labels';
import { MatchFold, MatchTally, RECORD_HEADER_SIZE, RecordHeader, RecordKind } from '../gen/records';
import { arenaBytes, giveBlock, takeBlock } from '../lib/arena';
import { Session } from './session';

/** Staged bytes of a session; a frame that would exceed it is refused. */
export const STAGED_BYTES_MAX: u32 = 256 << 20;
/** From here on nothing new is staged; what is left carries the closes. */
const ARENA_BYTES_FULL: u64 = 3584 << 20;
const BLOCK_BYTES: u32 = 1 << 14;
const BLOCK_HEADER_BYTES: u32 = 16;
/** `RecordHeader.pad0` of what goes to every worker. */
export const TO_ALL_WORKERS: u16 = 0xffff;

@unmanaged
class StagedBlock {
  next: usize;
  used: u32;
  pad0: u32;
}

/** True when `bytes` of records, headers included, may be staged. */
export function canStage(session: Session, bytes: u64): bool {
  return session.stagedBytes + bytes <= STAGED_BYTES_MAX && arenaBytes() <= ARENA_BYTES_FULL;
}

/** A zeroed record behind its header. Traps when memory is used up in spite of `canStage`. */
export function stageRecord(session: Session, kind: u16, bytes: u32, worker: u16): usize {
  const size = (RECORD_HEADER_SIZE + bytes + 7) & ~7;
  if (session.stagedLast === 0 || changetype<StagedBlock>(session.stagedLast).used + size > BLOCK_BYTES) {
    appendBlock(session);
  }
  const block = changetype<StagedBlock>(session.stagedLast);
  const header = changetype<RecordHeader>(session.stagedLast + block.used);
  header.size = size;
  header.kind = kind;
  header.pad0 = worker;
  block.used += size;
  session.stagedBytes += size;
  return changetype<usize>(header) + RECORD_HEADER_SIZE;
}

function appendBlock(session: Session): void {
  const address = takeBlock(BLOCK_BYTES);
  if (address === 0) unreachable();
  changetype<StagedBlock>(address).used = BLOCK_HEADER_BYTES;
  if (session.stagedLast === 0) {
    session.stagedFirst = address;
    session.stagedAt = BLOCK_HEADER_BYTES;
  } else changetype<StagedBlock>(session.stagedLast).next = address;
  session.stagedLast = address;
}

/** The next staged record, or 0 after the last; blocks that were passed are given back. */
export function nextStaged(session: Session): usize {
  while (session.stagedFirst !== 0) {
    const block = changetype<StagedBlock>(session.stagedFirst);
    if (session.stagedAt < block.used) {
      const header = session.stagedFirst + session.stagedAt;
      session.stagedAt += changetype<RecordHeader>(header).size;
      return header;
    }
    // Read before it is given back: a free block keeps its list where `next` is.
    const next = block.next;
    giveBlock(session.stagedFirst, BLOCK_BYTES);
    session.stagedFirst = next;
    session.stagedAt = BLOCK_HEADER_BYTES;
  }
  session.stagedLast = 0;
  session.stagedBytes = 0;
  return 0;
}

/** Increments cannot be told twice without counting twice: what a snapshot will tell again, or nobody will confirm, is forgotten. */
export function dropStagedIncrements(session: Session): void {
  let at = session.stagedAt;
  for (let address = session.stagedFirst; address !== 0; ) {
    const block = changetype<StagedBlock>(address);
    while (at < block.used) {
      const header = changetype<RecordHeader>(address + at);
      at += header.size;
      const record = changetype<usize>(header) + RECORD_HEADER_SIZE;
      if (header.kind === RecordKind.MatchFold) releaseNode(changetype<MatchFold>(record).node);
      else if (header.kind === RecordKind.MatchTally) releaseLabel(changetype<MatchTally>(record).label);
      else continue;
      header.kind = RecordKind.None;
    }
    address = block.next;
    at = BLOCK_HEADER_BYTES;
  }
}

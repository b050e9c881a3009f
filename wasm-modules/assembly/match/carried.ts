// Where an end of datagrams goes on counting. No handshake begins a flow at both ends at once: an agent that looks anew counts from 0, and so
// does one that took a pause for the end when the other end's agent did not. While the other end goes on it is one flow, and what the end had
// told before is carried: without it the same bytes would be booked with both.
import { hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { END_CARRIES, END_COUNT_MAX, endAt } from './flow';

@unmanaged
export class Carried {
  /** First, because a free row keeps its list there. */
  pad0: u32;
  end: u32;
  bytesSent: u64;
  bytesReceived: u64;
  segmentsSent: u64;
  segmentsReceived: u64;
}

let carried: RowPool = changetype<RowPool>(0);
/** Rows by end. */
let table: OpenTable = changetype<OpenTable>(0);

export function initCarried(): void {
  carried = RowPool.create(offsetof<Carried>(), END_COUNT_MAX);
  table = OpenTable.create(END_COUNT_MAX);
}

/** Of an END_CARRIES. */
export function carriedOf(end: u32): Carried {
  return at(rowOf(end));
}

function rowOf(end: u32): u32 {
  let row = table.first(tagOf(end));
  while (at(row).end !== end) row = table.next();
  return row;
}

function tagOf(end: u32): u32 {
  return hashPair(end, 0);
}

function at(row: u32): Carried {
  return changetype<Carried>(carried.at(row));
}

/** A row with the totals of `end`. There is one for each end at most, so there is always one. */
export function keepTotals(end: u32): u32 {
  const row = carried.take();
  const kept = at(row);
  const hot = endAt(end);
  kept.bytesSent = hot.bytesSent;
  kept.bytesReceived = hot.bytesReceived;
  kept.segmentsSent = hot.segmentsSent;
  kept.segmentsReceived = hot.segmentsReceived;
  return row;
}

export function giveTotals(row: u32): void {
  carried.give(row);
}

/** `end` begins with what `row` keeps. Traps when memory is used up. */
export function carryTotals(end: u32, row: u32): void {
  dropCarried(end);
  if (!table.insert(tagOf(end), row)) unreachable();
  const kept = at(row);
  const hot = endAt(end);
  kept.end = end;
  hot.flags |= END_CARRIES;
  hot.bytesSent = kept.bytesSent;
  hot.bytesReceived = kept.bytesReceived;
  hot.segmentsSent = kept.segmentsSent;
  hot.segmentsReceived = kept.segmentsReceived;
}

export function dropCarried(end: u32): void {
  const hot = endAt(end);
  if ((hot.flags & END_CARRIES) === 0) return;
  const row = rowOf(end);
  table.remove(tagOf(end), row);
  giveTotals(row);
  hot.flags &= ~END_CARRIES;
}

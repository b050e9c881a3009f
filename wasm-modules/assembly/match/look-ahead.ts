// What match is told next is looked at before: rows that a group of records needs are loaded side by side, so that the core waits for all of
// them at once and not for one after another. No result depends on it:
// `expectedEnd` spares its callers a second search for a row, no more.

import { CloseReason } from '../gen/kernel-events';
import { MatchOpen, RECORD_HEADER_SIZE, RecordHeader, RecordKind } from '../gen/records';
import { keepLoads } from '../lib/keep-loads';
import { endOfChannel } from './channel-ends';
import { coldEndAt, coldFlowAt, End, endAt, endOrNone, flowAt, flowKeyAt } from './flow';
import { keyOfOpen } from './flow-key';
import { slotOfKey } from './flow-table';
import { WaitingOnce } from './onces';
import { touchRoom } from './shard-onces';
import { touchedFlowAt, touchedFlows } from './touched-flows';

/** Records or rows that are looked at before the first of them is worked on. */
export const GROUP_SIZE: u32 = 16;

const ends: usize = memory.data(<i32>GROUP_SIZE * 4, 4);
const slots: usize = memory.data(<i32>GROUP_SIZE * 4, 4);
/** Where the rows of ends that were looked at last lie. */
const expected: usize = memory.data(<i32>GROUP_SIZE * 4, 4);

/** `size` records of worker `from` come next, at most GROUP_SIZE. `headers`: where they lie, u32 each. */
export function expectRecords(from: u32, headers: usize, size: u32): void {
  let endCount: u32 = 0;
  let openCount: u32 = 0;
  let sum: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    const header = changetype<RecordHeader>(<usize>load<u32>(headers + ((<usize>index) << 2)));
    const record = changetype<usize>(header) + RECORD_HEADER_SIZE;
    if (isOfEnd(header.kind)) {
      // It begins with the number of its end.
      store<u32>(ends + ((<usize>endCount) << 2), load<u32>(record));
      endCount++;
    } else if (header.kind === RecordKind.MatchOpen) {
      keyOfOpen(changetype<MatchOpen>(record), CloseReason.None);
      store<u32>(slots + ((<usize>openCount) << 2), <u32>slotOfKey());
      openCount++;
    } else if (header.kind === RecordKind.WaitingOnce) {
      sum |= touchRoom(changetype<WaitingOnce>(record).tag);
    }
  }
  keepLoads(sum);
  if (endCount !== 0) {
    expectEnds(from, ends, endCount);
    expectColdFlows(ends, endCount);
  }
  if (openCount !== 0) expectFlows(openCount);
}

function isOfEnd(kind: u16): bool {
  return kind === RecordKind.MatchUpdate || kind === RecordKind.MatchClose;
}

/** The rows of `size` ends of worker `from`. `numbers`: those of the ends, u32 each, which are overwritten. */
export function expectEnds(from: u32, numbers: usize, size: u32): void {
  for (let index: u32 = 0; index < size; index++) {
    const slot = numbers + ((<usize>index) << 2);
    store<u32>(slot, endOfChannel(from, load<u32>(slot)));
  }
  expectRowsOfEnds(numbers, size);
}

/** The same of ends by their rows, u32 each, which stay. */
export function expectRowsOfEnds(rows: usize, size: u32): void {
  let sum: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    const hot = endOrNone(load<u32>(rows + ((<usize>index) << 2)));
    store<usize>(expected + ((<usize>index) << 2), changetype<usize>(hot));
    sum |= hot.flow;
  }
  keepLoads(sum);
}

/** The row of an end that was looked at last, by its place; one without a flow when there is none. */
export function expectedEnd(index: u32): End {
  return changetype<End>(load<usize>(expected + ((<usize>index) << 2)));
}

/** What a Close says of how its socket ended waits with its flow. `rows`: of ends that were looked at. */
function expectColdFlows(rows: usize, size: u32): void {
  let sum: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    const end = load<u32>(rows + ((<usize>index) << 2));
    if (end !== 0) sum |= coldFlowAt(endAt(end).flow).tallies;
  }
  keepLoads(sum);
}

/** The flows that the first `size` of `slots` name, and of each the end that it has. */
function expectFlows(size: u32): void {
  for (let index: u32 = 0; index < size; index++) {
    const slot = slots + ((<usize>index) << 2);
    store<u32>(slot, load<u32>(<usize>load<u32>(slot)));
  }
  let sum: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    const slot = slots + ((<usize>index) << 2);
    const flow = load<u32>(slot);
    if (flow === 0) continue;
    const hot = flowAt(flow);
    sum |= coldFlowAt(flow).flags | <u32>flowKeyAt(flow).low;
    store<u32>(slot, hot.end0 !== 0 ? hot.end0 : hot.end1);
  }
  for (let index: u32 = 0; index < size; index++) {
    const end = load<u32>(slots + ((<usize>index) << 2));
    if (end !== 0) sum |= endAt(end).flags | coldEndAt(end).role;
  }
  keepLoads(sum);
}

/** The rows of flows that `takeTouchedFlow` gives next, and of their ends. Returns how many they are, at most GROUP_SIZE. */
export function expectTouched(until: u32): u32 {
  const last = touchedFlows() - 1;
  const size = min(touchedFlows() - until, GROUP_SIZE);
  let sum: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    const flow = touchedFlowAt(last - index);
    const hot = flowAt(flow);
    sum |= coldFlowAt(flow).flags;
    if (hot.end0 !== 0) sum |= endAt(hot.end0).flags;
    if (hot.end1 !== 0) sum |= endAt(hot.end1).flags;
  }
  keepLoads(sum);
  return size;
}

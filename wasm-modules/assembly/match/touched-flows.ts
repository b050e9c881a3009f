// The flows that the open window touched, each once, last in, first out: numbers one behind the other, so that the rows of a group can be
// looked at side by side, and none is needed to find the next.
import { allocate, PAGE_BYTES, takeBlock } from '../lib/arena';
import { FLOW_COUNT_MAX } from './flow';
import { clearMark, MARK_TOUCHED } from './flow-marks';

/** Numbers of a page, as a power of two. */
const PAGE_SHIFT: u32 = 13;
const PAGE_COUNT: u32 = (FLOW_COUNT_MAX >>> PAGE_SHIFT) + 1;

if (PAGE_BYTES !== 4 << PAGE_SHIFT) ERROR('a page of numbers is a page of the arena');

let pages: usize = 0;
let size: u32 = 0;

export function initTouchedFlows(): void {
  pages = allocate(<usize>PAGE_COUNT * sizeof<usize>());
}

/** How many wait. */
export function touchedFlows(): u32 {
  return size;
}

/** `index` is below `touchedFlows()`. */
export function touchedFlowAt(index: u32): u32 {
  return load<u32>(pageOf(index) + offsetInPage(index));
}

/** Traps when memory is used up. */
export function pushTouchedFlow(flow: u32): void {
  const slot = pageSlot(size);
  if (load<usize>(slot) === 0) {
    const block = takeBlock(PAGE_BYTES);
    if (block === 0) unreachable();
    store<usize>(slot, block);
  }
  store<u32>(load<usize>(slot) + offsetInPage(size), flow);
  size++;
}

/** Takes the last one; 0 when there are `until` or fewer. */
export function takeTouchedFlow(until: u32): u32 {
  if (size <= until) return 0;
  size--;
  const flow = touchedFlowAt(size);
  clearMark(flow, MARK_TOUCHED);
  return flow;
}

function pageSlot(index: u32): usize {
  return pages + ((<usize>(index >>> PAGE_SHIFT)) << 2);
}

function pageOf(index: u32): usize {
  return load<usize>(pageSlot(index));
}

function offsetInPage(index: u32): usize {
  return (<usize>(index & ((1 << PAGE_SHIFT) - 1))) << 2;
}

// The flows that the open window touched, each once, last in, first out: numbers one behind the other, so that the rows of a group can be
// looked at side by side, and none is needed to find the next.
import { allocate, PAGE_BYTES, takeBlock } from '../lib/arena';
import { coldFlowAt, FLOW_COUNT_MAX, FLOW_DIRTY } from './flow';

/** Numbers of a page, as a power of two. */
const PAGE_SHIFT: u32 = 13;
const PAGE_COUNT: u32 = (FLOW_COUNT_MAX >>> PAGE_SHIFT) + 1;

if (PAGE_BYTES !== 4 << PAGE_SHIFT) ERROR('a page of numbers is a page of the arena');

let pages: usize = 0;
let size: u32 = 0;

export function initTouchedFlows(): void {
  pages = allocate(<usize>PAGE_COUNT * sizeof<usize>());
  size = 0;
}

/** How many wait. */
export function touchedFlows(): u32 {
  return size;
}

/** `index` is below `touchedFlows()`. */
export function touchedFlowAt(index: u32): u32 {
  return load<u32>(slotAt(index));
}

/** Traps when memory is used up. */
export function pushTouchedFlow(flow: u32): void {
  const page = pageSlot(size);
  if (load<usize>(page) === 0) {
    const block = takeBlock(PAGE_BYTES);
    if (block === 0) unreachable();
    store<usize>(page, block);
  }
  store<u32>(slotAt(size), flow);
  size++;
}

/** Takes the last one; 0 when there are `until` or fewer. */
export function takeTouchedFlow(until: u32): u32 {
  if (size <= until) return 0;
  size--;
  const flow = touchedFlowAt(size);
  coldFlowAt(flow).flags &= ~FLOW_DIRTY;
  return flow;
}

function pageSlot(index: u32): usize {
  return pages + ((<usize>(index >>> PAGE_SHIFT)) << 2);
}

function slotAt(index: u32): usize {
  return load<usize>(pageSlot(index)) + ((<usize>(index & ((1 << PAGE_SHIFT) - 1))) << 2);
}

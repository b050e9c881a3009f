// Two marks of every flow, four flows to a byte: those of all flows that a worker has stay in the core's cache, so what is told of a flow that was
// touched before needs none of the flow's rows.
import { allocate } from '../lib/arena';

/** On the list of those that the open window touched. */
export const MARK_TOUCHED: u32 = 1;
/** On a list of those that linger. */
export const MARK_LINGERING: u32 = 2;

const FLOWS_PER_BYTE_SHIFT: u32 = 2;

let marks: usize = 0;

/** `countMax`: flows at once, whose numbers are up to it. */
export function initFlowMarks(countMax: u32): void {
  marks = allocate((<usize>countMax >>> FLOWS_PER_BYTE_SHIFT) + 1);
}

/** Sets `mark`. Returns the marks that the flow had. */
export function setMark(flow: u32, mark: u32): u32 {
  const byte = byteOf(flow);
  const shift = shiftOf(flow);
  const before: u32 = load<u8>(byte);
  store<u8>(byte, before | (mark << shift));
  return (before >>> shift) & (MARK_TOUCHED | MARK_LINGERING);
}

export function clearMark(flow: u32, mark: u32): void {
  const byte = byteOf(flow);
  store<u8>(byte, load<u8>(byte) & ~(mark << shiftOf(flow)));
}

function byteOf(flow: u32): usize {
  return marks + <usize>(flow >>> FLOWS_PER_BYTE_SHIFT);
}

/** Of the marks of a flow in their byte. */
function shiftOf(flow: u32): u32 {
  return (flow & ((1 << FLOWS_PER_BYTE_SHIFT) - 1)) << 1;
}

// The counters of this instance, in the order of records.ReducerCounter. The host reads them through one view.
import { ReducerCounter, RefusalReason } from '../gen/records';

const COUNTER_BYTES: i32 = 8;
const counters = memory.data(<i32>ReducerCounter.End * COUNTER_BYTES, 8);

export function countersAddress(): usize {
  return counters;
}

export function count(counter: u16): void {
  add(counter, 1);
}

export function add(counter: u16, amount: u64): void {
  const address = counters + <usize>counter * COUNTER_BYTES;
  store<u64>(address, load<u64>(address) + amount);
}

/** An agent's total that falls is its own contradiction: nothing is taken back. */
export function addRise(counter: u16, before: u64, now: u64): void {
  if (now > before) add(counter, now - before);
}

export function set(counter: u16, value: u64): void {
  store<u64>(counters + <usize>counter * COUNTER_BYTES, value);
}

export function countRefusal(reason: u8): void {
  count(ReducerCounter.RefusedBy + <u16>reason - <u16>RefusalReason.None);
}

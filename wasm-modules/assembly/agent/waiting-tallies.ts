// What is counted of a socket that the totals do not know yet. A socket of datagrams is known only with their reading, one of any kind that began
// during it with the next: so what is counted before waits until they were read twice.
import { Fifo } from './fifo';
import { releaseLabel, retainLabel } from './labels';
import { WAITING_TALLIES_MAX } from './limits';
import { findSocket } from './sockets';
import { tally } from './tallies';
import { tallyOwner } from './tally-owner';

@unmanaged
class WaitingTally {
  cookie: u64; // 0
  count: u64; // 8
  sum: u64; // 16
  code: u32; // 24
  label: u32; // 28
  kind: u16; // 32
  pad0: u16; // 34
  pad1: u32; // 36
}

if (offsetof<WaitingTally>() !== 40) ERROR('WaitingTally has 40 bytes');

let waiting = changetype<Fifo<WaitingTally>>(0);
/** Of these, the oldest: they have waited for a reading. */
let due: u32 = 0;

export function initWaitingTallies(): void {
  waiting = Fifo.create<WaitingTally>();
}

/** `tallies.tally` of the socket `cookie`, 0 = of the host, which also has what is counted of a socket whose end was told. */
export function tallySocket(cookie: u64, kind: u16, code: u32, label: u32, count: u64, sum: u64): void {
  const isUnknown = cookie !== 0 && findSocket(cookie, 0) === 0;
  if (!isUnknown || waiting.count >= WAITING_TALLIES_MAX) {
    tally(tallyOwner(cookie), kind, code, label, count, sum);
    return;
  }
  const entry = waiting.push();
  entry.cookie = cookie;
  entry.count = count;
  entry.sum = sum;
  entry.code = code;
  entry.label = label;
  entry.kind = kind;
  retainLabel(label);
}

/** Totals and events have been read. Who is not known by the second reading is no socket of ours: it counts for the host. */
export function settleWaitingTallies(): void {
  for (let left = waiting.count; left > 0; left--) {
    const entry = waiting.first();
    const owner = tallyOwner(entry.cookie);
    if (owner !== 0 || due > 0) {
      tally(owner, entry.kind, entry.code, entry.label, entry.count, entry.sum);
      releaseLabel(entry.label);
    } else {
      memory.copy(changetype<usize>(waiting.push()), changetype<usize>(entry), offsetof<WaitingTally>());
    }
    if (due > 0) due--;
    waiting.shift();
  }
  due = waiting.count;
}

// What the kernel dropped since the last reading (bpf/programs/drops.h): of the socket as long as its end is not told, else of the host. A socket that
// began after the totals were read is told with the next ones, and what it dropped waits for that.
import { LabelKind } from '../gen/agent';
import { DropCount } from '../gen/kernel-events';
import { TallyKind } from '../gen/wire';
import { Fifo } from './fifo';
import { labelOf } from './labels';
import { DROPS_WAITING_MAX } from './limits';
import { findSocket } from './sockets';
import { tally } from './tallies';
import { tallyOwner } from './tally-owner';

@unmanaged
class WaitingDrop {
  cookie: u64;
  location: u64;
  count: u64;
  reason: u32;
  pad0: u32;
}

let waiting = changetype<Fifo<WaitingDrop>>(0);
/** Of these, the oldest: they have waited for the totals. */
let due: u32 = 0;

export function initDrops(): void {
  waiting = Fifo.create<WaitingDrop>();
}

export function applyDropCount(event: DropCount): void {
  const isUnknown = event.cookie !== 0 && findSocket(event.cookie, 0) === 0;
  if (!isUnknown || waiting.count >= DROPS_WAITING_MAX) {
    count(event.cookie, event.location, event.reason, event.count);
    return;
  }
  const drop = waiting.push();
  drop.cookie = event.cookie;
  drop.location = event.location;
  drop.count = event.count;
  drop.reason = event.reason;
}

/** The totals and the drops have been read. */
export function settleDrops(): void {
  for (; due > 0; due--) {
    const drop = waiting.first();
    count(drop.cookie, drop.location, drop.reason, drop.count);
    waiting.shift();
  }
  due = waiting.count;
}

function count(cookie: u64, location: u64, reason: u32, dropped: u64): void {
  const label = labelOf(LabelKind.DropSite, location, reason);
  tally(tallyOwner(cookie), TallyKind.Drop, reason, label, dropped, 0);
}

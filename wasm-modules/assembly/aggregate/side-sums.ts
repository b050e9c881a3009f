// Sums that most rows have none of, so that a row is two cache lines (tree.ts): taken for the first of its kind in a window, given back at its end.

import { RowPool } from '../lib/row-pool';
import { clearRow } from '../lib/words';

/** What the ends say by themselves, where it is not what is booked. */
@unmanaged
export class OwnSums {
  /** Of the eight numbers of an EdgePoint: how much more than what is booked, modulo 2^64. */
  clientBytesSent: u64;
  clientBytesReceived: u64;
  clientPacketsSent: u64;
  clientPacketsReceived: u64;
  serverBytesSent: u64;
  serverBytesReceived: u64;
  serverPacketsSent: u64;
  serverPacketsReceived: u64;
  /** Flows that only one end saw. */
  flowsClient: u32;
  flowsServer: u32;

  clear(): void {
    clearRow<OwnSums>(changetype<usize>(this));
  }
}

@unmanaged
export class RareSums {
  forwardRetransmits: u64;
  reverseRetransmits: u64;
  residualBytes: u64;
  judgedBytes: u64;
  lateBytes: u64;
  refused: u32;
  timedOut: u32;
  abandoned: u32;
  unreachable: u32;
  failedOther: u32;
  resetsClient: u32;
  resetsServer: u32;
  /** First window of what was late; NOT_LATE = nothing was. */
  fromWindow: u32;
  /** The upper halves of what a row has 32 bits for. */
  forwardPacketsHigh: u32;
  reversePacketsHigh: u32;
  connectionsHigh: u32;
  closedHigh: u32;
  rttSumUsHigh: u32;
  pad0: u32;

  clear(): void {
    clearRow<RareSums>(changetype<usize>(this));
    this.fromWindow = NOT_LATE;
  }

  /** What the series budget goes by first. */
  get failures(): u64 {
    const connects = <u64>this.refused + this.timedOut + this.abandoned + this.unreachable + this.failedOther;
    const resets = <u64>this.resetsClient + this.resetsServer;
    return connects + resets + this.forwardRetransmits + this.reverseRetransmits;
  }
}

export const NOT_LATE: u32 = 0xffffffff;

const ownPool: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
const rarePool: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));

/** There is room for all rows to have both. */
export function initSideSums(rowCountMax: u32): void {
  ownPool.begin(offsetof<OwnSums>(), rowCountMax);
  rarePool.begin(offsetof<RareSums>(), rowCountMax);
}

export function ownAt(own: u32): OwnSums {
  return ownPool.row<OwnSums>(own);
}

export function rareAt(rare: u32): RareSums {
  return rarePool.row<RareSums>(rare);
}

export function takeOwn(): u32 {
  const own = ownPool.take();
  if (own === 0) unreachable();
  ownAt(own).clear();
  return own;
}

export function takeRare(): u32 {
  const rare = rarePool.take();
  if (rare === 0) unreachable();
  rareAt(rare).clear();
  return rare;
}

export function giveOwn(own: u32): void {
  ownPool.give(own);
}

export function giveRare(rare: u32): void {
  rarePool.give(rare);
}

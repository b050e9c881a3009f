// What is known of several connections of one pair of addresses, summed. Differences wrap: they are read as signed.
import { Role } from '../gen/kernel-events';
import { EndTotals, MatchFold } from '../gen/records';

export const SUM_COUNT: u32 = 8;

/** The last two fields of FoldSums. */
export const CLIENT_RESETS: u32 = 6;
export const SERVER_RESETS: u32 = 7;

@unmanaged
export class FoldSums {
  forwardBytes: u64;
  reverseBytes: u64;
  forwardPackets: u64;
  reversePackets: u64;
  connections: u64;
  closed: u64;
  clientResets: u64;
  serverResets: u64;

  at(index: u32): u64 {
    return load<u64>(changetype<usize>(this) + <usize>index * sizeof<u64>());
  }

  setAt(index: u32, value: u64): void {
    store<u64>(changetype<usize>(this) + <usize>index * sizeof<u64>(), value);
  }

  clear(): void {
    memory.fill(changetype<usize>(this), 0, offsetof<FoldSums>());
  }

  add(other: FoldSums): void {
    for (let index: u32 = 0; index < SUM_COUNT; index++) this.setAt(index, this.at(index) + other.at(index));
  }

  subtract(other: FoldSums): void {
    for (let index: u32 = 0; index < SUM_COUNT; index++) this.setAt(index, this.at(index) - other.at(index));
  }

  equals(other: FoldSums): bool {
    return memory.compare(changetype<usize>(this), changetype<usize>(other), offsetof<FoldSums>()) === 0;
  }

  isZero(): bool {
    let bits: u64 = 0;
    for (let index: u32 = 0; index < SUM_COUNT; index++) bits |= this.at(index);
    return bits === 0;
  }
}

if (offsetof<FoldSums>() !== SUM_COUNT * sizeof<u64>()) ERROR('FoldSums: SUM_COUNT fields');

/** What a fold adds: the part of its sockets that was not committed. Failed connects have no other end and are not among it. */
export function fillNews(to: FoldSums, fold: MatchFold): void {
  if (fold.settled !== 0) {
    to.clear();
    return;
  }
  fillTotals(to, fold.totals, fold.role);
  to.connections = fold.connections;
  fillEnds(to, fold);
}

/** All that its sockets ever were. */
export function fillLast(to: FoldSums, fold: MatchFold): void {
  fillTotals(to, fold.last, fold.role);
  to.connections = fold.openings;
  fillEnds(to, fold);
}

function fillTotals(to: FoldSums, totals: EndTotals, role: u8): void {
  const isServer = role === Role.Server;
  to.forwardBytes = isServer ? totals.bytesReceived : totals.bytesSent;
  to.reverseBytes = isServer ? totals.bytesSent : totals.bytesReceived;
  to.forwardPackets = isServer ? totals.segmentsReceived : totals.segmentsSent;
  to.reversePackets = isServer ? totals.segmentsSent : totals.segmentsReceived;
}

function fillEnds(to: FoldSums, fold: MatchFold): void {
  const isServer = fold.role === Role.Server;
  to.closed = fold.closed;
  to.clientResets = isServer ? fold.resetsReceived : fold.resetsSent;
  to.serverResets = isServer ? fold.resetsSent : fold.resetsReceived;
}

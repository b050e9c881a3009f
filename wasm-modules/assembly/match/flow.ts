// A flow is a connection with up to two ends, in two slots. Which slot an end takes follows from what it says alone (flow-key.ts), so
// it does not depend on who reported first; which slot is the client is decided once, when the flow is first booked.
//
//   Flow (64 B, hot)    booked totals, the ends, the edge      FlowCold (64 B)  key, linger list, flags
//   End  (64 B, hot)    totals as last told, open count        EndCold  (48 B)  who told it, its tuple
//
// Hot and cold rows are taken and given back together, so one handle names both.
import { RowPool } from '../lib/row-pool';
import { Viewpoint, viewpointAt } from './viewpoints';

/** Per worker. */
export const FLOW_COUNT_MAX: u32 = 1 << 22;
export const END_COUNT_MAX: u32 = 1 << 23;

export const FLOW_DIRTY: u16 = 1;
/** Orientation is frozen and `booked` has a base. */
export const FLOW_BOOKED: u16 = 2;
export const FLOW_CONNECTION_COUNTED: u16 = 4;
export const FLOW_CLOSED_COUNTED: u16 = 8;
export const FLOW_RESET_COUNTED: u16 = 16;
export const FLOW_FAILURE_COUNTED: u16 = 32;
export const FLOW_JUDGED: u16 = 64;
/** At least one end was open at the last close; the edge is retained. */
export const FLOW_ACTIVE: u16 = 128;
export const FLOW_LINGERING: u16 = 256;
/** Lingers among those whose two ends have closed. */
export const FLOW_FINISHED: u16 = 512;
/** What names the edge has changed. */
export const FLOW_RENAMED: u16 = 1024;
/** No end knows who is the client. */
export const FLOW_UNORIENTED: u16 = 2048;

@unmanaged
export class Flow {
  forwardBytes: u64;
  reverseBytes: u64;
  forwardPackets: u64;
  reversePackets: u64;
  forwardRetransmits: u64;
  reverseRetransmits: u64;
  end0: u32;
  end1: u32;
  edge: u32;
  nextDirty: u32;

  endAt(slot: u32): u32 {
    return slot === 0 ? this.end0 : this.end1;
  }

  setEnd(slot: u32, end: u32): void {
    if (slot === 0) this.end0 = end;
    else this.end1 = end;
  }
}

@unmanaged
export class FlowCold {
  keyHigh: u64;
  keyLow: u64;
  lingerNext: u32;
  lingerPrevious: u32;
  lingerWindow: u32;
  /** The version of names (naming.ts) with which `edge` was found. */
  namedVersion: u32;
  flags: u16;
  /** Successive connections of one tuple, from 0. */
  generation: u16;
  kind: u8;
  shard: u8;
  clientSlot: u8;
  pad0: u8;
  /** Row of what was left out at the start (history.ts); 0 = nothing. */
  history: u32;
  /** Row of what earlier incarnations exported (exported.ts); 0 = nothing. */
  exported: u32;
  /** Row of its membership in a pair of folds (fold-members.ts); 0 = none. */
  member: u32;
  /** When the first of its ends says that it began (MatchOpen.start_time); 0 = nobody knows. */
  beginTime: u32;
  /** Row of the ends' totals at the last close, where they are not what is booked (own-numbers.ts); 0 = they are. */
  own: u32;
  /** First of the tallies that wait for its booking (tallies.ts); 0 = none. */
  tallies: u32;
}

/** Told something in the open window. */
export const END_REPORTED: u16 = 1;
/** Claimed in the open window. */
export const END_FRESH: u16 = 2;
/** Was open at the last close. */
export const END_HELD: u16 = 4;
/** Every report of it says that it is older than the look of its agent. */
export const END_EXISTING: u16 = 8;
export const END_COUNTED: u16 = 16;
/** Its socket has closed (not: its agent left). */
export const END_CLOSED: u16 = 32;
/** Known only from wire.Settled: totals and role, no tuple. */
export const END_SETTLED: u16 = 64;

/** Told again in the open window by whom it may be. */
export const END_MERGED: u16 = 128;
/** An end of datagrams that goes on where an earlier one stopped (carried.ts). */
export const END_CARRIES: u16 = 256;
/** Its socket closed in the open window. */
export const END_CLOSING: u16 = 512;

export const NO_WINDOW: u32 = 0xffffffff;

@unmanaged
export class End {
  bytesSent: u64;
  bytesReceived: u64;
  segmentsSent: u64;
  segmentsReceived: u64;
  retransmits: u64;
  /** Greatest smoothed RTT told in the open window; 0 = none. */
  srttUs: u32;
  /** First window covered by what was told in the open window; NO_WINDOW = nothing was. */
  fromWindow: u32;
  /** 0 = lost its side to another claimant. */
  flow: u32;
  /** Channel ends that are open on it: two while an agent's new session takes over. */
  openCount: u16;
  flags: u16;
  /** The owner, retained; 0 = unknown. */
  node: u32;
  /** Row of a baseline that the next close will apply; 0 = none. */
  baseline: u32;
}

@unmanaged
export class EndCold {
  cookie: u64;
  remoteHigh: u64;
  remoteLow: u64;
  /** Who told it, and at which local address (viewpoints.ts), retained. */
  viewpoint: u32;
  localPort: u16;
  remotePort: u16;
  role: u8;
  roleSource: u8;
  closeReason: u8;
  protocol: u8;
  /** Row of the totals with which it began; 0 = none. */
  carried: u32;
  /** By what name its remote address was asked for, retained; 0 = by none that is known. */
  remoteNode: u32;
  pad0: u32;

  get from(): Viewpoint {
    return viewpointAt(this.viewpoint);
  }

  /** Of an END_SETTLED end, which has no tuple: its pair (lib/flow-place.ts) in its address space; 0 = unknown. */
  get settledPair(): u64 {
    return this.remoteHigh;
  }

  set settledPair(pair: u64) {
    this.remoteHigh = pair;
  }
}

let flows: RowPool = changetype<RowPool>(0);
let coldFlows: RowPool = changetype<RowPool>(0);
let ends: RowPool = changetype<RowPool>(0);
let coldEnds: RowPool = changetype<RowPool>(0);

export function initFlows(): void {
  flows = RowPool.create(offsetof<Flow>(), FLOW_COUNT_MAX);
  coldFlows = RowPool.create(offsetof<FlowCold>(), FLOW_COUNT_MAX);
  ends = RowPool.create(offsetof<End>(), END_COUNT_MAX);
  coldEnds = RowPool.create(offsetof<EndCold>(), END_COUNT_MAX);
}

export function flowAt(flow: u32): Flow {
  return changetype<Flow>(flows.at(flow));
}

export function coldFlowAt(flow: u32): FlowCold {
  return changetype<FlowCold>(coldFlows.at(flow));
}

export function endAt(end: u32): End {
  return changetype<End>(ends.at(end));
}

export function coldEndAt(end: u32): EndCold {
  return changetype<EndCold>(coldEnds.at(end));
}

/** A zeroed flow, or 0 when FLOW_COUNT_MAX is reached. */
export function takeFlow(): u32 {
  const flow = flows.take();
  if (flow === 0) return 0;
  coldFlows.take();
  memory.fill(flows.at(flow), 0, offsetof<Flow>());
  memory.fill(coldFlows.at(flow), 0, offsetof<FlowCold>());
  return flow;
}

/** What the row keeps says that it is free: it has no ends. */
export function giveFlow(flow: u32): void {
  flowAt(flow).end0 = 0;
  flowAt(flow).end1 = 0;
  flows.give(flow);
  coldFlows.give(flow);
}

/** A zeroed end, or 0 when END_COUNT_MAX is reached. */
export function takeEnd(): u32 {
  const end = ends.take();
  if (end === 0) return 0;
  coldEnds.take();
  memory.fill(ends.at(end), 0, offsetof<End>());
  memory.fill(coldEnds.at(end), 0, offsetof<EndCold>());
  endAt(end).fromWindow = NO_WINDOW;
  return end;
}

export function giveEnd(end: u32): void {
  ends.give(end);
  coldEnds.give(end);
}

/** One above the greatest row ever taken. */
export function flowEnd(): u32 {
  return flows.end;
}

export function liveFlows(): u32 {
  return flows.live;
}

export function liveEnds(): u32 {
  return ends.live;
}

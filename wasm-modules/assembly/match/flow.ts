// A flow is a connection with up to two ends, in two slots. Which slot an end takes follows from what it says alone (flow-key.ts), so
// it does not depend on who reported first; which slot is the client is decided once, when the flow is first booked.
//
//   Flow (64 B, hot)    booked totals, the ends, the edge      FlowCold (32 B)  flags, linger list    FlowKey (16 B)
//   End  (64 B, hot)    totals as last told, open count        EndCold  (32 B)  who told it, its tuple
//
// Rows of one thing are taken and given back together, so one handle names all. What few flows have is in rows of its own, of which FlowExtras
// (16 B) has the numbers.
import { shortTimeBetween } from '../lib/flow-place';
import { RowPool } from '../lib/row-pool';
import { clearRow } from '../lib/words';
import { initFlowMarks } from './flow-marks';
import { initRemoteAddresses, RemoteAddress } from './remote-addresses';
import { Viewpoint, viewpointAt } from './viewpoints';

/** Per worker. */
export const FLOW_COUNT_MAX: u32 = 1 << 22;
export const END_COUNT_MAX: u32 = 1 << 23;
/** One for each flow. */
export const EXTRAS_COUNT_MAX: u32 = FLOW_COUNT_MAX;

/** Orientation is frozen and `booked` has a base. */
export const FLOW_BOOKED: u16 = 2;
export const FLOW_CONNECTION_COUNTED: u16 = 4;
export const FLOW_CLOSED_COUNTED: u16 = 8;
export const FLOW_RESET_COUNTED: u16 = 16;
export const FLOW_FAILURE_COUNTED: u16 = 32;
export const FLOW_JUDGED: u16 = 64;
/** At least one end was open at the last close; the edge is retained. */
export const FLOW_ACTIVE: u16 = 128;
/** Of one that lingers: among those whose two ends have closed. */
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
  /** On the list of those that linger. */
  next: u32;

  endAt(slot: u32): u32 {
    return slot === 0 ? this.end0 : this.end1;
  }

  setEnd(slot: u32, end: u32): void {
    if (slot === 0) this.end0 = end;
    else this.end1 = end;
  }
}

@unmanaged
export class FlowKey {
  high: u64;
  low: u64;
}

/** Rows that few flows have; 0 = none. */
@unmanaged
class FlowExtras {
  /** What was left out at the start (history.ts). */
  history: u32;
  /** What earlier incarnations exported (exported.ts). */
  exported: u32;
  /** Its membership in a pair of folds (fold-members.ts). */
  member: u32;
  /** The ends' totals at the last close, where they are not what is booked (own-numbers.ts). */
  own: u32;

  get isEmpty(): bool {
    return (this.history | this.exported | this.member | this.own) === 0;
  }
}

@unmanaged
export class FlowCold {
  /** The version of names (naming.ts) with which `edge` was found. */
  namedVersion: u32;
  flags: u16;
  /** Successive connections of one tuple, from 0. */
  generation: u16;
  kind: u8;
  shard: u8;
  clientSlot: u8;
  pad0: u8;
  lingerPrevious: u32;
  lingerWindow: u32;
  /** When the first of its ends says that it began (MatchOpen.start_time); 0 = nobody knows. */
  beginTime: u32;
  /** First of the tallies that wait for its booking (tallies.ts); 0 = none. */
  tallies: u32;
  /** Row of FlowExtras; 0 = all are 0. */
  private extras: u32;

  /** The first of its ends to begin says when. `startTime`: as MatchOpen.start_time. */
  noteBegin(startTime: u32): void {
    if (startTime === 0) return;
    if (this.beginTime === 0 || shortTimeBetween(this.beginTime, startTime) < 0) this.beginTime = startTime;
  }

  get hasExtras(): bool {
    return this.extras !== 0;
  }

  get history(): u32 {
    return this.extras === 0 ? 0 : extrasAt(this.extras).history;
  }

  set history(row: u32) {
    if (this.extras === 0 && row === 0) return;
    this.openExtras().history = row;
    this.closeExtras();
  }

  get exported(): u32 {
    return this.extras === 0 ? 0 : extrasAt(this.extras).exported;
  }

  set exported(row: u32) {
    if (this.extras === 0 && row === 0) return;
    this.openExtras().exported = row;
    this.closeExtras();
  }

  get member(): u32 {
    return this.extras === 0 ? 0 : extrasAt(this.extras).member;
  }

  set member(row: u32) {
    if (this.extras === 0 && row === 0) return;
    this.openExtras().member = row;
    this.closeExtras();
  }

  get own(): u32 {
    return this.extras === 0 ? 0 : extrasAt(this.extras).own;
  }

  set own(row: u32) {
    if (this.extras === 0 && row === 0) return;
    this.openExtras().own = row;
    this.closeExtras();
  }

  /** There are EXTRAS_COUNT_MAX of them, so there is always one. */
  private openExtras(): FlowExtras {
    if (this.extras === 0) {
      this.extras = extras.take();
      memory.fill(extras.at(this.extras), 0, offsetof<FlowExtras>());
    }
    return extrasAt(this.extras);
  }

  private closeExtras(): void {
    if (!extrasAt(this.extras).isEmpty) return;
    extras.give(this.extras);
    this.extras = 0;
  }
}

if (offsetof<FlowCold>() !== 32) ERROR('a row of FlowCold has 32 bytes');

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
  private remoteBytes: u64;
  /** Who told it, and at which local address (viewpoints.ts), retained. */
  viewpoint: u32;
  localPort: u16;
  remotePort: u16;
  role: u8;
  roleSource: u8;
  closeReason: u8;
  protocol: u8;
  /** By what name its remote address was asked for, retained; 0 = by none that is known. */
  remoteNode: u32;

  /** Not of an END_SETTLED end, which has no tuple. */
  get remote(): RemoteAddress {
    return changetype<RemoteAddress>(changetype<usize>(this) + offsetof<EndCold>('remoteBytes'));
  }

  get from(): Viewpoint {
    return viewpointAt(this.viewpoint);
  }

  /** Of an END_SETTLED end: its pair (lib/flow-place.ts) in its address space; 0 = unknown. */
  get settledPair(): u64 {
    return this.remoteBytes;
  }

  set settledPair(pair: u64) {
    this.remoteBytes = pair;
  }
}

if (offsetof<EndCold>() !== 32) ERROR('a row of EndCold has 32 bytes');

const flows: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
const coldFlows: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
const flowKeys: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
const extras: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
const ends: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));
const coldEnds: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));

export function initFlows(): void {
  flows.begin(offsetof<Flow>(), FLOW_COUNT_MAX);
  coldFlows.begin(offsetof<FlowCold>(), FLOW_COUNT_MAX);
  flowKeys.begin(offsetof<FlowKey>(), FLOW_COUNT_MAX);
  extras.begin(offsetof<FlowExtras>(), EXTRAS_COUNT_MAX);
  ends.begin(offsetof<End>(), END_COUNT_MAX);
  coldEnds.begin(offsetof<EndCold>(), END_COUNT_MAX);
  initRemoteAddresses();
  initFlowMarks(FLOW_COUNT_MAX);
}

export function flowAt(flow: u32): Flow {
  return flows.row<Flow>(flow);
}

export function coldFlowAt(flow: u32): FlowCold {
  return coldFlows.row<FlowCold>(flow);
}

export function flowKeyAt(flow: u32): FlowKey {
  return flowKeys.row<FlowKey>(flow);
}

function extrasAt(row: u32): FlowExtras {
  return extras.row<FlowExtras>(row);
}

export function endAt(end: u32): End {
  return ends.row<End>(end);
}

/** Stands in for the end that nobody reports. */
export const noEnd: End = changetype<End>(memory.data(offsetof<End>(), 8));

export function endOrNone(end: u32): End {
  return end === 0 ? noEnd : endAt(end);
}

export function coldEndAt(end: u32): EndCold {
  return coldEnds.row<EndCold>(end);
}

/** True when a flow and both its ends can be taken. */
export function hasRoomForFlow(): bool {
  return !flows.isFull() && ends.live + 2 <= END_COUNT_MAX;
}

/** A flow without a key and marks, zeroed otherwise, or 0 when FLOW_COUNT_MAX is reached. */
export function takeFlow(): u32 {
  const flow = flows.take();
  if (flow === 0) return 0;
  coldFlows.take();
  flowKeys.take();
  clearFlow(flow);
  return flow;
}

export function clearFlow(flow: u32): void {
  clearRow<Flow>(flows.at(flow));
  clearRow<FlowCold>(coldFlows.at(flow));
}

/** What the row keeps says that it is free: it has no ends. */
export function giveFlow(flow: u32): void {
  flowAt(flow).end0 = 0;
  flowAt(flow).end1 = 0;
  flows.give(flow);
  coldFlows.give(flow);
  flowKeys.give(flow);
}

/** A zeroed end, or 0 when END_COUNT_MAX is reached. */
export function takeEnd(): u32 {
  const end = ends.take();
  if (end === 0) return 0;
  coldEnds.take();
  clearEnd(end);
  endAt(end).fromWindow = NO_WINDOW;
  return end;
}

export function clearEnd(end: u32): void {
  clearRow<End>(ends.at(end));
  clearRow<EndCold>(coldEnds.at(end));
}

/** A window has closed: nothing of the next one was told. */
export function beginEndWindow(end: End): void {
  const flags: u16 = end.flags & ~(END_FRESH | END_MERGED | END_REPORTED | END_HELD | END_CLOSING);
  end.flags = end.openCount !== 0 ? flags | END_HELD : flags;
  end.srttUs = 0;
  end.fromWindow = NO_WINDOW;
}

export function giveEnd(end: u32): void {
  ends.give(end);
  coldEnds.give(end);
}

/** Before the row of an end is given back. */
export function releaseRemote(hot: End, cold: EndCold): void {
  if ((hot.flags & END_SETTLED) === 0) cold.remote.release();
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

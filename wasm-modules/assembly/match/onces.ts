// What is told of a socket that lived within one window, as it waits for its close (shard-onces.ts). Ends that join by their tuple do not wait:
// which connection of the tuple they are of follows from what closed before. Nor do those whose totals are beyond 2^32.
//
// Memory's bandwidth is what a short connection costs most, so what waits is little more than half of a MatchOnce: of from where it is seen the
// number of its viewpoint, narrow totals, no IPv4 address longer than it is.
import { releaseNode } from '../enrich/nodes';
import { Role } from '../gen/kernel-events';
import { EndTotals, MatchOnce } from '../gen/records';
import { isConnectFailure, precedesTuple } from './flow-key';
import { areNarrow } from './narrow-update';
import { RemoteAddress } from './remote-addresses';
import { releaseViewpoint, viewpointAt } from './viewpoints';

/** What a Once says. It holds its viewpoint, its nodes and what its remote address takes. */
@unmanaged
export class WaitingOnce {
  joinKey: u64;
  cookie: u64;
  private remoteBytes: u64;
  durationNs: u64;
  /** While it is staged its shard, while it is paired of its key in the tables; of a brief flow (brief-flows.ts) what that says. */
  tag: u32;
  /**
   * The WaitingOnce of the other side, when these two are all that claim their key in the list; 0 = not so. TAKEN_ONCE: booked with the other.
   * GONE_ONCE: it holds nothing any more.
   */
  other: u32;
  viewpoint: u32;
  /** Its owner; 0 = unknown. */
  node: u32;
  remoteNode: u32;
  fromWindow: u32;
  startTime: u32;
  handshakeUs: u32;
  bytesSent: u32;
  bytesReceived: u32;
  segmentsSent: u32;
  segmentsReceived: u32;
  retransmits: u32;
  srttUs: u32;
  minRttUs: u32;
  localPort: u16;
  remotePort: u16;
  error: u16;
  /** wire.OpenFlags. */
  flags: u8;
  role: u8;
  roleSource: u8;
  protocol: u8;
  reason: u8;
  phase: u8;

  /** Room with what was there before becomes one that waits for nobody. */
  begin(remoteHigh: u64, remoteLow: u64): void {
    this.other = 0;
    this.setRemote(remoteHigh, remoteLow);
  }

  /** Whatever was there before. */
  setRemote(high: u64, low: u64): void {
    this.remoteBytes = 0;
    this.remote.set(high, low);
  }

  /** `totals` are narrow. */
  setTotals(totals: EndTotals): void {
    this.bytesSent = <u32>totals.bytesSent;
    this.bytesReceived = <u32>totals.bytesReceived;
    this.segmentsSent = <u32>totals.segmentsSent;
    this.segmentsReceived = <u32>totals.segmentsReceived;
    this.retransmits = <u32>totals.retransmits;
    this.srttUs = totals.srttUs;
    this.minRttUs = totals.minRttUs;
  }

  get remote(): RemoteAddress {
    return changetype<RemoteAddress>(changetype<usize>(this) + offsetof<WaitingOnce>('remoteBytes'));
  }

  /** Its side of the flow of its join key (flow-key.ts). */
  get slot(): u32 {
    if (this.role !== Role.Unknown) return <u32>(this.role === Role.Server);
    const point = viewpointAt(this.viewpoint);
    const remote = this.remote;
    return <u32>(
      !precedesTuple(point.localHigh, point.localLow, this.localPort, remote.high, remote.low, this.remotePort)
    );
  }
}

export const WAITING_ONCE_BYTES: u32 = <u32>offsetof<WaitingOnce>();
if (WAITING_ONCE_BYTES !== 104) ERROR('a WaitingOnce has 104 bytes');

export const TAKEN_ONCE: u32 = 1;
export const GONE_ONCE: u32 = 2;

/** What a WaitingOnce says in the form of all others. */
const wide: MatchOnce = changetype<MatchOnce>(memory.data(offsetof<MatchOnce>(), 8));

/** True when a Once with this key and these totals may wait. */
export function mayWait(joinKey: u64, reason: u8, totals: EndTotals): bool {
  return (joinKey !== 0 || isConnectFailure(reason)) && areNarrow(totals);
}

/** What `waiting` says in the form of all others, without nodes; valid until the next call. */
export function widenOnce(waiting: WaitingOnce, shard: u32): MatchOnce {
  const point = viewpointAt(waiting.viewpoint);
  const open = wide.open;
  open.joinKey = waiting.joinKey;
  open.cookie = waiting.cookie;
  open.boot = point.boot;
  open.session = point.session;
  open.identity = point.identity;
  open.addressSpace = point.addressSpace;
  open.localAddressHi = point.localHigh;
  open.localAddressLo = point.localLow;
  open.remoteAddressHi = waiting.remote.high;
  open.remoteAddressLo = waiting.remote.low;
  open.localPort = waiting.localPort;
  open.remotePort = waiting.remotePort;
  open.role = waiting.role;
  open.roleSource = waiting.roleSource;
  open.protocol = waiting.protocol;
  open.flags = waiting.flags;
  open.shard = <u8>shard;
  open.startTime = waiting.startTime;
  open.viewpoint = waiting.viewpoint;
  wide.fromWindow = waiting.fromWindow;
  wide.reason = waiting.reason;
  wide.phase = waiting.phase;
  wide.error = waiting.error;
  wide.durationNs = waiting.durationNs;
  wide.handshakeNs = <u64>waiting.handshakeUs * 1000;
  const totals = wide.totals;
  totals.bytesSent = waiting.bytesSent;
  totals.bytesReceived = waiting.bytesReceived;
  totals.segmentsSent = waiting.segmentsSent;
  totals.segmentsReceived = waiting.segmentsReceived;
  totals.retransmits = waiting.retransmits;
  totals.srttUs = waiting.srttUs;
  totals.minRttUs = waiting.minRttUs;
  return wide;
}

export function releaseOnce(once: WaitingOnce): void {
  releaseNode(once.node);
  releaseNode(once.remoteNode);
  releaseViewpoint(once.viewpoint);
  once.remote.release();
}

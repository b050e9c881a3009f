// Bounds on lies: what an honest agent cannot say.
import { Role, RoleSource } from '../gen/kernel-events';
import { EndTotals, RefusalReason } from '../gen/records';
import { Session } from './session';
import { Socket } from './sockets';
import { openWindow, windowLengthNs } from './windows';

/** Bytes (and segments) per second of one socket in one direction. */
export const TOTALS_RATE_MAX: u64 = 100_000_000_000;
/** Windows that an agent may be ahead of the reducer. */
export const WINDOW_AHEAD_MAX: u32 = 64;
/** Tallies of a session between two WindowEnds. */
export const TALLY_COUNT_MAX: u32 = 1 << 19;
/** What a sample, and the sum of those in one tally, may be: four years. */
export const TALLY_SAMPLE_NS_MAX: u64 = 1 << 57;
/** Reports of one socket between two WindowEnds. */
export const REPORT_COUNT_MAX: u8 = 16;

/** How far a total may rise from `toldWindow` up to now. One window more than elapsed, because clocks differ. */
export function allowanceSince(session: Session, toldWindow: u32): u64 {
  const now = max(openWindow(), session.state.reachedWindow + 1) + 1;
  const windows: u64 = now > toldWindow ? now - toldWindow + 1 : 1;
  const perWindow = (TOTALS_RATE_MAX / 1_000_000_000) * windowLengthNs();
  return windows > u64.MAX_VALUE / perWindow ? u64.MAX_VALUE : windows * perWindow;
}

/** RefusalReason of totals that come after those of `socket`. */
export function checkTotals(socket: Socket, totals: EndTotals, allowance: u64): u8 {
  if (
    totals.bytesSent < socket.bytesSent ||
    totals.bytesReceived < socket.bytesReceived ||
    totals.segmentsSent < socket.segmentsSent ||
    totals.segmentsReceived < socket.segmentsReceived ||
    totals.retransmits < socket.retransmits
  ) {
    return RefusalReason.TotalsFell;
  }
  const isTooFast =
    totals.bytesSent - socket.bytesSent > allowance ||
    totals.bytesReceived - socket.bytesReceived > allowance ||
    totals.segmentsSent - socket.segmentsSent > allowance ||
    totals.segmentsReceived - socket.segmentsReceived > allowance ||
    totals.retransmits - socket.retransmits > allowance;
  return isTooFast ? RefusalReason.TotalsRate : RefusalReason.None;
}

/** Of a socket that begins and ends with these totals. */
export function areTotalsWithin(totals: EndTotals, allowance: u64): bool {
  return (
    totals.bytesSent <= allowance &&
    totals.bytesReceived <= allowance &&
    totals.segmentsSent <= allowance &&
    totals.segmentsReceived <= allowance &&
    totals.retransmits <= allowance
  );
}

export function isRole(role: u8, source: u8): bool {
  return role <= Role.Server && source <= RoleSource.Kernel;
}

export function isProtocol(protocol: u8, ipVersion: u8): bool {
  return (protocol === 6 || protocol === 17) && (ipVersion === 4 || ipVersion === 6);
}

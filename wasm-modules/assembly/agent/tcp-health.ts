// What the kernel counts of a TCP socket's health as running totals, turned into tallies by what they moved since the last event: an event that
// was lost is made up for by the next.
import { KernelEventType, RetransmitKind, SocketEvent } from '../gen/kernel-events';
import { TallyKind } from '../gen/wire';
import { ensureHealth, healthOf } from './health-row';
import { SocketFlag, SocketRow } from './socket-row';
import { tally } from './tallies';

/** The agent's look begins here: what was counted before is history. */
export function beginHealth(socket: SocketRow, event: SocketEvent): void {
  const retransmits = event.retransmitsFast | event.retransmitsTimeout | event.retransmitsSyn | event.retransmitsProbe;
  if ((retransmits | event.outOfOrder | event.zeroWindows) === 0) return;
  const health = ensureHealth(socket);
  health.retransmitsFast = event.retransmitsFast;
  health.retransmitsTimeout = event.retransmitsTimeout;
  health.retransmitsSyn = event.retransmitsSyn;
  health.retransmitsProbe = event.retransmitsProbe;
  health.outOfOrder = event.outOfOrder;
  health.zeroWindows = event.zeroWindows;
}

const RTT_SAMPLE_PERIOD_S: u32 = 60;

/**
 * Samples the RTT variation of a connection that the channel knows. One that is over before is told as Once, and has hardly a variation: after
 * the first round trip it is half of that (RFC 6298).
 */
function sampleRttVariation(row: u32, socket: SocketRow, event: SocketEvent): void {
  const now = <u32>(event.timeNs / 1_000_000_000);
  if (socket.rttSampledS === 0) socket.rttSampledS = now;
  if (!socket.has(SocketFlag.OpenTold) || event.rttVariationUs === 0) return;
  if (event.type !== KernelEventType.SocketClose && now - socket.rttSampledS < RTT_SAMPLE_PERIOD_S) return;
  socket.rttSampledS = now;
  tally(row, TallyKind.RttVariation, 0, 0, 1, <u64>event.rttVariationUs * 1000);
}

/** Tallies what moved. Of an event from behind, as when a scan and the ring cross, nothing has. */
export function applyHealth(row: u32, socket: SocketRow, event: SocketEvent): void {
  if (event.handshakeUs !== 0) socket.handshakeUs = event.handshakeUs;
  sampleRttVariation(row, socket, event);
  const known = healthOf(socket);
  const fast = rise(known.retransmitsFast, event.retransmitsFast);
  const timeout = rise(known.retransmitsTimeout, event.retransmitsTimeout);
  const syn = rise(known.retransmitsSyn, event.retransmitsSyn);
  const probe = rise(known.retransmitsProbe, event.retransmitsProbe);
  const outOfOrder = rise(known.outOfOrder, event.outOfOrder);
  const zeroWindows = rise(known.zeroWindows, event.zeroWindows);
  if ((fast | timeout | syn | probe | outOfOrder | zeroWindows) === 0) return;
  const health = ensureHealth(socket);
  health.retransmitsFast += fast;
  health.retransmitsTimeout += timeout;
  health.retransmitsSyn += syn;
  health.retransmitsProbe += probe;
  health.outOfOrder += outOfOrder;
  health.zeroWindows += zeroWindows;
  tally(row, TallyKind.Retransmit, RetransmitKind.Fast, 0, fast, 0);
  tally(row, TallyKind.Retransmit, RetransmitKind.Timeout, 0, timeout, 0);
  tally(row, TallyKind.Retransmit, RetransmitKind.Syn, 0, syn, 0);
  tally(row, TallyKind.Retransmit, RetransmitKind.TailLossProbe, 0, probe, 0);
  tally(row, TallyKind.OutOfOrder, 0, 0, outOfOrder, 0);
  tally(row, TallyKind.ZeroWindow, 0, 0, zeroWindows, 0);
}

function rise(known: u32, counter: u32): u32 {
  const moved = counter - known;
  return moved < 0x8000_0000 ? moved : 0;
}

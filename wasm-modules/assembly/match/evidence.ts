// What the end on one side of a flow says about a claim on the other. A claim that mirrors its tuple is more credible than one that does not,
// though address translation makes honest ends that do not. One that shares its local or its remote endpoint cannot be the other end of it,
// translated or not: it is a copy of its words. Only an end that was there at the last close is a witness, because nothing displaces it, so
// what it says does not depend on the order of arrival within the window.
import { MatchOpen } from '../gen/records';
import { coldEndAt, END_FRESH, END_SETTLED, EndCold, endAt, flowAt } from './flow';

/** The end in `slot` when it may testify, else 0. */
export function witnessOf(flow: u32, slot: u8): u32 {
  const end = flowAt(flow).endAt(slot);
  if (end === 0) return 0;
  return (endAt(end).flags & (END_FRESH | END_SETTLED)) === 0 ? end : 0;
}

/** False when `open` and `witness` cannot be two ends of one connection. */
export function canFace(witness: u32, open: MatchOpen): bool {
  if (witness === 0 || coldEndAt(witness).from.addressSpace !== open.addressSpace) return true;
  const cold = coldEndAt(witness);
  return (
    !isEndpoint(
      open.localAddressHi,
      open.localAddressLo,
      open.localPort,
      cold.from.localHigh,
      cold.from.localLow,
      cold.localPort,
    ) &&
    !isEndpoint(
      open.remoteAddressHi,
      open.remoteAddressLo,
      open.remotePort,
      cold.remote.high,
      cold.remote.low,
      cold.remotePort,
    )
  );
}

export function mirrorsOpen(witness: u32, open: MatchOpen): bool {
  if (witness === 0 || coldEndAt(witness).from.addressSpace !== open.addressSpace) return false;
  const cold = coldEndAt(witness);
  return (
    isEndpoint(
      open.localAddressHi,
      open.localAddressLo,
      open.localPort,
      cold.remote.high,
      cold.remote.low,
      cold.remotePort,
    ) &&
    isEndpoint(
      open.remoteAddressHi,
      open.remoteAddressLo,
      open.remotePort,
      cold.from.localHigh,
      cold.from.localLow,
      cold.localPort,
    )
  );
}

export function mirrorsEnd(witness: u32, end: u32): bool {
  if (witness === 0) return false;
  const a = coldEndAt(witness);
  const b = coldEndAt(end);
  return a.from.addressSpace === b.from.addressSpace && isMirror(a, b);
}

function isMirror(a: EndCold, b: EndCold): bool {
  return (
    isEndpoint(a.from.localHigh, a.from.localLow, a.localPort, b.remote.high, b.remote.low, b.remotePort) &&
    isEndpoint(a.remote.high, a.remote.low, a.remotePort, b.from.localHigh, b.from.localLow, b.localPort)
  );
}

function isEndpoint(high: u64, low: u64, port: u16, otherHigh: u64, otherLow: u64, otherPort: u16): bool {
  return high === otherHigh && low === otherLow && port === otherPort;
}

// Which slot is the client. The best evidence of any end decides, once, when the flow is first booked.
import { Role, RoleSource } from '../gen/kernel-events';
import { ReducerCounter } from '../gen/records';
import { count } from '../lib/counters';
import { coldEndAt, coldFlowAt, END_SETTLED, endAt, FLOW_UNORIENTED, flowAt } from './flow';
import { EPHEMERAL_PORT_MIN } from './naming';

export function orientFlow(flow: u32): void {
  const hot = flowAt(flow);
  const said0 = clientSlotBy(hot.end0, 0);
  const said1 = clientSlotBy(hot.end1, 1);
  if (said0 !== said1 && said0 !== NOBODY && said1 !== NOBODY) count(ReducerCounter.RolesCorrected);
  const isFirstBetter = sourceOf(hot.end0) >= sourceOf(hot.end1);
  let slot = isFirstBetter ? said0 : said1;
  if (slot === NOBODY) slot = isFirstBetter ? said1 : said0;
  const cold = coldFlowAt(flow);
  if (slot === NOBODY) {
    cold.flags |= FLOW_UNORIENTED;
    slot = clientSlotByPort(hot.end0 !== 0 ? hot.end0 : hot.end1, hot.end0 !== 0 ? 0 : 1);
  }
  cold.clientSlot = <u8>slot;
}

const NOBODY: u32 = 2;

function clientSlotBy(end: u32, slot: u32): u32 {
  if (end === 0 || coldEndAt(end).role === Role.Unknown) return NOBODY;
  return coldEndAt(end).role === Role.Client ? slot : 1 - slot;
}

function sourceOf(end: u32): u8 {
  if (end === 0) return RoleSource.None;
  return (endAt(end).flags & END_SETTLED) !== 0 ? RoleSource.Kernel : coldEndAt(end).roleSource;
}

/** Without evidence: the end with the service's port is the server, else the one with the greater (address, port), which has slot 1. */
function clientSlotByPort(end: u32, slot: u32): u32 {
  const cold = coldEndAt(end);
  const isLocalService = cold.localPort < EPHEMERAL_PORT_MIN;
  const isRemoteService = cold.remotePort < EPHEMERAL_PORT_MIN;
  if (isLocalService === isRemoteService) return 0;
  return isLocalService ? 1 - slot : slot;
}

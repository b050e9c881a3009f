// Loss: what an agent left out, as totals since its session began. They stay with the session's state, so that each rise counts once.

import { ReducerCounter, RefusalReason, SESSION_STATE_SIZE } from '../gen/records';
import { LOSS_SIZE, Loss, LossKind } from '../gen/wire';
import { addRise } from '../lib/counters';
import { Session } from './session';

export function checkLosses(_session: Session, items: usize, itemCount: u32): u8 {
  for (let index: u32 = 0; index < itemCount; index++) {
    if (lossAt(items, index).kind === LossKind.None) return RefusalReason.EnumValue;
  }
  return RefusalReason.None;
}

/** Kinds of later versions are passed over; listeners are the host's. */
export function applyLosses(session: Session, items: usize, itemCount: u32): void {
  for (let index: u32 = 0; index < itemCount; index++) {
    const loss = lossAt(items, index);
    if (loss.kind >= LossKind.Listeners) continue;
    const told = changetype<usize>(session.state) + SESSION_STATE_SIZE + <usize>loss.kind * sizeof<u64>();
    addRise(ReducerCounter.AgentLost + loss.kind, load<u64>(told), loss.count);
    store<u64>(told, max(load<u64>(told), loss.count));
  }
}

function lossAt(items: usize, index: u32): Loss {
  return changetype<Loss>(items + <usize>index * LOSS_SIZE);
}

// What the kernel dropped since the last reading (bpf/programs/drops.h): of the socket as long as its end is not told, else of the host.
import { LabelKind } from '../gen/agent';
import { DropCount } from '../gen/kernel-events';
import { TallyKind } from '../gen/wire';
import { labelOf } from './labels';
import { findSocket, socketAt } from './sockets';
import { tally } from './tallies';

export function applyDropCount(event: DropCount): void {
  const label = labelOf(LabelKind.DropSite, event.location, event.reason);
  tally(tallyOwner(event.cookie), TallyKind.Drop, event.reason, label, event.count, 0);
}

/** The row that counts for the socket; 0, the host's, of one that is not known, or not any more. */
export function tallyOwner(cookie: u64): u32 {
  const row = cookie === 0 ? 0 : findSocket(cookie, 0);
  return row !== 0 && socketAt(row).closeWindow === 0 ? row : 0;
}

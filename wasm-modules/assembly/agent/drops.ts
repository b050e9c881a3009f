// What the kernel dropped since the last reading (bpf/programs/drops.h): of the socket as long as its end is not told, else of the host.
import { LabelKind } from '../gen/agent';
import { DropCount } from '../gen/kernel-events';
import { TallyKind } from '../gen/wire';
import { labelOf } from './labels';
import { tallySocket } from './waiting-tallies';

export function applyDropCount(event: DropCount): void {
  const label = labelOf(LabelKind.DropSite, event.location, event.reason);
  tallySocket(event.cookie, TallyKind.Drop, event.reason, label, event.count, 0);
}

// Datagrams that found the receive buffer of their socket full: the kernel's running total, turned into tallies by what it moved.
import { SocketEvent } from '../gen/kernel-events';
import { TallyKind } from '../gen/wire';
import { ensureHealth, healthOf } from './health-row';
import { SocketRow } from './socket-row';
import { tally } from './tallies';

/** Of datagrams the event's `zeroWindows` are those that found no room; an event from behind changes nothing. */
export function applyDatagramDrops(row: u32, socket: SocketRow, event: SocketEvent): void {
  const moved = event.zeroWindows - healthOf(socket).zeroWindows;
  if (moved === 0 || moved >= 0x8000_0000) return;
  ensureHealth(socket).zeroWindows = event.zeroWindows;
  tally(row, TallyKind.DatagramDrop, 0, 0, moved, 0);
}

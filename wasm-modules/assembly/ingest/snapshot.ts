// A snapshot on a channel whose session this worker knows: everything is told again, so the old rows go. Their ends close with
// `agent_restart` in the same window in which the snapshot opens them again, and match merges the two.
import { CloseReason } from '../gen/kernel-events';
import { SessionFlag } from '../gen/records';
import { giveLabels } from './labels';
import { giveNamedAddresses } from './named-addresses';
import { Session, setFlag } from './session';
import { giveSockets, SOCKET_MOVED, Socket, SocketState, socketRow } from './sockets';
import { dropStagedIncrements } from './staging';
import { stageClose, stageUpdate } from './totals';
import { giveTables } from './twin-tables';

export function beginSnapshot(session: Session): void {
  dropStagedIncrements(session);
  session.tallyCount = 0;
  for (let handle: u32 = 1; handle < session.socketEnd; handle++) {
    const row = socketRow(session, handle);
    if (row === 0 || changetype<Socket>(row).state !== SocketState.Open) continue;
    if ((changetype<Socket>(row).flags & SOCKET_MOVED) !== 0) stageUpdate(session, changetype<Socket>(row));
    stageClose(session, changetype<Socket>(row), CloseReason.AgentRestart);
  }
  giveSockets(session);
  giveTables(session);
  giveLabels(session);
  giveNamedAddresses(session);
  session.isRepeatAllowed = 1;
  setFlag(session, SessionFlag.SnapshotDone, false);
}

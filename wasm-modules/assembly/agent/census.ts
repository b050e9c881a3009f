// Finds the connections whose close was lost: all that are alive are told, so whoever is not among them has closed. Any event of a socket
// during the census shows it alive, or its close. Flows of datagrams end in a walk, which loses nothing, and are left out.
import { CloseReason } from '../gen/kernel-events';
import { endSocket } from './retention';
import { SocketFlag } from './socket-row';
import { nextSocket, socketAt } from './sockets';

const IPPROTO_TCP: u8 = 6;

let census: u32 = 0;
export let closesInferred: u64 = 0;

export function currentCensus(): u32 {
  return census;
}

export function beginCensus(): void {
  census++;
}

/** Closes whoever was not seen, with the totals that are known. `timeNs`: CLOCK_MONOTONIC. */
export function endCensus(timeNs: u64): void {
  for (let row = nextSocket(0); row !== 0; row = nextSocket(row)) {
    const socket = socketAt(row);
    if (socket.has(SocketFlag.Closed) || socket.census === census) continue;
    if (socket.protocol !== IPPROTO_TCP) continue;
    closesInferred++;
    endSocket(row, socket, CloseReason.Closed, timeNs);
  }
}

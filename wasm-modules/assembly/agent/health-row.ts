// What the kernel counted last of a socket beside its totals, and is tallied. Of most sockets it has counted nothing: they have no row.
import { RowPool } from '../lib/row-pool';
import { SocketRow } from './socket-row';

@unmanaged
export class HealthRow {
  retransmitsFast: u32;
  retransmitsTimeout: u32;
  retransmitsSyn: u32;
  retransmitsProbe: u32;
  outOfOrder: u32;
  /** Of datagrams those that found no room. */
  zeroWindows: u32;
}

let rows: RowPool = changetype<RowPool>(0);
/** Of a socket without a row. */
const nothing = changetype<HealthRow>(memory.data(24, 8));

export function initHealth(socketsMax: u32): void {
  rows = RowPool.create(offsetof<HealthRow>(), socketsMax);
}

export function healthOf(socket: SocketRow): HealthRow {
  return socket.health === 0 ? nothing : changetype<HealthRow>(rows.at(socket.health));
}

/** The row of a socket of which something was counted. */
export function ensureHealth(socket: SocketRow): HealthRow {
  if (socket.health === 0) {
    socket.health = rows.take();
    memory.fill(rows.at(socket.health), 0, offsetof<HealthRow>());
  }
  return healthOf(socket);
}

export function releaseHealth(socket: SocketRow): void {
  if (socket.health !== 0) rows.give(socket.health);
}

// Totals as they were when they were told or committed. Whoever needs the same ones shares them: the socket, for its channel and for a new
// reducer, and the journal. What has not moved since is no version but AS_NOW, so a socket that rests has none.
import { Totals } from '../gen/wire';
import { RowPool } from '../lib/row-pool';
import { copyTotals, SocketRow } from './socket-row';

/** In place of a version: what the socket's totals are now. */
export const AS_NOW: u32 = 0;
/** The version of zeros. */
export const NOTHING: u32 = 1;

/** The totals, and how many mean them. */
@unmanaged
class Version {
  private totals0: u64; // 0
  private totals1: u64;
  private totals2: u64;
  private totals3: u64;
  private totals4: u64;
  private totals5: u64;
  references: u32; // 48
  pad0: u32;

  get totals(): Totals {
    return changetype<Totals>(changetype<usize>(this));
  }
}

if (offsetof<Version>() !== offsetof<Totals>() + 8) ERROR('Version: `totals` has other bytes');

let versions: RowPool = changetype<RowPool>(0);

/** `referencesMax`: of sockets and of the journal together. */
export function initVersions(referencesMax: u32): void {
  versions = RowPool.create(offsetof<Version>(), referencesMax + 1);
  versionAt(versions.take()).references = 1;
}

function versionAt(version: u32): Version {
  return changetype<Version>(versions.at(version));
}

/** Valid until the socket's totals change. */
export function totalsOf(version: u32, socket: SocketRow): Totals {
  return version === AS_NOW ? socket.now : versionAt(version).totals;
}

export function toldOf(socket: SocketRow): Totals {
  return totalsOf(socket.told, socket);
}

export function committedOf(socket: SocketRow): Totals {
  return totalsOf(socket.committed, socket);
}

/** The same version, with one reference more. */
export function retainVersion(version: u32): u32 {
  if (version !== AS_NOW) versionAt(version).references++;
  return version;
}

export function releaseVersion(version: u32): void {
  if (version !== AS_NOW && --versionAt(version).references === 0) versions.give(version);
}

/** `version`: another one or the same; the caller's reference goes over to the socket. */
export function setCommitted(socket: SocketRow, version: u32): void {
  releaseVersion(socket.committed);
  socket.committed = version;
}

/** Before the socket's totals change: what was as now stays as it was. */
export function keepNow(socket: SocketRow): void {
  if (socket.told !== AS_NOW && socket.committed !== AS_NOW) return;
  const version = versions.take();
  copyTotals(versionAt(version).totals, socket.now);
  versionAt(version).references = u32(socket.told === AS_NOW) + u32(socket.committed === AS_NOW);
  if (socket.told === AS_NOW) socket.told = version;
  if (socket.committed === AS_NOW) socket.committed = version;
}

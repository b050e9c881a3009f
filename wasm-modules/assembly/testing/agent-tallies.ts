// Entry of the test build: the tallies of an agent, with sockets of which only the row matters, and limits to choose.
import { initLabels } from '../agent/labels';
import { SocketFlag } from '../agent/socket-row';
import { addSocket, freeSocket, initSockets, socketAt } from '../agent/sockets';
import {
  beginTellingTallies,
  initTallies,
  nextTallyToTell,
  talliesForgotten,
  talliesLost,
  talliesMerged,
  talliesRefused,
  tellTallyInto,
} from '../agent/tallies';
import { TALLY_SIZE, Tally } from '../gen/wire';
import { seedHashes } from '../lib/hash';

export { commitTallies, retellTallies, tally, tallyCount } from '../agent/tallies';

const item = changetype<Tally>(memory.data(TALLY_SIZE, 8));

export function init(seed: u64, talliesMax: u32): void {
  seedHashes(seed, seed);
  initSockets(1024);
  initLabels(64);
  initTallies(talliesMax);
}

/** The row of a new socket; its handle is the row's number. */
export function openSocket(cookie: u64): u32 {
  const row = addSocket(cookie);
  socketAt(row).handle = row;
  return row;
}

/** Whether this channel has told the socket's Open. */
export function setOpenTold(row: u32, isTold: u32): void {
  if (isTold !== 0) socketAt(row).set(SocketFlag.OpenTold);
  else socketAt(row).clear(SocketFlag.OpenTold);
}

export function dropSocket(row: u32): void {
  freeSocket(row);
}

export function beginWindow(): void {
  beginTellingTallies();
}

/** Address of the next wire.Tally, or 0. */
export function tellNext(window: u32): usize {
  const row = nextTallyToTell();
  if (row === 0) return 0;
  tellTallyInto(row, item, window);
  return changetype<usize>(item);
}

export function refused(): u64 {
  return talliesRefused;
}

export function merged(): u64 {
  return talliesMerged;
}

export function lost(): u64 {
  return talliesLost;
}

export function forgotten(): u64 {
  return talliesForgotten;
}

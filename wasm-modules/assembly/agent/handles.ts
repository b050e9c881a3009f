// Handles of sockets on the wire: only sockets that get an Open need one, so they are few and dense. A handle is free again when the close
// of its socket is committed, also when the row has gone by then (retention.ts).
import { RowPool } from '../lib/row-pool';
import { Fifo } from './fifo';

/** Of a row without content: only its place in the pool matters. */
const SLOT_BYTES: usize = 8;

@unmanaged
class Release {
  handle: u32;
  /** The window in which the close was told. */
  window: u32;
}

let slots: RowPool = changetype<RowPool>(0);
let releases: Fifo<Release> = changetype<Fifo<Release>>(0);

export function initHandles(countMax: u32): void {
  slots = RowPool.create(SLOT_BYTES, countMax);
  releases = Fifo.create<Release>();
}

/** 0 when all are taken. */
export function takeHandle(): u32 {
  return slots.take();
}

/** The socket's close was told in `window`. Windows rise. */
export function releaseHandle(handle: u32, window: u32): void {
  const release = releases.push();
  release.handle = handle;
  release.window = window;
}

export function commitReleases(window: u32): void {
  while (releases.count > 0 && releases.first().window <= window) {
    slots.give(releases.first().handle);
    releases.shift();
  }
}

/** A snapshot tells every close again: nothing is free before its window is committed. */
export function retellReleases(window: u32): void {
  releases.rewind();
  for (let release = releases.next(); changetype<usize>(release) !== 0; release = releases.next())
    release.window = window;
}

// Which executables are behind the ends of a leaf that are named by a unit or container. An edge of the match side is between two of them
// (enrich/nodes.ts, idNodeOf), so nothing is told per flow: the edge's pair of names is looked up when the edge is announced, and what it then
// does counts open flows of the pair and notes the window. A leaf shows the pairs that moved in the window or have open flows, which
// depends on neither the order nor the way in which flows came.

import { PROCESSES_RECORD_SIZE, ProcessesRecord, ReducerCounter, TallySide } from '../gen/records';
import { allocate } from '../lib/arena';
import { count } from '../lib/counters';
import { compareTexts, releaseText, retainText, textAddress, textBytes } from '../lib/intern';
import { RowPool } from '../lib/row-pool';
import { EDGE_IDLE_WINDOWS, PROCESS_NAME_COUNT_MAX, PROCESS_PAIR_COUNT_MAX, PROCESS_PAIRS_OF_LEAF_MAX } from './limits';

@unmanaged
class ProcessPair {
  /** Of the leaf. Free rows keep their list here. */
  next: u32;
  /** Retained; 0 = the end is its process, or has none. */
  client: u32;
  server: u32;
  /** Last window in which a flow of the pair moved. */
  moved: u32;
  /** Last window in which it was looked up or moved. */
  touched: u32;
  pad0: u32;
  /** Open flows. */
  active: i64;

  isShown(window: u32): bool {
    return this.moved === window || this.active > 0;
  }

  nameOf(side: u32): u32 {
    return side === TallySide.Client ? this.client : this.server;
  }
}

let pool: RowPool = changetype<RowPool>(0);
/** Texts in order, each once. */
let names: usize = 0;
let nameCount: u32 = 0;

export function initProcessPairs(): void {
  pool = RowPool.create(offsetof<ProcessPair>(), PROCESS_PAIR_COUNT_MAX);
  names = allocate(PROCESS_PAIRS_OF_LEAF_MAX * sizeof<u32>());
}

/** The pair in the list that begins with `first`; 0 when it is not there. */
export function findPair(first: u32, client: u32, server: u32, window: u32): u32 {
  for (let pair = first; pair !== 0; pair = pairAt(pair).next) {
    const row = pairAt(pair);
    if (row.client !== client || row.server !== server) continue;
    row.touched = window;
    return pair;
  }
  return 0;
}

/** A new first pair of the list; 0, and counted, when it has no room. */
export function addPair(first: u32, client: u32, server: u32, window: u32): u32 {
  let listed: u32 = 0;
  for (let pair = first; pair !== 0; pair = pairAt(pair).next) listed++;
  const added = listed < PROCESS_PAIRS_OF_LEAF_MAX ? pool.take() : 0;
  if (added === 0) {
    count(ReducerCounter.ProcessPairsRefused);
    return 0;
  }
  const row = pairAt(added);
  row.next = first;
  row.client = retainText(client);
  row.server = retainText(server);
  row.moved = 0;
  row.touched = window;
  row.active = 0;
  return added;
}

/** A flow of the pair moved. */
export function movePair(pair: u32, activeDelta: i32, window: u32): void {
  const row = pairAt(pair);
  row.active += activeDelta;
  row.moved = window;
  row.touched = window;
}

/** The window `closed` is over: frees pairs that are no longer announced (edges.ts), and returns the first that is left. */
export function expirePairs(first: u32, closed: u32): u32 {
  let kept: u32 = 0;
  let last: u32 = 0;
  for (let pair = first; pair !== 0; ) {
    const row = pairAt(pair);
    const next = row.next;
    const isOver = row.active <= 0 && row.touched + EDGE_IDLE_WINDOWS <= closed;
    if (isOver) freePair(pair);
    else {
      if (last === 0) kept = pair;
      else pairAt(last).next = pair;
      last = pair;
      row.next = 0;
    }
    pair = next;
  }
  return kept;
}

/** The leaf is over. */
export function dropPairs(first: u32): void {
  for (let pair = first; pair !== 0; ) {
    const next = pairAt(pair).next;
    freePair(pair);
    pair = next;
  }
}

/** Bytes that `writeProcesses` writes, a multiple of 8. */
export function processesBytes(first: u32, window: u32): u32 {
  return sideBytes(first, TallySide.Client, window) + sideBytes(first, TallySide.Server, window);
}

/** Writes a ProcessesRecord for each end of the leaf that has names; returns the bytes. */
export function writeProcesses(first: u32, point: u32, window: u32, to: usize): u32 {
  const clientBytes = writeSide(first, TallySide.Client, point, window, to);
  return clientBytes + writeSide(first, TallySide.Server, point, window, to + clientBytes);
}

function sideBytes(first: u32, side: u32, window: u32): u32 {
  collectNames(first, side, window);
  if (nameCount === 0) return 0;
  return PROCESSES_RECORD_SIZE + ((writtenTextBytes() + 7) & ~7);
}

function writeSide(first: u32, side: u32, point: u32, window: u32, to: usize): u32 {
  collectNames(first, side, window);
  if (nameCount === 0) return 0;
  const written = min(nameCount, PROCESS_NAME_COUNT_MAX);
  const record = changetype<ProcessesRecord>(to);
  record.point = point;
  record.textBytes = writtenTextBytes();
  record.more = nameCount - written;
  record.nameCount = <u16>written;
  record.side = <u8>side;
  record.pad0 = 0;
  let at = to + PROCESSES_RECORD_SIZE;
  for (let index: u32 = 0; index < written; index++) {
    const bytes = textBytes(nameAt(index));
    memory.copy(at, textAddress(nameAt(index)), bytes);
    store<u8>(at + bytes, 0);
    at += bytes + 1;
  }
  const end = (at + 7) & ~7;
  memory.fill(at, 0, end - at);
  return <u32>(end - to);
}

function writtenTextBytes(): u32 {
  let bytes: u32 = 0;
  const written = min(nameCount, PROCESS_NAME_COUNT_MAX);
  for (let index: u32 = 0; index < written; index++) bytes += textBytes(nameAt(index)) + 1;
  return bytes;
}

function collectNames(first: u32, side: u32, window: u32): void {
  nameCount = 0;
  for (let pair = first; pair !== 0; pair = pairAt(pair).next) {
    const row = pairAt(pair);
    const name = row.nameOf(side);
    if (name !== 0 && row.isShown(window)) insertName(name);
  }
}

function insertName(name: u32): void {
  let place = nameCount;
  while (place > 0 && compareTexts(nameAt(place - 1), name) > 0) place--;
  if (place > 0 && nameAt(place - 1) === name) return;
  const at = names + place * sizeof<u32>();
  memory.copy(at + sizeof<u32>(), at, (nameCount - place) * sizeof<u32>());
  store<u32>(at, name);
  nameCount++;
}

function nameAt(index: u32): u32 {
  return load<u32>(names + index * sizeof<u32>());
}

function freePair(pair: u32): void {
  releaseText(pairAt(pair).client);
  releaseText(pairAt(pair).server);
  pool.give(pair);
}

function pairAt(pair: u32): ProcessPair {
  return changetype<ProcessPair>(pool.at(pair));
}

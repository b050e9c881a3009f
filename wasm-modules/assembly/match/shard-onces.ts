// The Onces of each shard, in the order in which they came: of closed windows those of brief flows (brief-flows.ts), behind them what waits for
// the close of the open window. They stay where they came to lie until they are forgotten, because memory's bandwidth is what they cost most.
//
// A list is claimed and booked as a whole, so the rows of its flows, taken one after another, and the shard's part of the flow table are in the
// cache of the core meanwhile; in the order in which agents tell them nearly every look at a row would be a miss. Both ends of a connection are in
// one list, in the order of their channels. Who keeps a contested side does not depend on when it is claimed (claims.ts).
import { allocate } from '../lib/arena';
import { BlockChain, ChainPlace } from '../lib/block-chain';
import { SHARD_COUNT } from '../lib/flow-place';
import { copyRow } from '../lib/words';
import { TAKEN_ONCE, WAITING_ONCE_BYTES, WaitingOnce } from './onces';

/** Of a shard; zeros are an empty one. */
@unmanaged
class ShardOnces {
  /** `chain`. */
  chain0: u64;
  chain1: u64;
  chain2: u64;
  chain3: u64;
  /** Of the next one that waits, when there are some. */
  nextBlock: usize;
  nextAt: u32;
  /** Those that wait. Nothing of closed windows is forgotten meanwhile. */
  waiting: u32;
  pad0: u32;

  get chain(): BlockChain {
    return changetype<BlockChain>(changetype<usize>(this));
  }

  get next(): ChainPlace {
    return changetype<ChainPlace>(changetype<usize>(this) + offsetof<ShardOnces>('nextBlock'));
  }
}

if (offsetof<ShardOnces>() !== 48) ERROR('the shards lie one behind the other');

let shards: usize = 0;
/** Of the first Once that waited in the shard that is being closed, and where a walk stands. */
const begin: ChainPlace = changetype<ChainPlace>(memory.data(offsetof<ChainPlace>(), 4));
const walk: ChainPlace = changetype<ChainPlace>(memory.data(offsetof<ChainPlace>(), 4));

export function initOnces(): void {
  shards = allocate(<usize>SHARD_COUNT * offsetof<ShardOnces>());
}

function shardAt(shard: u32): ShardOnces {
  return changetype<ShardOnces>(shards + <usize>shard * offsetof<ShardOnces>());
}

/** Room behind what waits, with what was there before; 0 when memory is used up. */
function append(shard: u32): usize {
  const onces = shardAt(shard);
  const address = onces.chain.append(WAITING_ONCE_BYTES);
  if (address === 0) return 0;
  if (onces.waiting++ === 0) onces.chain.lastPlace(WAITING_ONCE_BYTES, onces.next);
  return address;
}

/** A byte of each line in which the next Once of the shard will lie, if there is room in its block. */
export function touchRoom(shard: u32): u32 {
  return shardAt(shard).chain.touchRoom(WAITING_ONCE_BYTES);
}

/** Keeps a copy, which takes over what `once` holds; its `tag` is its shard. False when memory is used up. */
export function deferOnce(once: WaitingOnce, fromWindow: u32): bool {
  const address = append(once.tag);
  if (address === 0) return false;
  copyRow<WaitingOnce>(address, changetype<usize>(once));
  changetype<WaitingOnce>(address).fromWindow = fromWindow;
  return true;
}

/** Begins a walk over what waits in the shard. Address of the first WaitingOnce, or 0. */
export function firstWaiting(shard: u32): usize {
  const onces = shardAt(shard);
  if (onces.waiting === 0) return 0;
  walk.block = onces.next.block;
  walk.at = onces.next.at;
  return onces.chain.recordAt(walk);
}

/** The one after that; 0 after the last. */
export function nextWaiting(shard: u32): usize {
  walk.at += WAITING_ONCE_BYTES;
  return shardAt(shard).chain.recordAt(walk);
}

/** Begins the close of the shard. Returns how many wait: none comes before match has closed the window (docs/protocol.md, section 2). */
export function beginOnces(shard: u32): u32 {
  const onces = shardAt(shard);
  begin.block = onces.next.block;
  begin.at = onces.next.at;
  return onces.waiting;
}

/** Address of the next one that waits in the shard and is not taken with another, or 0. It waits no more. */
export function takeOnce(shard: u32): usize {
  const onces = shardAt(shard);
  while (onces.waiting !== 0) {
    const once = onces.chain.recordAt(onces.next);
    onces.next.at += WAITING_ONCE_BYTES;
    onces.waiting--;
    if (changetype<WaitingOnce>(once).other !== TAKEN_ONCE) return once;
  }
  return 0;
}

/** Takes back what waited in the shard when its close began, some, and is gone since. */
export function dropOnces(shard: u32): void {
  shardAt(shard).chain.cut(begin);
}

/** Address of the oldest Once of closed windows in the shard, of which there are some. It is passed, and stands until the next call. */
export function passOldest(shard: u32): usize {
  const chain = shardAt(shard).chain;
  const once = chain.front();
  chain.pass(WAITING_ONCE_BYTES);
  return once;
}

/** Gives back the memory of what was passed. */
export function givePassed(shard: u32): void {
  shardAt(shard).chain.front();
}

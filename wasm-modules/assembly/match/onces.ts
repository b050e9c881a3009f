// Sockets that lived within one window wait here for its close, in a list for each shard. A list is claimed and booked as a whole, so the rows
// of its flows, taken one after another, and the shard's part of the flow table are in the cache of the core meanwhile; in the order in which
// agents tell them nearly every look at a row would be a miss.
//
// Both ends of a connection are in one list, in the order of their channels. Who keeps a contested side does not depend on when it is claimed
// (claims.ts). Ends that join by their tuple do not wait: which connection of the tuple they are of follows from what closed before.
import { releaseNode, retainNode } from '../enrich/nodes';
import { MATCH_ONCE_SIZE, MatchOnce } from '../gen/records';
import { allocate, giveBlock, takeBlock } from '../lib/arena';
import { SHARD_COUNT } from '../lib/flow-place';

/** As those in which ingest stages records, so that what leaves there makes room here. */
const BLOCK_BYTES: u32 = 1 << 14;
const BLOCK_HEADER_BYTES: u32 = 8;

@unmanaged
class OnceBlock {
  next: usize;
  used: u32;
}

@unmanaged
class OnceList {
  first: usize;
  last: usize;
  /** Of what is claimed next, in the first block. */
  at: u32;
}

let lists: usize = 0;

export function initOnces(): void {
  lists = allocate(<usize>SHARD_COUNT * offsetof<OnceList>());
}

function listOf(shard: u32): OnceList {
  return changetype<OnceList>(lists + <usize>shard * offsetof<OnceList>());
}

/** Keeps a copy whose `openNode` and `openRemoteNode` are `node` and `remoteNode`, retained. False when memory is used up. */
export function deferOnce(shard: u32, once: MatchOnce, node: u32, remoteNode: u32): bool {
  const list = listOf(shard);
  if (list.last === 0 || changetype<OnceBlock>(list.last).used + MATCH_ONCE_SIZE > BLOCK_BYTES) {
    if (!appendBlock(list)) return false;
  }
  const block = changetype<OnceBlock>(list.last);
  const kept = changetype<MatchOnce>(list.last + block.used);
  block.used += MATCH_ONCE_SIZE;
  memory.copy(changetype<usize>(kept), changetype<usize>(once), MATCH_ONCE_SIZE);
  kept.openNode = node;
  kept.openRemoteNode = remoteNode;
  retainNode(node);
  retainNode(remoteNode);
  return true;
}

function appendBlock(list: OnceList): bool {
  const address = takeBlock(BLOCK_BYTES);
  if (address === 0) return false;
  changetype<OnceBlock>(address).used = BLOCK_HEADER_BYTES;
  if (list.last === 0) {
    list.first = address;
    list.at = BLOCK_HEADER_BYTES;
  } else changetype<OnceBlock>(list.last).next = address;
  list.last = address;
  return true;
}

/** Address of the next that waits in the shard, or 0; it stands until the next call. Then `releaseOnce` it. */
export function takeOnce(shard: u32): usize {
  const list = listOf(shard);
  while (list.first !== 0) {
    const block = changetype<OnceBlock>(list.first);
    if (list.at < block.used) {
      const once = list.first + list.at;
      list.at += MATCH_ONCE_SIZE;
      return once;
    }
    const next = block.next;
    giveBlock(list.first, BLOCK_BYTES);
    list.first = next;
    list.at = BLOCK_HEADER_BYTES;
  }
  list.last = 0;
  return 0;
}

export function releaseOnce(once: MatchOnce): void {
  releaseNode(once.openNode);
  releaseNode(once.openRemoteNode);
}

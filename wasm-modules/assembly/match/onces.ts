// Sockets that lived within one window wait here for its close, in a list for each shard. A list is claimed and booked as a whole, so the rows
// of its flows, taken one after another, and the shard's part of the flow table are in the cache of the core meanwhile; in the order in which
// agents tell them nearly every look at a row would be a miss.
//
// Both ends of a connection are in one list, in the order of their channels. Who keeps a contested side does not depend on when it is claimed
// (claims.ts). Ends that join by their tuple do not wait: which connection of the tuple they are of follows from what closed before.
import { releaseNode } from '../enrich/nodes';
import { MATCH_ONCE_SIZE, MatchOnce } from '../gen/records';
import { allocate } from '../lib/arena';
import { BlockChain } from '../lib/block-chain';
import { SHARD_COUNT } from '../lib/flow-place';
import { copyLong } from '../lib/words';
import { releaseViewpoint } from './viewpoints';

/** Behind it: the MatchOnce. */
@unmanaged
export class WaitingOnce {
  /** Of its key in the tables; set where `other` is. */
  tag: u32;
  /** The WaitingOnce of the other side, when these two are all that claim their key in the list; 0 = not so. TAKEN_ONCE: claimed with the other. */
  other: u32;

  get once(): MatchOnce {
    return changetype<MatchOnce>(changetype<usize>(this) + offsetof<WaitingOnce>());
  }
}

export const TAKEN_ONCE: u32 = 1;

export const WAITING_ONCE_BYTES: u32 = <u32>offsetof<WaitingOnce>() + MATCH_ONCE_SIZE;

let lists: usize = 0;

export function initOnces(): void {
  lists = allocate(<usize>SHARD_COUNT * offsetof<BlockChain>());
}

export function oncesOf(shard: u32): BlockChain {
  return changetype<BlockChain>(lists + <usize>shard * offsetof<BlockChain>());
}

/**
 * Keeps a copy whose `openNode` and `openRemoteNode` are `node` and `remoteNode`, which it holds from now on, as it does the viewpoint of the
 * record. False when memory is used up.
 */
export function deferOnce(shard: u32, once: MatchOnce, node: u32, remoteNode: u32): bool {
  const address = oncesOf(shard).append(WAITING_ONCE_BYTES);
  if (address === 0) return false;
  const waiting = changetype<WaitingOnce>(address);
  waiting.other = 0;
  const kept = waiting.once;
  copyLong(changetype<usize>(kept), changetype<usize>(once), MATCH_ONCE_SIZE);
  kept.openNode = node;
  kept.openRemoteNode = remoteNode;
  return true;
}

/** Address of the next WaitingOnce of the shard, or 0; it stands until the next call. Then `releaseOnce` it. */
export function takeOnce(shard: u32): usize {
  const list = oncesOf(shard);
  for (let waiting = list.front(); waiting !== 0; waiting = list.front()) {
    list.pass(WAITING_ONCE_BYTES);
    if (changetype<WaitingOnce>(waiting).other !== TAKEN_ONCE) return waiting;
  }
  return 0;
}

export function releaseOnce(once: MatchOnce): void {
  releaseNode(once.openNode);
  releaseNode(once.openRemoteNode);
  releaseViewpoint(once.openViewpoint);
}

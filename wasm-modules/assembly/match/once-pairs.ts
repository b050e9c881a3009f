// Which of the onces that wait in a shard are the two ends of one connection, and all that is told of it in the window. Looked up by join key in a
// table of the list alone, in which they are found as brief flows later.
import { giveBlock, takeBlock } from '../lib/arena';
import { isConnectFailure, keyOfJoin } from './flow-key';
import { keyTag } from './flow-table';
import { WaitingOnce } from './onces';
import { firstWaiting, nextWaiting } from './shard-onces';

@unmanaged
class KeySlot {
  tag: u32;
  /** The WaitingOnce that came first with its key; 0 = the slot is free, CONTESTED = a side of a key with this tag was claimed twice. */
  first: u32;
}

/** By linear probing. */
@unmanaged
export class KeyTable {
  slots: usize;
  mask: u32;

  get bytes(): usize {
    return (<usize>this.mask + 1) * offsetof<KeySlot>();
  }

  slotAt(at: u32): KeySlot {
    return changetype<KeySlot>(this.slots + <usize>(at & this.mask) * offsetof<KeySlot>());
  }

  /** With free slots. False when memory is used up. Load at most 2/3 with so many keys. */
  take(keys: u32): bool {
    let size: u32 = SLOT_COUNT_MIN;
    while (size * 2 < keys * 3) size *= 2;
    this.mask = size - 1;
    this.slots = takeBlock(this.bytes);
    return this.slots !== 0;
  }

  give(): void {
    giveBlock(this.slots, this.bytes);
  }

  /** The WaitingOnce that came first with the key, when no side of it was claimed twice; 0 = there is none. */
  find(joinKey: u64, tag: u32): usize {
    for (let at = tag; this.slotAt(at).first !== 0; at++) {
      const slot = this.slotAt(at);
      if (slot.tag !== tag || slot.first === CONTESTED) continue;
      if (changetype<WaitingOnce>(slot.first).joinKey === joinKey) return slot.first;
    }
    return 0;
  }
}

const CONTESTED: u32 = 1;
const SLOT_COUNT_MIN: u32 = 8;
/** A list beyond it, which only an agent that chooses its join keys makes, is claimed once by once, in slices: the table is made in one go. */
const PAIRED_COUNT_MAX: u32 = 1 << 18;

/** Of the list that was paired last. */
export const keys: KeyTable = changetype<KeyTable>(memory.data(offsetof<KeyTable>(), 8));

/**
 * Sets `other` among the `size` that wait in the shard, and fills `keys`, which the caller gives back. False when there are no connections or too
 * many Onces, or memory is used up: then nothing is paired and there is no table.
 */
export function pairOnces(shard: u32, size: u32): bool {
  if (size > PAIRED_COUNT_MAX || !keys.take(size)) return false;
  let pairs: u32 = 0;
  for (let at = firstWaiting(shard); at !== 0; at = nextWaiting(shard)) {
    const waiting = changetype<WaitingOnce>(at);
    if (!isConnectFailure(waiting.reason) && meets(waiting, shard)) pairs++;
  }
  if (pairs === 0) keys.give();
  return pairs !== 0;
}

/** True when it is the other side of one that came before it. */
function meets(waiting: WaitingOnce, shard: u32): bool {
  keyOfJoin(waiting.joinKey, shard);
  waiting.tag = keyTag();
  const slot = slotOf(waiting.joinKey, waiting.tag);
  const address = <u32>changetype<usize>(waiting);
  if (slot.first === 0) {
    slot.tag = waiting.tag;
    slot.first = address;
    return false;
  }
  if (slot.first === CONTESTED) return false;
  const first = changetype<WaitingOnce>(slot.first);
  if (first.other !== 0 || first.slot === waiting.slot) {
    contest(slot);
    return false;
  }
  waiting.other = slot.first;
  first.other = address;
  return true;
}

/** That of the key, else a contested one with its tag, which may be of the key or not, else a free one. */
function slotOf(joinKey: u64, tag: u32): KeySlot {
  let contested: KeySlot = changetype<KeySlot>(0);
  let at = tag;
  while (true) {
    const slot = keys.slotAt(at++);
    if (slot.first === 0) return changetype<usize>(contested) !== 0 ? contested : slot;
    if (slot.tag !== tag) continue;
    if (slot.first === CONTESTED) contested = slot;
    else if (changetype<WaitingOnce>(slot.first).joinKey === joinKey) return slot;
  }
}

function contest(slot: KeySlot): void {
  const first = changetype<WaitingOnce>(slot.first);
  if (first.other !== 0) changetype<WaitingOnce>(first.other).other = 0;
  first.other = 0;
  slot.first = CONTESTED;
}

// Which of the onces that wait in a shard are the two ends of one connection, and all that is told of it in the window. Looked up by join key in a
// table of the list alone, which is made anew for each list in the same memory and stays in the cache.
import { blockBytes, giveBlock, takeBlock } from '../lib/arena';
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

const CONTESTED: u32 = 1;
/** A list beyond it, which only an agent that chooses its join keys makes, is claimed once by once, in slices: the table is made in one go. */
const PAIRED_COUNT_MAX: u32 = 1 << 18;

let slots: usize = 0;
let slotsBytes: usize = 0;
let mask: u32 = 0;

/** Sets `other` among the `size` that wait in the shard. Returns for how many connections, at most; 0 when there are too many or memory is used up. */
export function pairOnces(shard: u32, size: u32): u32 {
  if (size > PAIRED_COUNT_MAX || !clearSlots(size)) return 0;
  let pairs: u32 = 0;
  for (let at = firstWaiting(shard); at !== 0; at = nextWaiting(shard)) {
    const waiting = changetype<WaitingOnce>(at);
    if (!isConnectFailure(waiting.reason) && meets(waiting, shard)) pairs++;
  }
  return pairs;
}

/** Load at most 2/3. False when memory is used up. */
function clearSlots(keys: u32): bool {
  let size: u32 = 64;
  while (size * 2 < keys * 3) size *= 2;
  const bytes = <usize>size * offsetof<KeySlot>();
  if (bytes > slotsBytes) {
    const grown = takeBlock(bytes);
    if (grown === 0) return false;
    if (slots !== 0) giveBlock(slots, slotsBytes);
    slots = grown;
    slotsBytes = blockBytes(bytes);
  } else memory.fill(slots, 0, bytes);
  mask = size - 1;
  return true;
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
    const slot = changetype<KeySlot>(slots + <usize>(at & mask) * offsetof<KeySlot>());
    at++;
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

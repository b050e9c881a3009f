// Which of the onces that wait in a shard are the two ends of one connection, and all that is told of it in the window. Looked up by join key in a
// table of the list alone, which is made anew for each list in the same memory and stays in the cache.
import { blockBytes, giveBlock, takeBlock } from '../lib/arena';
import { isConnectFailure, keyOfJoin } from './flow-key';
import { keyTag } from './flow-table';
import { oncesOf, WAITING_ONCE_BYTES, WaitingOnce } from './onces';

@unmanaged
class KeySlot {
  /** 0 = free: no key is 0. */
  joinKey: u64;
  /** The WaitingOnce of either side; 0 = none, and in both CONTESTED. */
  side0: u32;
  side1: u32;
}

const CONTESTED: u32 = 1;
/** A list beyond it, which only an agent that chooses its join keys makes, is claimed once by once, in slices: the table is made in one go. */
const PAIRED_COUNT_MAX: u32 = 1 << 18;

let slots: usize = 0;
let slotsBytes: usize = 0;
let mask: u32 = 0;

/** Sets `other` in the list of the shard. Returns for how many connections, at most; 0 when there are too many or memory is used up. */
export function pairOnces(shard: u32): u32 {
  const list = oncesOf(shard);
  const size = list.bytes / WAITING_ONCE_BYTES;
  if (size > PAIRED_COUNT_MAX || !clearSlots(size)) return 0;
  let pairs: u32 = 0;
  for (let at = list.rewind(); at !== 0; at = list.next(WAITING_ONCE_BYTES)) {
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
  const side = waiting.slot;
  const slot = slotOf(waiting.joinKey, waiting.tag);
  slot.joinKey = waiting.joinKey;
  const own = side === 0 ? slot.side0 : slot.side1;
  if (own !== 0) {
    contest(slot);
    return false;
  }
  const address = <u32>changetype<usize>(waiting);
  const other = side === 0 ? slot.side1 : slot.side0;
  if (side === 0) slot.side0 = address;
  else slot.side1 = address;
  if (other === 0) return false;
  waiting.other = other;
  changetype<WaitingOnce>(other).other = address;
  return true;
}

function slotOf(joinKey: u64, tag: u32): KeySlot {
  let at = tag & mask;
  while (true) {
    const slot = changetype<KeySlot>(slots + <usize>at * offsetof<KeySlot>());
    if (slot.joinKey === joinKey || slot.joinKey === 0) return slot;
    at = (at + 1) & mask;
  }
}

function contest(slot: KeySlot): void {
  if (slot.side0 > CONTESTED) changetype<WaitingOnce>(slot.side0).other = 0;
  if (slot.side1 > CONTESTED) changetype<WaitingOnce>(slot.side1).other = 0;
  slot.side0 = CONTESTED;
  slot.side1 = CONTESTED;
}

// Numbers for ends on each channel to match: dense, because the receiver indexes with them. A number is given out again after its close
// was sent: the channel is ordered.
import { allocate, growBlock } from '../lib/arena';

const FIRST_BYTES: usize = 1 << 12;

@unmanaged
class Numbers {
  freed: usize;
  freedBytes: usize;
  freedCount: u32;
  fresh: u32;
}

let numbers: usize = 0;

export function initEnds(workers: u32): void {
  numbers = allocate(<usize>workers * offsetof<Numbers>());
  for (let worker: u32 = 0; worker < workers; worker++) numbersOf(worker).fresh = 1;
}

function numbersOf(worker: u32): Numbers {
  return changetype<Numbers>(numbers + <usize>worker * offsetof<Numbers>());
}

export function takeEndNumber(worker: u32): u32 {
  const own = numbersOf(worker);
  if (own.freedCount === 0) return own.fresh++;
  return load<u32>(own.freed + ((<usize>--own.freedCount) << 2));
}

/** Traps when memory is used up. */
export function giveEndNumber(worker: u32, end: u32): void {
  const own = numbersOf(worker);
  const offset = (<usize>own.freedCount) << 2;
  if (offset >= own.freedBytes) {
    const bytes = own.freedBytes === 0 ? FIRST_BYTES : own.freedBytes * 2;
    const grown = growBlock(own.freed, own.freedBytes, own.freedBytes, bytes);
    if (grown === 0) unreachable();
    own.freed = grown;
    own.freedBytes = bytes;
  }
  store<u32>(own.freed + offset, end);
  own.freedCount++;
}

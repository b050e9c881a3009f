// What a channel calls an end, as a dense number, and which row that is here. 0 = refused, or closed.
import { allocate, growBlock } from '../lib/arena';

const FIRST_BYTES: usize = 1 << 12;

@unmanaged
class ChannelEnds {
  block: usize;
  bytes: usize;
}

let channels: usize = 0;

export function initChannelEnds(workers: u32): void {
  channels = allocate(<usize>workers * offsetof<ChannelEnds>());
}

function channelOf(from: u32): ChannelEnds {
  return changetype<ChannelEnds>(channels + <usize>from * offsetof<ChannelEnds>());
}

export function endOfChannel(from: u32, end: u32): u32 {
  const channel = channelOf(from);
  const offset = (<usize>end) << 2;
  return offset < channel.bytes ? load<u32>(channel.block + offset) : 0;
}

/** Traps when memory is used up. */
export function setEndOfChannel(from: u32, end: u32, row: u32): void {
  const channel = channelOf(from);
  const offset = (<usize>end) << 2;
  while (offset >= channel.bytes) {
    const bytes = channel.bytes === 0 ? FIRST_BYTES : channel.bytes * 2;
    const grown = growBlock(channel.block, channel.bytes, channel.bytes, bytes);
    if (grown === 0) unreachable();
    channel.block = grown;
    channel.bytes = bytes;
  }
  store<u32>(channel.block + offset, row);
}

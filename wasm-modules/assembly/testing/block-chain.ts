// Entry of the test build: one chain of records, each of which begins with its bytes and a value.
import { allocate, arenaBytes } from '../lib/arena';
import { BlockChain, ChainPlace } from '../lib/block-chain';

const VALUE_OFFSET: usize = 4;

const chain = changetype<BlockChain>(allocate(offsetof<BlockChain>()));
const place = changetype<ChainPlace>(allocate(offsetof<ChainPlace>()));

export { arenaBytes };

export function append(bytes: u32, value: u32): void {
  const record = chain.append(bytes);
  store<u32>(record, bytes);
  store<u32>(record, value, VALUE_OFFSET);
}

/** The value of the oldest record, which is passed; 0 when there is none. */
export function take(): u32 {
  const record = chain.front();
  if (record === 0) return 0;
  chain.pass(load<u32>(record));
  return load<u32>(record, VALUE_OFFSET);
}

export function bytes(): u32 {
  return chain.bytes;
}

export function firstWalked(): usize {
  return chain.rewind();
}

export function nextWalked(record: usize): usize {
  return chain.next(load<u32>(record));
}

export function readValue(record: usize): u32 {
  return load<u32>(record, VALUE_OFFSET);
}

/** Remembers where the record is that was appended last. */
export function markLast(bytes: u32): void {
  chain.lastPlace(bytes, place);
}

/** The value of the record at the place, which becomes the one behind it; 0 when there is none. */
export function readMarked(): u32 {
  const record = chain.recordAt(place);
  if (record === 0) return 0;
  place.at += load<u32>(record);
  return load<u32>(record, VALUE_OFFSET);
}

/** Takes back the record at the place and all after it. */
export function cut(): void {
  chain.cut(place);
}

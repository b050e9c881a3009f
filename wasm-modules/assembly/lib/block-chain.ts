// Records of any size, first in, first out, in blocks that are taken as records come and given back as they are passed.
//
//   for (let record = chain.front(); record !== 0; record = chain.front()) { ...; chain.pass(bytesOf(record)); }
//
// All blocks are pages (arena.ts), so that what passes from one chain to another, or becomes rows, finds its memory there.
import { giveBlock, PAGE_BYTES, takeBlockAsIs } from './arena';

const BLOCK_HEADER_BYTES: u32 = 16;

@unmanaged
class Block {
  next: usize;
  used: u32;
}

/** 24 bytes; zeros are an empty one. */
@unmanaged
export class BlockChain {
  private first: usize;
  private last: usize;
  /** Position in `first` of the front. */
  private at: u32;
  private waiting: u32;
  /** Where the walk of `rewind` and `next` stands. */
  private walked: usize;
  private walkedAt: u32;

  /** Bytes of the records that were appended since it was empty. */
  get bytes(): u32 {
    return this.waiting;
  }

  /** `bytes` behind the last record, a multiple of 8 and less than a block, with what was there before; 0 when memory is used up. */
  append(bytes: u32): usize {
    if (this.last === 0 || changetype<Block>(this.last).used + bytes > PAGE_BYTES) {
      const block = takeBlockAsIs(PAGE_BYTES);
      if (block === 0) return 0;
      changetype<Block>(block).next = 0;
      changetype<Block>(block).used = BLOCK_HEADER_BYTES;
      if (this.last === 0) {
        this.first = block;
        this.at = BLOCK_HEADER_BYTES;
      } else changetype<Block>(this.last).next = block;
      this.last = block;
    }
    const block = changetype<Block>(this.last);
    const record = this.last + block.used;
    block.used += bytes;
    this.waiting += bytes;
    return record;
  }

  /** The oldest record that was not passed, or 0. */
  front(): usize {
    while (this.first !== 0) {
      if (this.at < changetype<Block>(this.first).used) return this.first + this.at;
      // Read before it is given back: a free block keeps its list where `next` is.
      const next = changetype<Block>(this.first).next;
      giveBlock(this.first, PAGE_BYTES);
      this.first = next;
      this.at = BLOCK_HEADER_BYTES;
    }
    this.last = 0;
    this.waiting = 0;
    return 0;
  }

  /** Passes the front, which has `bytes`; it stands until `front` is asked for the next. */
  pass(bytes: u32): void {
    this.at += bytes;
  }

  /** Begins a walk that passes nothing. The first record, or 0. */
  rewind(): usize {
    this.walked = this.first;
    this.walkedAt = this.at;
    return this.next(0);
  }

  /** The record after the one that the walk is at, which has `bytes`; 0 after the last. Nothing may be appended meanwhile. */
  next(bytes: u32): usize {
    this.walkedAt += bytes;
    while (this.walked !== 0) {
      if (this.walkedAt < changetype<Block>(this.walked).used) return this.walked + this.walkedAt;
      this.walked = changetype<Block>(this.walked).next;
      this.walkedAt = BLOCK_HEADER_BYTES;
    }
    return 0;
  }
}

if (offsetof<BlockChain>() !== 24) ERROR('BlockChain has 24 bytes');

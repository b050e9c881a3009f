// Records of any size, first in, first out, in blocks that are taken as records come and given back as they are passed.
//
//   for (let record = chain.front(); record !== 0; record = chain.front()) { ...; chain.pass(bytesOf(record)); }
//
// Blocks are pages (arena.ts), so that what passes from one chain to another, or becomes rows, finds its memory there; but the first one is small,
// because most chains are those of agents that have little to tell.
import { giveBlock, PAGE_BYTES, takeBlockAsIs, takeBlockInPage } from './arena';

const BLOCK_HEADER_BYTES: u32 = 16;
const FIRST_BLOCK_BYTES: u32 = 2048;

@unmanaged
class Block {
  next: usize;
  /** Of one that is full. */
  used: u32;
  bytes: u32;
}

/** Where a record of a chain is, or where the next one will be. */
@unmanaged
export class ChainPlace {
  block: usize;
  at: u32;
}

/** 32 bytes; zeros are an empty one. */
@unmanaged
export class BlockChain {
  private first: usize;
  private last: usize;
  /** Position in `first` of the front. */
  private at: u32;
  private waiting: u32;
  /** Where the walk of `rewind` and `next` stands. */
  private walkedBlock: usize;
  private walkedAt: u32;
  /**
   * Position in `last` behind its last record. Not in the block: the headers of pages lie where they share few lines of a cache, so whoever appends
   * to many chains in turn would find none there.
   */
  private end: u32;
  /** Bytes of `last`. */
  private room: u32;

  /** Bytes of the records that were appended since it was empty, and what was charged. */
  get bytes(): u32 {
    return this.waiting;
  }

  /** `bytes` behind the last record, a multiple of 8 and less than a page, with what was there before; 0 when memory is used up. */
  append(bytes: u32): usize {
    if ((this.last === 0 || this.end + bytes > this.room) && !this.addBlock(bytes)) return 0;
    const record = this.last + this.end;
    this.end += bytes;
    this.waiting += bytes;
    return record;
  }

  /** Loads a byte of each line of a record of `bytes` that is appended next, as far as there is room for it. */
  touchRoom(bytes: u32): u32 {
    if (this.last === 0 || this.end + bytes > this.room) return 0;
    const at = this.last + this.end;
    let sum: u32 = 0;
    for (let line: u32 = 0; line < bytes; line += 64) sum |= load<u8>(at + line);
    return sum | load<u8>(at + bytes - 1);
  }

  /** Sets `place` to that of the record that was appended last, which has `bytes`. */
  lastPlace(bytes: u32, place: ChainPlace): void {
    place.block = this.last;
    place.at = this.end - bytes;
  }

  /** The record at `place` or, when there is none any more in its block, the next one, whose place it becomes; 0 after the last. */
  recordAt(place: ChainPlace): usize {
    while (place.at >= this.endOf(place.block)) {
      const next = this.nextOf(place.block);
      if (next === 0) return 0;
      place.block = next;
      place.at = BLOCK_HEADER_BYTES;
    }
    return place.block + place.at;
  }

  /** Takes back the record at `place` and all after it; `bytes` still counts them. */
  cut(place: ChainPlace): void {
    for (let block = this.nextOf(place.block); block !== 0; ) {
      const next = this.nextOf(block);
      giveBlock(block, changetype<Block>(block).bytes);
      block = next;
    }
    this.last = place.block;
    this.end = place.at;
    this.room = changetype<Block>(place.block).bytes;
    this.front();
  }

  /** `bytes` counts further what the last record takes elsewhere. */
  charge(bytes: u32): void {
    this.waiting += bytes;
  }

  /** One that has room for a record of `bytes`. */
  private addBlock(bytes: u32): bool {
    const isSmall = this.last === 0 && bytes <= FIRST_BLOCK_BYTES - BLOCK_HEADER_BYTES;
    const block = isSmall ? takeBlockInPage(FIRST_BLOCK_BYTES) : takeBlockAsIs(PAGE_BYTES);
    if (block === 0) return false;
    if (this.last === 0) {
      this.first = block;
      this.at = BLOCK_HEADER_BYTES;
    } else {
      changetype<Block>(this.last).next = block;
      changetype<Block>(this.last).used = this.end;
    }
    this.last = block;
    this.end = BLOCK_HEADER_BYTES;
    this.room = isSmall ? FIRST_BLOCK_BYTES : PAGE_BYTES;
    changetype<Block>(block).bytes = this.room;
    return true;
  }

  private endOf(block: usize): u32 {
    return block === this.last ? this.end : changetype<Block>(block).used;
  }

  private nextOf(block: usize): usize {
    return block === this.last ? 0 : changetype<Block>(block).next;
  }

  /** The oldest record that was not passed, or 0. */
  front(): usize {
    while (this.first !== 0) {
      if (this.at < this.endOf(this.first)) return this.first + this.at;
      // Read before it is given back: a free block keeps its list where `next` is.
      const next = this.nextOf(this.first);
      giveBlock(this.first, changetype<Block>(this.first).bytes);
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
    if (this.first === 0) return 0;
    this.walk.block = this.first;
    this.walk.at = this.at;
    return this.recordAt(this.walk);
  }

  /** The record after the one that the walk is at, which has `bytes`; 0 after the last. Nothing may be appended meanwhile. */
  next(bytes: u32): usize {
    this.walk.at += bytes;
    return this.recordAt(this.walk);
  }

  private get walk(): ChainPlace {
    return changetype<ChainPlace>(changetype<usize>(this) + offsetof<BlockChain>('walkedBlock'));
  }
}

if (offsetof<BlockChain>() !== 32) ERROR('BlockChain has 32 bytes');

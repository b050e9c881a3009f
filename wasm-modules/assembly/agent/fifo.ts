// First in, first out, for entries of one type: chunks in a chain, an emptied chunk is used again, so a queue that stays short stays small
// wherever it has been. An entry does not move.
import { allocate } from '../lib/arena';

const CHUNK_ENTRIES: u32 = 512;
const CHUNK_HEADER_BYTES: usize = 8;

/** Header of a chunk; its entries follow. */
@unmanaged
class Chunk {
  next: usize;
  pad0: u32;
}

@unmanaged
export class Fifo<T> {
  private head: usize;
  private tail: usize;
  private spare: usize;
  private headIndex: u32;
  /** Entries used in the last chunk. */
  private tailIndex: u32;
  private length: u32;
  private cursor: usize;
  private cursorIndex: u32;

  static create<T>(): Fifo<T> {
    const fifo = changetype<Fifo<T>>(allocate(offsetof<Fifo<T>>()));
    fifo.spare = 0;
    fifo.head = 0;
    fifo.length = 0;
    fifo.head = fifo.takeChunk();
    fifo.tail = fifo.head;
    fifo.headIndex = 0;
    fifo.tailIndex = 0;
    fifo.rewind();
    return fifo;
  }

  get count(): u32 {
    return this.length;
  }

  /** A new last entry, with the bytes of whoever was there before. */
  push(): T {
    if (this.tailIndex === CHUNK_ENTRIES) {
      const chunk = this.takeChunk();
      changetype<Chunk>(this.tail).next = chunk;
      this.tail = chunk;
      this.tailIndex = 0;
    }
    this.length++;
    return this.at(this.tail, this.tailIndex++);
  }

  /** The oldest entry; there must be one. */
  first(): T {
    return this.at(this.head, this.headIndex);
  }

  shift(): void {
    this.length--;
    this.headIndex++;
    if (this.length === 0) {
      this.headIndex = 0;
      this.tailIndex = 0;
    } else if (this.headIndex === CHUNK_ENTRIES) {
      const emptied = this.head;
      this.head = changetype<Chunk>(emptied).next;
      this.headIndex = 0;
      changetype<Chunk>(emptied).next = this.spare;
      this.spare = emptied;
    }
  }

  clear(): void {
    while (this.length > 0) this.shift();
  }

  /** Starts a walk from the oldest entry; nothing may be shifted during it. */
  rewind(): void {
    this.cursor = this.head;
    this.cursorIndex = this.headIndex;
  }

  /** The next entry of the walk, or null (address 0) after the last. */
  next(): T {
    if (this.cursorIndex === CHUNK_ENTRIES && this.cursor !== this.tail) {
      this.cursor = changetype<Chunk>(this.cursor).next;
      this.cursorIndex = 0;
    }
    if (this.cursor === this.tail && this.cursorIndex === this.tailIndex) return changetype<T>(0);
    return this.at(this.cursor, this.cursorIndex++);
  }

  private at(chunk: usize, index: u32): T {
    return changetype<T>(chunk + CHUNK_HEADER_BYTES + <usize>index * offsetof<T>());
  }

  private takeChunk(): usize {
    let chunk = this.spare;
    if (chunk !== 0) this.spare = changetype<Chunk>(chunk).next;
    else chunk = allocate(CHUNK_HEADER_BYTES + CHUNK_ENTRIES * offsetof<T>());
    changetype<Chunk>(chunk).next = 0;
    return chunk;
  }
}

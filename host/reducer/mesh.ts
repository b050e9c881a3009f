/**
 * One worker's place in the mesh: a ring to and a ring from every other worker. It moves bytes, whether a record ends there or not, and never
 * waits: what does not fit stays in the outbox in WASM memory, what the receiver cannot take yet stays in the ring. Reading does not depend on writing, so two
 * workers whose rings are full both ways still drain each other.
 */
import { type Doorbells, Sleeper } from './doorbell.ts';
import { allocateRing, RingReader, RingWriter } from './mesh-ring.ts';

/** About 64 records: on the way to match an update takes 32 bytes in a run, any other record up to 216, a flow with its tallies up to 304. */
const MESH_BATCH_BYTES = 64 * 168;
/** The most that is copied and handed to the receiver in one call: more than any record, and it stays in the cache until it is read. */
const MESH_RECEIVE_BYTES_MAX = 64 * 1024;

/** The ends of the mesh inside a worker: its records out, records of others in. */
export interface MeshEnds {
  /** What waits for `worker`. Valid until the next call into the stages. */
  outbox(worker: number): Uint8Array;
  /** The first `byteCount` bytes of the outbox have gone. */
  sent(worker: number, byteCount: number): void;
  /** Room for a block; valid until `receive`. */
  inbox(byteCount: number): Uint8Array;
  /** Takes the records in the inbox. Returns the bytes consumed; fewer means that the channel waits for a window, or the last record is not whole. */
  receive(from: number, byteCount: number): number;
}

/** Shared memory of a whole mesh; `rings[from][to]`, undefined on the diagonal. */
export interface MeshMemory {
  rings: (SharedArrayBuffer | undefined)[][];
  doorbells: SharedArrayBuffer;
}

export function allocateRings(workers: number, ringBytes?: number): MeshMemory['rings'] {
  const indexes = Array.from({ length: workers }, (_, index) => index);
  return indexes.map((from) => indexes.map((to) => (from === to ? undefined : allocateRing(ringBytes))));
}

interface Peer {
  worker: number;
  writer: RingWriter;
  reader: RingReader;
  /** Bytes in the ring of which the receiver took nothing; -1 when it has not seen what is there. */
  refusedAtBytes: number;
  /** Room in the ring when a block did not fit; -1 when none waits. */
  fullAtBytes: number;
  /** Everything has to go, not only whole batches. */
  mustFlush: boolean;
}

export interface MeshOptions {
  worker: number;
  memory: MeshMemory;
  doorbells: Doorbells;
  ends: MeshEnds;
  wake: () => void;
}

export class Mesh {
  readonly #options: MeshOptions;
  readonly #peers: Peer[];
  readonly #sleeper: Sleeper;
  blocksSent = 0;
  bytesSent = 0;
  /** Times that a block did not fit into a ring. */
  ringsFull = 0;

  constructor(options: MeshOptions) {
    this.#options = options;
    this.#peers = connectPeers(options);
    const { worker, memory, wake } = options;
    this.#sleeper = new Sleeper({ memory: memory.doorbells, worker, hasNews: () => this.#hasNews(), wake });
  }

  /** Everything that is in the outboxes now is to be sent soon: a window ends. */
  flush(): void {
    for (const peer of this.#peers) peer.mustFlush = true;
  }

  /** Moves records from the outboxes into the rings: whole batches, or everything after `flush`. True when something moved: call again. */
  send(): boolean {
    let moved = false;
    for (const peer of this.#peers) moved = this.#sendTo(peer) || moved;
    return moved;
  }

  /** Hands to the receiver what has arrived, as far as it takes it. True when it took something. */
  receive(): boolean {
    let moved = false;
    for (const peer of this.#peers) moved = this.#receiveFrom(peer) || moved;
    return moved;
  }

  /** A window has closed: channels that waited for it may go on. */
  resume(): void {
    for (const peer of this.#peers) peer.refusedAtBytes = -1;
  }

  /** To be called when there is nothing to do: `wake` follows once a peer has sent or made room. */
  sleep(): void {
    if (this.#peers.length > 0) this.#sleeper.sleep();
  }

  #sendTo(peer: Peer): boolean {
    const { ends, doorbells } = this.#options;
    const waiting = ends.outbox(peer.worker);
    if (waiting.length === 0 || (waiting.length < MESH_BATCH_BYTES && !peer.mustFlush)) return false;
    const byteCount = this.#fittingBytes(peer, waiting);
    if (byteCount > 0) {
      peer.writer.write(waiting.subarray(0, byteCount));
      doorbells.ring(peer.worker);
      ends.sent(peer.worker, byteCount);
      this.blocksSent++;
      this.bytesSent += byteCount;
    }
    if (byteCount === waiting.length) peer.mustFlush = false;
    return byteCount > 0;
  }

  #fittingBytes(peer: Peer, waiting: Uint8Array): number {
    const { writer } = peer;
    peer.fullAtBytes = -1;
    if (waiting.length <= writer.freeBytes) return waiting.length;
    this.ringsFull++;
    // The reader may make room between the look and the wish to be rung, so look again: what fits after all waits for nothing.
    writer.awaitRoom();
    const free = writer.freeBytes;
    if (waiting.length <= free) return waiting.length;
    peer.fullAtBytes = free;
    return free;
  }

  #receiveFrom(peer: Peer): boolean {
    const { ends, doorbells } = this.#options;
    let moved = false;
    for (;;) {
      const available = peer.reader.availableBytes;
      if (available === 0 || available === peer.refusedAtBytes) return moved;
      const block = ends.inbox(Math.min(available, MESH_RECEIVE_BYTES_MAX));
      peer.reader.copyInto(block);
      const consumed = ends.receive(peer.worker, block.length);
      if (peer.reader.advance(consumed)) doorbells.ring(peer.worker);
      moved ||= consumed > 0;
      peer.refusedAtBytes = consumed === 0 ? available : -1;
    }
  }

  #hasNews(): boolean {
    return this.#peers.some(({ writer, reader, refusedAtBytes, fullAtBytes }) => {
      const available = reader.availableBytes;
      return (available > 0 && available !== refusedAtBytes) || (fullAtBytes >= 0 && writer.freeBytes !== fullAtBytes);
    });
  }
}

function connectPeers({ worker, memory }: MeshOptions): Peer[] {
  return memory.rings.flatMap((row, peer) => {
    const [to, from] = [memory.rings[worker][peer], row[worker]];
    if (to === undefined || from === undefined) return [];
    return [
      {
        worker: peer,
        writer: new RingWriter(to),
        reader: new RingReader(from),
        refusedAtBytes: -1,
        fullAtBytes: -1,
        mustFlush: false,
      },
    ];
  });
}

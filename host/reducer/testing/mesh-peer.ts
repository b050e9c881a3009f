// A thread with a mesh and no stages: it sends numbered records of random sizes to every peer and checks what it gets.
import { parentPort, threadId, workerData } from 'node:worker_threads';
import { seededRandom } from '../../lib/random.ts';
import { viewOf } from '../../wire/frame.ts';
import { Doorbells } from '../doorbell.ts';
import { Mesh, type MeshEnds, type MeshMemory } from '../mesh.ts';

export interface MeshTask {
  worker: number;
  memory: MeshMemory;
  seed: number;
  recordsPerPeer: number;
  /** The receiver takes no more before each record whose number is a multiple of this, until a turn later; 0 = never. */
  holdEvery: number;
  /** How long to measure an idle thread once everything has arrived, milliseconds. */
  idleMs?: number;
}

export interface MeshReport {
  received: number;
  outOfOrder: number;
  holds: number;
  ringsFull: number;
  idleCpuMs: number;
}

const OUTBOX_BYTES = 1 << 16;
const task = workerData as MeshTask;
const random = seededRandom(task.seed + task.worker);
const peers = task.memory.rings.map((_, peer) => peer).filter((peer) => peer !== task.worker);

class NumberedRecords implements MeshEnds {
  readonly #outboxes = new Map(
    peers.map((peer) => [peer, { bytes: new Uint8Array(OUTBOX_BYTES), start: 0, end: 0, made: 0 }]),
  );
  readonly #expected = new Map(peers.map((peer) => [peer, 0]));
  #inbox = new Uint8Array(0);
  /** The record that the receiver lets pass although it is a multiple of `holdEvery`, by peer. */
  readonly #passed = new Map<number, number>();
  received = 0;
  outOfOrder = 0;
  holds = 0;

  /** Appends records while there is room. True when some are still to be made. */
  make(): boolean {
    let more = false;
    for (const outbox of this.#outboxes.values()) {
      outbox.bytes.copyWithin(0, outbox.start, outbox.end);
      outbox.end -= outbox.start;
      outbox.start = 0;
      while (outbox.made < task.recordsPerPeer) {
        const size = 16 + 8 * Math.floor(random() * 20);
        if (outbox.end + size > OUTBOX_BYTES) break;
        const view = viewOf(outbox.bytes);
        view.setUint32(outbox.end, size, true);
        view.setUint32(outbox.end + 8, outbox.made++, true);
        outbox.end += size;
      }
      more ||= outbox.made < task.recordsPerPeer;
    }
    return more;
  }

  outbox(worker: number): Uint8Array {
    const { bytes, start, end } = this.#of(worker);
    return bytes.subarray(start, end);
  }

  sent(worker: number, byteCount: number): void {
    this.#of(worker).start += byteCount;
  }

  inbox(byteCount: number): Uint8Array {
    this.#inbox = new Uint8Array(byteCount);
    return this.#inbox;
  }

  receive(from: number, byteCount: number): number {
    const view = viewOf(this.#inbox);
    let consumed = 0;
    while (consumed < byteCount && consumed + view.getUint32(consumed, true) <= byteCount) {
      const number = view.getUint32(consumed + 8, true);
      if (this.#mustHold(from, number)) break;
      if (number !== this.#expected.get(from)) this.outOfOrder++;
      this.#expected.set(from, number + 1);
      this.received++;
      consumed += view.getUint32(consumed, true);
    }
    return consumed;
  }

  #mustHold(from: number, number: number): boolean {
    if (task.holdEvery === 0 || number % task.holdEvery !== 0 || this.#passed.get(from) === number) return false;
    this.#passed.set(from, number);
    this.holds++;
    setTimeout(() => {
      mesh.resume();
      turn();
    }, 1);
    return true;
  }

  #of(worker: number): { bytes: Uint8Array; start: number; end: number; made: number } {
    const outbox = this.#outboxes.get(worker);
    if (outbox === undefined) throw new RangeError(`no peer ${worker}`);
    return outbox;
  }
}

const records = new NumberedRecords();
const doorbells = new Doorbells(task.memory.doorbells);
const mesh = new Mesh({ worker: task.worker, memory: task.memory, doorbells, ends: records, wake: turn });
let isReported = false;

function turn(): void {
  const more = records.make();
  if (!more) mesh.flush();
  const moved = [mesh.send(), mesh.receive()].includes(true);
  if (moved) setImmediate(turn);
  else mesh.sleep();
  const isDone = !more && peers.every((peer) => records.outbox(peer).length === 0);
  if (isDone && records.received === peers.length * task.recordsPerPeer && !isReported) report();
}

function report(): void {
  isReported = true;
  const before = process.threadCpuUsage();
  setTimeout(() => {
    const { user, system } = process.threadCpuUsage(before);
    const { received, outOfOrder, holds } = records;
    const message: MeshReport = {
      received,
      outOfOrder,
      holds,
      ringsFull: mesh.ringsFull,
      idleCpuMs: (user + system) / 1000,
    };
    parentPort?.postMessage(message);
  }, task.idleMs ?? 0);
}

// Keeps the thread alive while it sleeps on its doorbell alone.
parentPort?.on('message', () => {});
if (threadId > 0) turn();

// Instances of reducer.wasm as the workers of one reducer, without threads: the test decides in which order sessions are read and in which
// portions records cross between workers.
import { strict as assert } from 'node:assert';
import {
  ReducerCounter,
  RefusalReason,
  readRecordHeader,
  readSessionState,
  SessionFlag,
  type SessionState,
} from '../../host/wire/gen/records-layout.ts';
import { encodeHello, type Hello } from '../../host/wire/gen/wire-tables.ts';
import type { Random } from '../../schemas/testing/random.ts';

type Call = (...values: number[]) => number;

export interface FleetOptions {
  workers?: number;
  /** Of the hashes. */
  seed?: number;
  windowNs?: number;
  openWindow: number;
  seriesBudget?: number;
  /** Decides the portions; without it everything crosses at once. */
  random?: Random;
}

export interface SessionRef {
  worker: number;
  slot: number;
}

/** Far more than any test needs. */
const CLOSE_ROUNDS_MAX = 1_000_000;

export const WINDOW_NS = 10_000_000_000;

export class ReducerFleet {
  readonly #memories: WebAssembly.Memory[] = [];
  readonly #calls: Record<string, Call>[] = [];
  readonly #workers: number;
  readonly #random: Random | undefined;
  /** Records that went from one worker to another, by kind. */
  readonly crossed = new Map<number, number>();
  /** Bytes on the way, by from * workers + to. */
  readonly #wires: Uint8Array[];

  constructor(
    module: WebAssembly.Module,
    { workers = 1, seed = 1, windowNs = WINDOW_NS, openWindow, random, seriesBudget = 0 }: FleetOptions,
  ) {
    this.#workers = workers;
    this.#random = random;
    this.#wires = Array.from({ length: workers * workers }, () => new Uint8Array(0));
    for (let worker = 0; worker < workers; worker++) {
      const exports = new WebAssembly.Instance(module).exports;
      this.#memories.push(exports.memory as WebAssembly.Memory);
      this.#calls.push(exports as Record<string, Call>);
      this.call(
        worker,
        'reducer_init',
        worker,
        workers,
        seed,
        seed ^ 0x5bd1e995,
        windowNs,
        openWindow,
        0,
        0x7f,
        seriesBudget,
      );
    }
  }

  call(worker: number, name: string, ...values: number[]): number {
    return this.#calls[worker][name](...values) >>> 0;
  }

  bytes(worker: number, address: number, length: number): Uint8Array {
    return new Uint8Array(this.#memories[worker].buffer, address, length);
  }

  memoryBytes(worker: number): number {
    return this.#memories[worker].buffer.byteLength;
  }

  /** Throws AssertionError when the Hello is refused. */
  open(worker: number, hello: Hello): SessionRef {
    const slot = this.tryOpen(worker, encodeHello(hello));
    assert(slot >= 0, `refused for reason ${-slot}`);
    return { worker, slot };
  }

  /** The slot, or minus a RefusalReason. */
  tryOpen(worker: number, payload: Uint8Array): number {
    return (
      this.#hand(worker, 'frame_inbox', payload, (address) =>
        this.call(worker, 'session_open', address, payload.length),
      ) | 0
    );
  }

  /** Hands over frames until all are consumed; throws AssertionError when the session waits. */
  tell(session: SessionRef, frames: Uint8Array): void {
    const consumed = this.offer(session, frames);
    assert.equal(consumed, frames.length, 'the session was held');
  }

  /** Hands over frames as long as they are taken; returns the bytes consumed. */
  offer({ worker, slot }: SessionRef, frames: Uint8Array): number {
    let at = 0;
    while (true) {
      const rest = frames.subarray(at);
      at += this.#hand(worker, 'frame_inbox', rest, (address) =>
        this.call(worker, 'session_frames', slot, address, rest.length),
      );
      this.#collect(worker);
      this.#deliver(false);
      if ((this.state({ worker, slot }).flags & SessionFlag.More) === 0) return at;
    }
  }

  state({ worker, slot }: SessionRef): SessionState {
    return readSessionState(new DataView(this.#memories[worker].buffer), this.call(worker, 'session_state', slot));
  }

  detach(session: SessionRef, reason: number): void {
    this.call(session.worker, 'session_detach', session.slot, reason);
    this.#collect(session.worker);
    while ((this.state(session).flags & SessionFlag.More) !== 0) this.offer(session, new Uint8Array(0));
  }

  /**
   * Closes the open window on all workers; the outputs by worker. `onMatched` may go on with the sessions of a worker that has closed the
   * window in match, while others have not, `onSlice` between two slices of a worker's roll-up.
   */
  close(
    window: number,
    budget = 64,
    onMatched?: (worker: number) => void,
    onSlice?: (worker: number) => void,
  ): Uint8Array[] {
    for (let worker = 0; worker < this.#workers; worker++) this.call(worker, 'ingest_seal', window);
    this.#collectAll();
    const matching = new Set(Array.from({ length: this.#workers }, (_, worker) => worker));
    for (let round = 0; matching.size > 0; round++) {
      assert(round < CLOSE_ROUNDS_MAX, `window ${window} does not close on workers ${[...matching].join()}`);
      this.#deliver(true);
      for (const worker of matching) {
        if (this.call(worker, 'match_ready') === 0) continue;
        const isClosed = this.call(worker, 'match_close', budget) === 0;
        this.#collect(worker);
        if (!isClosed) continue;
        matching.delete(worker);
        onMatched?.(worker);
      }
    }
    for (let round = 0; this.#wires.some((wire) => wire.length > 0); round++) {
      assert(round < CLOSE_ROUNDS_MAX, 'records stay on the way');
      this.#deliver(true);
    }
    return this.#closeAggregate(window, budget, onSlice);
  }

  #closeAggregate(window: number, budget: number, onSlice?: (worker: number) => void): Uint8Array[] {
    const outputs = new Array<Uint8Array | undefined>(this.#workers).fill(undefined);
    const pieces = Array.from(outputs, (): Uint8Array[] => []);
    for (let round = 0; outputs.includes(undefined); round++) {
      assert(round < CLOSE_ROUNDS_MAX, `window ${window} does not close`);
      for (let worker = 0; worker < this.#workers; worker++) {
        if (outputs[worker] !== undefined || this.call(worker, 'aggregate_ready') === 0) continue;
        const isClosed = this.call(worker, 'aggregate_close', budget) === 0;
        this.#collect(worker);
        const piece = this.bytes(worker, this.call(worker, 'output_piece'), this.call(worker, 'output_piece_bytes'));
        pieces[worker].push(piece.slice());
        if (isClosed) outputs[worker] = Buffer.concat(pieces[worker]);
        else onSlice?.(worker);
      }
      this.#deliver(true);
    }
    return outputs.filter((output) => output !== undefined);
  }

  /** Sum over the workers. */
  counter(counter: number): number {
    let sum = 0n;
    for (let worker = 0; worker < this.#workers; worker++) {
      const address = this.call(worker, 'stats');
      sum += new DataView(this.#memories[worker].buffer).getBigUint64(address + counter * 8, true);
    }
    return Number(sum);
  }

  refusals(reason: number): number {
    return this.counter(ReducerCounter.RefusedBy + reason - RefusalReason.None);
  }

  #hand(worker: number, inbox: string, bytes: Uint8Array, take: (address: number) => number): number {
    const address = this.call(worker, inbox, Math.max(bytes.length, 8));
    this.bytes(worker, address, bytes.length).set(bytes);
    return take(address);
  }

  #collectAll(): void {
    for (let worker = 0; worker < this.#workers; worker++) this.#collect(worker);
  }

  #collect(from: number): void {
    for (let to = 0; to < this.#workers; to++) {
      const length = this.call(from, 'mesh_outbox_bytes', to);
      if (length === 0) continue;
      const block = this.bytes(from, this.call(from, 'mesh_outbox', to), length);
      this.#countRecords(block);
      const wire = from * this.#workers + to;
      this.#wires[wire] = Buffer.concat([this.#wires[wire], block]);
      this.call(from, 'mesh_outbox_clear', to);
    }
  }

  #countRecords(block: Uint8Array): void {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    for (let at = 0; at < block.length; ) {
      const { size, kind } = readRecordHeader(view, at);
      this.crossed.set(kind, (this.crossed.get(kind) ?? 0) + 1);
      at += size;
    }
  }

  /** Lets portions cross; all of them when `isUrgent`, as far as the receivers read. */
  #deliver(isUrgent: boolean): void {
    for (let wire = 0; wire < this.#wires.length; wire++) {
      const bytes = this.#wires[wire];
      if (bytes.length === 0 || (!isUrgent && this.#random?.chance(0.7))) continue;
      const [from, to] = [Math.floor(wire / this.#workers), wire % this.#workers];
      const portion = bytes.subarray(0, isUrgent ? bytes.length : this.#portion(bytes));
      const consumed = this.#hand(to, 'mesh_inbox', portion, (address) =>
        this.call(to, 'mesh_receive', from, address, portion.length),
      );
      this.#collect(to);
      this.#wires[wire] = bytes.subarray(consumed);
    }
  }

  /** Any part of what waits: its end may lie within a record. */
  #portion(bytes: Uint8Array): number {
    return this.#random === undefined ? bytes.length : 8 * (1 + this.#random.below(bytes.length / 8));
  }
}

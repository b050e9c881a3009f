/**
 * The stages of one worker: a WASM instance, its sessions' frames in, records of other workers in and out, closed windows out. No I/O and
 * no clock: a thread, a replay and the simulator drive it alike, a bounded piece of work at a time.
 *
 *   open ──seal──▶ matching ──markers of all workers──▶ (match_close, sliced) ──▶ aggregating ──markers──▶ (aggregate_close, sliced) ──▶ output, open
 *
 * Between two slices aggregate_close may wait for what other workers say of their rows (docs/protocol.md, section 7).
 */
import { strict as assert } from 'node:assert';
import { takeReturned } from '../lib/returned-memory.ts';
import { FRAME_BYTES_MAX } from '../wire/frame.ts';
import { SessionFlag } from '../wire/gen/records-layout.ts';
import type { ReducerSession } from '../wire/reducer-session.ts';
import type { MeshEnds } from './mesh.ts';
import { ReducerModule, type ReducerModuleOptions } from './reducer-module.ts';

/** Flows that are closed in one call, and rows that are rolled up, so that frames are not kept waiting. */
const CLOSE_ROWS_BUDGET = 4_096;
/** Above this the worker makes no new records until its peers have taken what there is. */
const OUTBOX_BYTES_MAX = 1 << 20;

/** `more`: call again. `shipping`: call again, and neither seal nor detach before. `held`: when the window has closed. */
export type OfferResult = 'done' | 'more' | 'shipping' | 'held' | 'quarantined';

export type CloseStep =
  /** Nothing to do until records arrive. */
  | { kind: 'waiting' }
  | { kind: 'working' }
  /** Match has closed the window: sessions may go on. */
  | { kind: 'matched'; window: number }
  | { kind: 'closed'; window: number; output: Uint8Array<ArrayBuffer> };

/** A window from its seal to its end. */
interface SealedWindow {
  window: number;
  forgotten: number;
  isMatched: boolean;
  /** Since its first piece was written. */
  output: Uint8Array<ArrayBuffer> | undefined;
  outputBytes: number;
}

export class ReducerWorkerCore implements MeshEnds {
  readonly #module: ReducerModule;
  readonly #workers: number;
  /** Bytes of each outbox that are in the ring already. */
  readonly #sentBytes: number[];
  #sealed: SealedWindow | undefined;
  #inboxAddress = 0;

  constructor(options: ReducerModuleOptions) {
    this.#module = new ReducerModule(options);
    this.#workers = options.workers;
    this.#sentBytes = new Array(options.workers).fill(0);
  }

  /** Takes the session of a verified Hello. The slot, or minus the records.RefusalReason. A known session keeps its slot. */
  openSession(hello: Uint8Array): number {
    const { exports } = this.#module;
    const address = exports.frame_inbox(hello.length);
    this.#module.bytes(address, hello.length).set(hello);
    return exports.session_open(address, hello.length);
  }

  /** Hands over what the session has queued, as much as is taken in one piece. */
  offer(slot: number, session: ReducerSession): OfferResult {
    const { exports } = this.#module;
    const address = exports.frame_inbox(FRAME_BYTES_MAX);
    const byteCount = session.copyQueuedInto(this.#module.bytes(address, FRAME_BYTES_MAX));
    const consumed = exports.session_frames(slot, address, byteCount);
    session.consume(consumed);
    const { flags } = this.#module.sessionProgress(slot);
    if ((flags & SessionFlag.Quarantined) !== 0) return 'quarantined';
    if ((flags & SessionFlag.More) !== 0) return 'shipping';
    if (!session.hasQueued) return 'done';
    return (flags & SessionFlag.Held) !== 0 || consumed === 0 ? 'held' : 'more';
  }

  /** The session's last window that match has or will have before the open window closes; 0 = none. */
  toldWindow(slot: number): number {
    return this.#module.sessionProgress(slot).reachedWindow;
  }

  /** The session's last window of which everything came, shipped or being shipped; 0 = none. */
  takenWindow(slot: number): number {
    return this.#module.sessionProgress(slot).takenWindow;
  }

  /** Closes the sockets that the session still has. `reason`: kernel.CloseReason. `continueShipping` while it `isShipping`. */
  detach(slot: number, reason: number): void {
    this.#module.exports.session_detach(slot, reason);
  }

  /** Ships the next slice of a window or of a departure, and takes no frames. True when there is more. */
  continueShipping(slot: number): boolean {
    this.#module.exports.session_frames(slot, 0, 0);
    return this.isShipping(slot);
  }

  isShipping(slot: number): boolean {
    return (this.#module.sessionProgress(slot).flags & SessionFlag.More) !== 0;
  }

  /**
   * What sessions have told up to now belongs to `window` or an earlier one. No session may be `shipping`. Nobody tells again what was closed
   * up to `forgotten`: match forgets it when it has all records of `window`.
   */
  seal(window: number, forgotten: number): void {
    assert(this.#sealed === undefined, `window ${window} is sealed before ${this.#sealed?.window} has closed`);
    this.#module.exports.ingest_seal(window);
    this.#sealed = { window, forgotten, isMatched: false, output: undefined, outputBytes: 0 };
  }

  get isSealed(): boolean {
    return this.#sealed !== undefined;
  }

  /** Between the seal and the close of match: what sessions tell now would belong to the next window. */
  get isMatching(): boolean {
    return this.#sealed !== undefined && !this.#sealed.isMatched;
  }

  /** Sessions may be offered: what they tell of the next window is read even while one closes. */
  get takesFrames(): boolean {
    return !this.isCongested;
  }

  /** What was read may go to match. */
  get ships(): boolean {
    return !this.isMatching && !this.isCongested;
  }

  /** Peers have to take records before new ones are made. */
  get isCongested(): boolean {
    const { exports } = this.#module;
    for (let worker = 0; worker < this.#workers; worker++)
      if (exports.mesh_outbox_bytes(worker) >= OUTBOX_BYTES_MAX) return true;
    return false;
  }

  /** One bounded step towards the close of the sealed window. */
  closeStep(): CloseStep {
    const { exports } = this.#module;
    const sealed = this.#sealed;
    if (sealed === undefined || this.isCongested) return { kind: 'waiting' };
    if (!sealed.isMatched) {
      if (exports.match_ready() === 0) return { kind: 'waiting' };
      exports.match_committed(sealed.forgotten);
      sealed.isMatched = exports.match_close(CLOSE_ROWS_BUDGET) === 0;
      return sealed.isMatched ? { kind: 'matched', window: sealed.window } : { kind: 'working' };
    }
    // Not before all records of the window are here, nor while other workers have to say how many rows they have.
    if (exports.aggregate_ready() === 0) return { kind: 'waiting' };
    const isClosed = exports.aggregate_close(CLOSE_ROWS_BUDGET) === 0;
    const output = this.#takePiece(sealed);
    if (!isClosed) return { kind: 'working' };
    assert(output !== undefined && sealed.outputBytes === output.length, 'the output has as many bytes as its pieces');
    this.#sealed = undefined;
    return { kind: 'closed', window: sealed.window, output };
  }

  /** Copies what the last slice wrote behind what the slices before it did. */
  #takePiece(sealed: SealedWindow): Uint8Array<ArrayBuffer> | undefined {
    const piece = this.#module.outputPiece();
    if (piece.length === 0) return sealed.output;
    sealed.output ??= takeReturned(this.#module.exports.output_bytes() >>> 0);
    sealed.output.set(piece, sealed.outputBytes);
    sealed.outputBytes += piece.length;
    return sealed.output;
  }

  outbox(worker: number): Uint8Array {
    const { exports } = this.#module;
    const sentBytes = this.#sentBytes[worker];
    return this.#module.bytes(exports.mesh_outbox(worker) + sentBytes, exports.mesh_outbox_bytes(worker) - sentBytes);
  }

  sent(worker: number, byteCount: number): void {
    const { exports } = this.#module;
    this.#sentBytes[worker] += byteCount;
    if (this.#sentBytes[worker] < exports.mesh_outbox_bytes(worker)) return;
    exports.mesh_outbox_clear(worker);
    this.#sentBytes[worker] = 0;
  }

  inbox(byteCount: number): Uint8Array {
    this.#inboxAddress = this.#module.exports.mesh_inbox(byteCount);
    return this.#module.bytes(this.#inboxAddress, byteCount);
  }

  receive(from: number, byteCount: number): number {
    return this.#module.exports.mesh_receive(from, this.#inboxAddress, byteCount);
  }

  /** In the order of records.ReducerCounter. */
  counters(): BigUint64Array {
    return this.#module.counters();
  }
}

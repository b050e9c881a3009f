// The face of reducer.wasm: its exports as types, and views over its memory that follow when the memory grows.
import { join } from 'node:path';
import { compileModule } from '../lib/compile-module.ts';
import {
  Level,
  ReducerCounter,
  readSessionState,
  SESSION_STATE_OFFSET,
  type SessionState,
} from '../wire/gen/records-layout.ts';

const REDUCER_WASM_PATH = join(import.meta.dirname, '../../wasm-modules/build/reducer.wasm');

/** Throws an Error that names the file and the cure when it is missing or broken. */
export function compileReducer(path = REDUCER_WASM_PATH): Promise<WebAssembly.Module> {
  return compileModule(path);
}

interface ReducerExports {
  memory: WebAssembly.Memory;
  reducer_init(
    worker: number,
    workers: number,
    seedLo: number,
    seedHi: number,
    windowNs: number,
    openWindow: number,
    outputLevels: number,
    histogramLevels: number,
    seriesBudget: number,
  ): void;
  frame_inbox(bytes: number): number;
  session_open(address: number, bytes: number): number;
  session_frames(slot: number, address: number, bytes: number): number;
  session_state(slot: number): number;
  session_detach(slot: number, reason: number): void;
  ingest_seal(window: number): void;
  mesh_outbox(worker: number): number;
  mesh_outbox_bytes(worker: number): number;
  mesh_outbox_clear(worker: number): void;
  mesh_inbox(bytes: number): number;
  mesh_receive(from: number, address: number, bytes: number): number;
  match_ready(): number;
  match_committed(window: number): void;
  match_close(budgetRows: number): number;
  aggregate_ready(): number;
  aggregate_close(budgetRows: number): number;
  output_bytes(): number;
  output_piece(): number;
  output_piece_bytes(): number;
  stats(): number;
}

/** Bits by records.Level; 0 is every level. The API serves any level, so all of them are put out. */
const OUTPUT_LEVELS = 0;
const HISTOGRAM_LEVELS = levelBits(Level.AzAz, Level.RoleAz, Level.AzRole, Level.RoleRole);
const ID_LEVELS = levelBits(Level.IdId, Level.IdAz, Level.AzId);

export interface ReducerModuleOptions {
  module: WebAssembly.Module;
  worker: number;
  workers: number;
  /** 64 secret bits: agents choose what is hashed. */
  hashSeed: bigint;
  windowNs: bigint;
  openWindow: number;
  /** A histogram for each pair of ids too: in a fleet it costs more than it tells. */
  idHistograms?: boolean;
  /** Rows of a level that all workers put out, beside those of (other); without it as many as there are. */
  seriesBudget?: number;
  /** Sees the memory before anything is in it. */
  prepareMemory?: (memory: WebAssembly.Memory) => void;
}

/** One instance. Addresses are byte offsets of linear memory, valid until the next call that may allocate. */
export class ReducerModule {
  readonly exports: ReducerExports;
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;

  constructor(options: ReducerModuleOptions) {
    const { module, worker, workers, hashSeed, windowNs, openWindow, idHistograms = false, seriesBudget = 0 } = options;
    this.exports = new WebAssembly.Instance(module, {}).exports as ReducerExports;
    options.prepareMemory?.(this.exports.memory);
    const [seedLo, seedHi] = [Number(BigInt.asIntN(32, hashSeed)), Number(BigInt.asIntN(32, hashSeed >> 32n))];
    this.exports.reducer_init(
      worker,
      workers,
      seedLo,
      seedHi,
      Number(windowNs),
      openWindow,
      OUTPUT_LEVELS,
      idHistograms ? HISTOGRAM_LEVELS | ID_LEVELS : HISTOGRAM_LEVELS,
      seriesBudget,
    );
    this.#bytes = new Uint8Array(this.exports.memory.buffer);
    this.#view = new DataView(this.exports.memory.buffer);
  }

  /** A view of linear memory; valid until the next call into the module. */
  bytes(address: number, byteCount: number): Uint8Array<ArrayBuffer> {
    this.#follow();
    return this.#bytes.subarray(address >>> 0, (address >>> 0) + byteCount);
  }

  sessionState(slot: number): SessionState {
    const address = this.exports.session_state(slot) >>> 0;
    this.#follow();
    return readSessionState(this.#view, address);
  }

  /** The fields that are looked at after every call. */
  sessionProgress(slot: number): { reachedWindow: number; takenWindow: number; flags: number } {
    const address = this.exports.session_state(slot) >>> 0;
    this.#follow();
    const { reachedWindow, takenWindow, flags } = SESSION_STATE_OFFSET;
    return {
      reachedWindow: this.#view.getUint32(address + reachedWindow, true),
      takenWindow: this.#view.getUint32(address + takenWindow, true),
      flags: this.#view.getUint32(address + flags, true),
    };
  }

  /** What the last aggregate_close wrote of the window's output; empty when it wrote nothing. */
  outputPiece(): Uint8Array<ArrayBuffer> {
    return this.bytes(this.exports.output_piece(), this.exports.output_piece_bytes());
  }

  /** Counters in the order of records.ReducerCounter; a copy. */
  counters(): BigUint64Array {
    const address = this.exports.stats() >>> 0;
    this.#follow();
    return new BigUint64Array(
      this.#bytes.buffer.slice(address, address + ReducerCounter.End * BigUint64Array.BYTES_PER_ELEMENT),
    );
  }

  /** Growing memory detaches every view. */
  #follow(): void {
    const { buffer } = this.exports.memory;
    if (this.#bytes.buffer === buffer) return;
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
  }
}

function levelBits(...levels: Level[]): number {
  return levels.reduce<number>((bits, level) => bits | (1 << level), 0);
}

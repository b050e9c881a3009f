// The product's reducer.wasm as one worker has it, driven in this thread: copying frames into its memory is part of what is measured.

import { strict as assert } from 'node:assert';
import { openHugePages } from '../../host/reducer/huge-pages.ts';
import { ReducerModule } from '../../host/reducer/reducer-module.ts';
import { ReducerCounter, SessionFlag } from '../../host/wire/gen/records-layout.ts';
import { cpuNs } from '../lib/cpu-clock.ts';
import { FIRST_WINDOW, type Input, type InputWindow, WINDOW_NS } from './input.ts';
import type { StageTimes } from './stages.ts';

/** Flows that the worker books, and rows that it rolls up, before it looks after its connections again (host/reducer/worker-core.ts). */
const CLOSE_ROWS_BUDGET = 4_096;
const HASH_SEED = 0x0000_0001_0000_0001n;

export class Ours {
  readonly #module: ReducerModule;
  readonly #slots: number[];
  /** Kept from window to window, as the C++ keeps its own. */
  #output = new Uint8Array(0);
  /** Longest call of the last run that took frames or shipped what they told: no frame of another agent is read meanwhile. CPU ns. */
  longestCallNs = 0;

  constructor(module: WebAssembly.Module, input: Input) {
    const place = { worker: 0, workers: 1, hashSeed: HASH_SEED, windowNs: WINDOW_NS, openWindow: FIRST_WINDOW };
    this.#module = new ReducerModule({ module, ...place, prepareMemory: openHugePages().advise });
    this.#slots = Array.from({ length: input.agents }, (_, agent) => this.#open(input.hello(agent)));
    for (const [agent, slot] of this.#slots.entries()) {
      for (const frame of input.announcement(agent)) this.#tell(slot, frame);
    }
  }

  get framesRefused(): number {
    return Number(this.#module.counters()[ReducerCounter.FramesRefused]);
  }

  /** Runs a window to its end. `output` is valid until the next one. */
  run({ window, agents }: InputWindow): { times: StageTimes; output: Uint8Array } {
    const { exports } = this.#module;
    this.longestCallNs = 0;
    const start = cpuNs();
    let now = start;
    let ingest = 0;
    let join = 0;
    for (const { agent, data, end } of agents) {
      for (const frame of data) this.#tell(this.#slots[agent], frame);
      const shipped = cpuNs();
      ingest += shipped - now;
      this.#tell(this.#slots[agent], end);
      now = cpuNs();
      join += now - shipped;
    }
    const closing = now;
    exports.ingest_seal(window);
    while (exports.match_close(CLOSE_ROWS_BUDGET) !== 0);
    const rolling = cpuNs();
    const output = this.#closeAggregate();
    const forgetting = cpuNs();
    exports.match_committed(window);
    const stop = cpuNs();
    const book = rolling - closing + (stop - forgetting);
    const times = { ingest, join, book, rollUp: forgetting - rolling, whole: stop - start };
    return { times, output };
  }

  /** Until the window has closed; its output. */
  #closeAggregate(): Uint8Array {
    const { exports } = this.#module;
    let byteCount = 0;
    for (let isClosed = false; !isClosed; ) {
      isClosed = exports.aggregate_close(CLOSE_ROWS_BUDGET) === 0;
      const piece = this.#module.outputPiece();
      if (byteCount === 0 && this.#output.length < exports.output_bytes())
        this.#output = new Uint8Array(2 * exports.output_bytes());
      this.#output.set(piece, byteCount);
      byteCount += piece.length;
    }
    return this.#output.subarray(0, byteCount);
  }

  #open(payload: Uint8Array): number {
    const address = this.#module.exports.frame_inbox(payload.length);
    this.#module.bytes(address, payload.length).set(payload);
    const slot = this.#module.exports.session_open(address, payload.length);
    assert(slot >= 0, `a session is refused for reason ${-slot}`);
    return slot;
  }

  #tell(slot: number, frame: Uint8Array): void {
    const { exports } = this.#module;
    const address = exports.frame_inbox(frame.length);
    this.#module.bytes(address, frame.length).set(frame);
    assert.equal(this.#timed(slot, address, frame.length), frame.length, 'a session waits');
    // One worker has nobody to send to, so what is shipped goes straight to its own match.
    while ((this.#module.sessionProgress(slot).flags & SessionFlag.More) !== 0) this.#timed(slot, 0, 0);
  }

  #timed(slot: number, address: number, byteCount: number): number {
    const start = cpuNs();
    const consumed = this.#module.exports.session_frames(slot, address, byteCount);
    this.longestCallNs = Math.max(this.longestCallNs, cpuNs() - start);
    return consumed;
  }
}

// The reducer's end of one session, in this thread: reducer.wasm verifies each frame and writes its records to the rows of their sockets.

import { strict as assert } from 'node:assert';
import { ReducerModule } from '../../host/reducer/reducer-module.ts';
import type { Payload } from '../../host/wire/channel-sender.ts';
import { encodeFrame } from '../../host/wire/frame.ts';
import { ReducerCounter, SessionFlag } from '../../host/wire/gen/records-layout.ts';
import { encodeHello } from '../../host/wire/gen/wire-tables.ts';
import { hello } from '../../host/wire/testing/hello.ts';
import { cpuNs } from '../lib/cpu-clock.ts';
import { FIRST_WINDOW, WINDOW_NS } from './agent.ts';

const CLOSE_ROWS_BUDGET = 4_096;

export class WireSession {
  readonly #module: ReducerModule;
  readonly #slot: number;
  #seq = 0;

  constructor(module: WebAssembly.Module) {
    const place = { worker: 0, workers: 1, hashSeed: 1n, windowNs: WINDOW_NS, openWindow: FIRST_WINDOW };
    this.#module = new ReducerModule({ module, ...place });
    const payload = encodeHello(hello({ windowNs: WINDOW_NS, firstWindow: FIRST_WINDOW }));
    const address = this.#module.exports.frame_inbox(payload.length);
    this.#module.bytes(address, payload.length).set(payload);
    this.#slot = this.#module.exports.session_open(address, payload.length);
    assert(this.#slot >= 0, `the session is refused for reason ${-this.#slot}`);
  }

  get framesRefused(): number {
    return Number(this.#module.counters()[ReducerCounter.FramesRefused]);
  }

  get socketsLive(): number {
    return Number(this.#module.counters()[ReducerCounter.SocketsLive]);
  }

  /** Takes the payloads of some frames; returns the CPU time of copying them in, verifying and applying, ns. */
  tell(payloads: readonly Payload[]): number {
    const frames = payloads.map(({ kind, payload }) => encodeFrame({ kind, seq: ++this.#seq, payload }));
    const start = cpuNs();
    for (const frame of frames) this.#take(frame);
    return cpuNs() - start;
  }

  /** After the payload that ends the window: matches, books and forgets what it told. */
  close(window: number): void {
    const { exports } = this.#module;
    exports.ingest_seal(window);
    while (exports.match_close(CLOSE_ROWS_BUDGET) !== 0);
    while (exports.aggregate_close(CLOSE_ROWS_BUDGET) !== 0);
    exports.match_committed(window);
  }

  #take(frame: Uint8Array): void {
    const { exports } = this.#module;
    const address = exports.frame_inbox(frame.length);
    this.#module.bytes(address, frame.length).set(frame);
    assert.equal(exports.session_frames(this.#slot, address, frame.length), frame.length, 'the session waits');
    while ((this.#module.sessionProgress(this.#slot).flags & SessionFlag.More) !== 0)
      exports.session_frames(this.#slot, 0, 0);
  }
}

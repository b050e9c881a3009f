// src/ compiled to WebAssembly by clang, driven in this thread as reducer.wasm is: what of a distance to native code is WebAssembly's.

import { strict as assert } from 'node:assert';
import { openHugePages } from '../../host/reducer/huge-pages.ts';
import { cpuNs } from '../lib/cpu-clock.ts';
import { type Input, type InputWindow, WINDOW_NS } from './input.ts';
import type { StageTimes } from './stages.ts';

/** Of src/wasm.cpp. */
const CALL = {
  init: 0,
  names: 1,
  frames: 2,
  closeMatch: 3,
  closeAggregate: 4,
  committed: 5,
  outputBytes: 6,
  framesRefused: 7,
};

const PAGE_BYTES = 65_536;
/** Memory of 3.5 GiB, of which pages come when they are touched: constants first, then the stack, the inbox, all else. */
const MEMORY_PAGES = 57_344;
const STACK_TOP = 1 << 20;
const INBOX = STACK_TOP;
const INBOX_BYTES = 16 << 20;

type Call = (call: number, a: number, b: number, c: number) => number;

export class ClangWasm {
  readonly #memory = new WebAssembly.Memory({ initial: MEMORY_PAGES });
  readonly #bytes = new Uint8Array(this.#memory.buffer);
  readonly #call: Call;

  /** `module`: the object that clang made, not linked. */
  constructor(module: WebAssembly.Module, input: Input) {
    openHugePages().advise(this.#memory);
    const table = new WebAssembly.Table({ initial: 2, element: 'anyfunc' });
    const env = {
      __linear_memory: this.#memory,
      __stack_pointer: new WebAssembly.Global({ value: 'i32', mutable: true }, STACK_TOP),
      __indirect_function_table: table,
    };
    new WebAssembly.Instance(module, { env });
    this.#call = table.get(1) as Call;
    const windowSeconds = Number(WINDOW_NS / 1_000_000_000n);
    this.#call(CALL.init, INBOX + INBOX_BYTES, (MEMORY_PAGES - 1) * PAGE_BYTES, windowSeconds);
    const names = input.names();
    assert(names.length <= INBOX_BYTES);
    this.#bytes.set(names, INBOX);
    this.#call(CALL.names, INBOX, names.length, 0);
  }

  get framesRefused(): number {
    return this.#call(CALL.framesRefused, 0, 0, 0);
  }

  /** Runs a window to its end. `output` is valid until the next one. */
  run({ agents }: InputWindow): { times: StageTimes; output: Uint8Array } {
    const start = cpuNs();
    let now = start;
    let ingest = 0;
    let join = 0;
    for (const { agent, data, end } of agents) {
      for (const frame of data) this.#tell(agent, frame);
      const shipped = cpuNs();
      ingest += shipped - now;
      this.#tell(agent, end);
      now = cpuNs();
      join += now - shipped;
    }
    const closing = now;
    this.#call(CALL.closeMatch, 0, 0, 0);
    const rolling = cpuNs();
    const address = this.#call(CALL.closeAggregate, 0, 0, 0) >>> 0;
    const forgetting = cpuNs();
    this.#call(CALL.committed, 0, 0, 0);
    const stop = cpuNs();
    const book = rolling - closing + (stop - forgetting);
    const times = { ingest, join, book, rollUp: forgetting - rolling, whole: stop - start };
    return { times, output: this.#bytes.subarray(address, address + this.#call(CALL.outputBytes, 0, 0, 0)) };
  }

  #tell(agent: number, frame: Uint8Array): void {
    this.#bytes.set(frame, INBOX);
    this.#call(CALL.frames, agent, INBOX, frame.length);
  }
}

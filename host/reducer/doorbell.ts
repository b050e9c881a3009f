// Wakes a worker that sleeps in its event loop. The sleeper sets its flag, looks at its rings once more, then waits; whoever has news for
// it notifies only when the flag is set, so busy workers exchange records without a system call.
const AWAKE = 0;
const SLEEPING = 1;
/** A cache line per worker. */
const STRIDE = 16;

export function allocateDoorbells(workers: number): SharedArrayBuffer {
  return new SharedArrayBuffer(workers * STRIDE * Int32Array.BYTES_PER_ELEMENT);
}

export class Doorbells {
  readonly #flags: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#flags = new Int32Array(memory);
  }

  ring(worker: number): void {
    const index = worker * STRIDE;
    if (Atomics.load(this.#flags, index) !== SLEEPING) return;
    if (Atomics.compareExchange(this.#flags, index, SLEEPING, AWAKE) === SLEEPING) Atomics.notify(this.#flags, index);
  }
}

export interface SleeperOptions {
  memory: SharedArrayBuffer;
  worker: number;
  /** True when there is something to do already. */
  hasNews: () => boolean;
  wake: () => void;
}

/** The sleeping side of one worker. Its event loop goes on: other events may come first, and `wake` may be called without news. */
export class Sleeper {
  readonly #options: SleeperOptions;
  readonly #flags: Int32Array;
  #isWaiting = false;

  constructor(options: SleeperOptions) {
    this.#options = options;
    this.#flags = new Int32Array(options.memory);
  }

  /** `wake` is called once somebody rings, or at once (in a microtask) when there is news. */
  sleep(): void {
    const index = this.#options.worker * STRIDE;
    Atomics.store(this.#flags, index, SLEEPING);
    if (this.#options.hasNews()) {
      Atomics.store(this.#flags, index, AWAKE);
      queueMicrotask(this.#options.wake);
      return;
    }
    // A waiter of an earlier sleep that another event interrupted is still in place and serves this one too.
    if (!this.#isWaiting) void this.#wait(index);
  }

  async #wait(index: number): Promise<void> {
    this.#isWaiting = true;
    const waiter = Atomics.waitAsync(this.#flags, index, SLEEPING);
    if (waiter.async) await waiter.value;
    this.#isWaiting = false;
    this.#options.wake();
  }
}

// Gives memory back that was needed once. V8 collects when much is allocated, of which a running agent does little, and malloc keeps what is
// freed; so without this the start, and each snapshot of many sockets, would count as the agent's memory for hours.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface SpentMemoryDependencies {
  /** Gives freed blocks of malloc back to the kernel. */
  trimHeap: () => void;
  /** Takes pages of program files out of the process. */
  dropFilePages: () => void;
}

/** After the start or a snapshot: a reducer has taken it by then, as a rule, and later V8 has compiled what runs often. */
const BURST_DELAYS_MS = [10_000, 30_000];
/** After a window. */
const WINDOW_DELAY_MS = 1_000;
/** V8 frees buffers that it collected on a thread of its own. */
const TRIM_DELAY_MS = 1_000;
/** Windows with less leave so little that the next collection is early enough. */
const WINDOW_BYTES_MIN = 1 << 20;

export class SpentMemory {
  readonly #dependencies: SpentMemoryDependencies;
  readonly #collect = findCollector();
  #burstTimers: NodeJS.Timeout[] = [];
  #windowTimer: NodeJS.Timeout | undefined;

  constructor(dependencies: SpentMemoryDependencies) {
    this.#dependencies = dependencies;
  }

  /** The agent has started, or has told a snapshot. */
  afterBurst(): void {
    for (const timer of this.#burstTimers) clearTimeout(timer);
    this.#burstTimers = BURST_DELAYS_MS.map((delayMs) => setTimeout(() => this.#releaseAll(), delayMs).unref());
  }

  /** A window was told in payloads of `bytes` together. */
  afterWindow(bytes: number): void {
    if (bytes < WINDOW_BYTES_MIN) return;
    clearTimeout(this.#windowTimer);
    this.#windowTimer = setTimeout(() => this.#releasePayloads(), WINDOW_DELAY_MS).unref();
  }

  stop(): void {
    for (const timer of this.#burstTimers) clearTimeout(timer);
    clearTimeout(this.#windowTimer);
  }

  #releaseAll(): void {
    this.#collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    this.#dependencies.trimHeap();
    this.#dependencies.dropFilePages();
  }

  #releasePayloads(): void {
    this.#collect({ type: 'minor', execution: 'sync' });
    this.#windowTimer = setTimeout(() => this.#dependencies.trimHeap(), TRIM_DELAY_MS).unref();
  }
}

/** A context has `gc` when the flag is set as it is made. The flag is part of what the compile cache is valid for, so it does not stay. */
function findCollector(): NodeJS.GCFunction {
  setFlagsFromString('--expose-gc');
  try {
    return runInNewContext('gc');
  } finally {
    setFlagsFromString('--no-expose-gc');
  }
}

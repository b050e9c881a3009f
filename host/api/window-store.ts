// The last closed windows, packed: what the API and the CLI read. Nothing is decoded before somebody asks.
import { decodeHosts, decodeWindow, mergeRows, type RowsByKey } from '../export/edge-rows.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { Level } from '../wire/gen/records-layout.ts';
import { KeptWindow } from './kept-window.ts';

/** At one-second windows about 17 minutes; fewer when their bytes exceed WINDOW_BYTES_MAX. */
export const WINDOW_COUNT_MAX = 1024;
const WINDOW_BYTES_MAX = 64 << 20;

export interface WindowRange {
  windowNs: number;
  firstWindow: number;
  lastWindow: number;
  rows: RowsByKey;
}

export class WindowStore {
  #windows: KeptWindow[] = [];
  readonly #waiting = new Set<() => void>();

  get newest(): number | undefined {
    return this.#windows.at(-1)?.window;
  }

  get oldest(): number | undefined {
    return this.#windows[0]?.window;
  }

  /** Nanoseconds; 0 before the first window has closed. */
  get windowNs(): number {
    return this.#windows.at(-1)?.windowNs ?? 0;
  }

  /** Who waits in nextClosed. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  has(window: number): boolean {
    return this.#windows.some((closed) => closed.window === window);
  }

  /** Numbers of the closed windows behind `window`, oldest first. */
  since(window: number): number[] {
    return this.#windows.map((closed) => closed.window).filter((each) => each > window);
  }

  /** Resolves when a window has closed, or with `signal`. */
  async nextClosed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    this.#waiting.delete(resolve);
  }

  /** From now on the outputs are the store's, which frees them later. */
  push(closed: ClosedWindow): void {
    const kept = new KeptWindow(closed);
    this.#windows.push(kept);
    void kept.pack();
    let bytes = this.#windows.reduce((total, { byteLength }) => total + byteLength, 0);
    while (this.#windows.length > WINDOW_COUNT_MAX || (bytes > WINDOW_BYTES_MAX && this.#windows.length > 1))
      bytes -= this.#windows.shift()?.byteLength ?? 0;
    for (const resume of this.#waiting) resume();
  }

  /** The `count` windows that end with `until`, added up, `active` of the last. Undefined when that window is not here. */
  read(level: Level, count: number, until = this.newest): WindowRange | undefined {
    return this.#addUp(count, until, (outputs) => decodeWindow(outputs, new Set([level])));
  }

  /** The same of what hosts counted. */
  readHosts(count: number, until = this.newest): WindowRange | undefined {
    return this.#addUp(count, until, decodeHosts);
  }

  #addUp(
    count: number,
    until: number | undefined,
    decode: (outputs: readonly Uint8Array[]) => RowsByKey,
  ): WindowRange | undefined {
    const windows = this.#upTo(count, until);
    const newest = windows.at(-1);
    if (newest === undefined) return undefined;
    const rows: RowsByKey = new Map();
    for (const { outputs } of windows) {
      for (const row of rows.values()) row.active = 0;
      mergeRows(rows, decode(outputs).values());
    }
    return { windowNs: newest.windowNs, firstWindow: windows[0].window, lastWindow: newest.window, rows };
  }

  /** The same windows one by one, oldest first. */
  *readEach(level: Level, count: number, until = this.newest): Generator<{ window: number; rows: RowsByKey }> {
    for (const { window, outputs } of this.#upTo(count, until))
      yield { window, rows: decodeWindow(outputs, new Set([level])) };
  }

  #upTo(count: number, until: number | undefined): KeptWindow[] {
    const last = this.#windows.findLastIndex(({ window }) => window === until);
    return this.#windows.slice(Math.max(0, last + 1 - count), last + 1);
  }
}

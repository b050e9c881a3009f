// The last closed windows: what the API and the CLI read. They are packed as they come, one by one, and nothing is decoded before somebody asks.
import { setImmediate } from 'node:timers/promises';
import { mergeRows, type RowsByKey } from '../export/edge-rows.ts';
import { decodeHosts, decodeWindow } from '../export/window-rows.ts';
import { giveReturned } from '../lib/returned-memory.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { Level } from '../wire/gen/records-layout.ts';
import { KeptWindow } from './kept-window.ts';

/** At one-second windows about 17 minutes; fewer when their bytes exceed WINDOW_BYTES_MAX. */
export const WINDOW_COUNT_MAX = 1024;
/** Of all but the newest and the one that is being packed: packed, or as they are while they wait for that. */
const WINDOW_BYTES_MAX = 32 << 20;

export interface WindowRange {
  windowNs: number;
  firstWindow: number;
  lastWindow: number;
  rows: RowsByKey;
}

export type WindowRows = Pick<ClosedWindow, 'window' | 'windowNs'> & { rows: RowsByKey };

export class WindowStore {
  #windows: KeptWindow[] = [];
  /** In their order, whether they were dropped or not; the first is being packed. */
  readonly #unpacked: KeptWindow[] = [];
  #packed: Promise<void> = Promise.resolve();
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

  /** Resolves when every window that was pushed has had its turn. */
  get packed(): Promise<void> {
    return this.#packed;
  }

  /** The outputs are the store's until `give` is called with them, for all windows in order. Resolves then; rejects when `give` throws. */
  push(closed: ClosedWindow, give: (outputs: readonly Uint8Array[]) => void = freeAll): Promise<void> {
    const kept = new KeptWindow(closed);
    this.#windows.push(kept);
    this.#unpacked.push(kept);
    const given = this.#packed.then(async () => give(await this.#pack(kept)));
    // The next window's turn comes whatever became of this one. The caller has a promise of its own, so that a failure it leaves alone is not handled here.
    this.#packed = given.catch(() => {});
    this.#drop();
    for (const resume of this.#waiting) resume();
    return given.then();
  }

  /** The `count` windows that end with `until`, added up, `active` of the last. Undefined when that window is not here. */
  async read(level: Level, count: number, until = this.newest): Promise<WindowRange | undefined> {
    return addUp(this.readEach(level, count, until));
  }

  /** The same of what hosts counted. */
  async readHosts(count: number, until = this.newest): Promise<WindowRange | undefined> {
    return addUp(decodeEach(this.#upTo(count, until), decodeHosts));
  }

  /** The same windows one by one, oldest first. */
  readEach(level: Level, count: number, until = this.newest): AsyncGenerator<WindowRows> {
    return decodeEach(this.#upTo(count, until), (outputs) => decodeWindow(outputs, new Set([level])));
  }

  #upTo(count: number, until: number | undefined): KeptWindow[] {
    const last = this.#windows.findLastIndex(({ window }) => window === until);
    return this.#windows.slice(Math.max(0, last + 1 - count), last + 1);
  }

  /** Also a window that has been dropped: somebody may be reading it. Its size is known before it is the next one's turn. */
  async #pack(kept: KeptWindow): Promise<readonly Uint8Array[]> {
    try {
      return await kept.pack();
    } finally {
      this.#unpacked.shift();
      this.#drop();
    }
  }

  /** The oldest, as far as there are too many. */
  #drop(): void {
    const unbounded = [this.#unpacked[0], this.#windows.at(-1)];
    const bytesOf = (kept?: KeptWindow): number => (unbounded.includes(kept) ? 0 : (kept?.byteLength ?? 0));
    let bytes = this.#windows.reduce((total, kept) => total + bytesOf(kept), 0);
    while (this.#windows.length > WINDOW_COUNT_MAX || bytes > WINDOW_BYTES_MAX) bytes -= bytesOf(this.#windows.shift());
  }
}

function freeAll(outputs: readonly Uint8Array[]): void {
  for (const output of outputs) giveReturned(output);
}

/** A window takes milliseconds, and others of this thread have their turn between two: those that seal and close the next ones. */
async function* decodeEach(
  windows: readonly KeptWindow[],
  decode: (outputs: readonly Uint8Array[]) => RowsByKey,
): AsyncGenerator<WindowRows> {
  for (const [index, kept] of windows.entries()) {
    if (index > 0) await setImmediate();
    yield { window: kept.window, windowNs: kept.windowNs, rows: decode(kept.outputs) };
  }
}

async function addUp(windows: AsyncIterable<WindowRows>): Promise<WindowRange | undefined> {
  let range: WindowRange | undefined;
  for await (const { window, windowNs, rows } of windows) {
    range = { firstWindow: window, rows: new Map(), ...range, windowNs, lastWindow: window };
    for (const row of range.rows.values()) row.active = 0;
    mergeRows(range.rows, rows.values());
  }
  return range;
}

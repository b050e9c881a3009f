// The last closed windows, as the workers wrote them: what the API and the CLI read. Nothing is decoded before somebody asks.
import { countRows, decodeWindow, mergeRows, type RowsByKey } from '../export/edge-rows.ts';
import { type LevelName, levelName } from '../export/levels.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { Level } from '../wire/gen/records-layout.ts';

/** At one-second windows about 17 minutes; fewer when their bytes exceed WINDOW_BYTES_MAX. */
export const WINDOW_COUNT_MAX = 1024;
export const WINDOW_BYTES_MAX = 64 << 20;

export interface WindowRange {
  windowNs: number;
  firstWindow: number;
  lastWindow: number;
  rows: RowsByKey;
}

export class WindowStore {
  #windows: ClosedWindow[] = [];
  #bytes = 0;

  get newest(): number | undefined {
    return this.#windows.at(-1)?.window;
  }

  /** Rows of the newest window in each level. */
  newestSeries(): Partial<Record<LevelName, number>> {
    const series: Partial<Record<LevelName, number>> = {};
    for (const output of this.#windows.at(-1)?.outputs ?? []) {
      countRows(output).forEach((count, level) => {
        const name = levelName(level as Level);
        series[name] = (series[name] ?? 0) + count;
      });
    }
    return series;
  }

  push(closed: ClosedWindow): void {
    this.#windows.push(closed);
    this.#bytes += bytesOf(closed);
    while (this.#windows.length > WINDOW_COUNT_MAX || (this.#bytes > WINDOW_BYTES_MAX && this.#windows.length > 1)) {
      const oldest = this.#windows.shift();
      if (oldest !== undefined) this.#bytes -= bytesOf(oldest);
    }
  }

  /** The last `count` windows added up, `active` of the newest. Undefined before the first window has closed. */
  read(level: Level, count: number): WindowRange | undefined {
    const windows = this.#windows.slice(-count);
    const newest = windows.at(-1);
    if (newest === undefined) return undefined;
    const rows: RowsByKey = new Map();
    for (const { outputs } of windows) {
      for (const row of rows.values()) row.active = 0;
      mergeRows(rows, decodeWindow(outputs, new Set([level])).values());
    }
    return { windowNs: newest.windowNs, firstWindow: windows[0].window, lastWindow: newest.window, rows };
  }
}

function bytesOf({ outputs }: ClosedWindow): number {
  return outputs.reduce((total, output) => total + output.byteLength, 0);
}

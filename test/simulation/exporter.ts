/**
 * Where closed windows go. The collector outlives every reducer and is the only witness of what was exported. Between them lies the
 * product's queue; requests take time, fail, and may be stored although the reducer that sent them is dead by then.
 */
import { mergeRows, type RowsByKey } from '../../host/export/edge-rows.ts';
import { ExportQueue, type WindowBatch } from '../../host/export/export-queue.ts';
import { decodeWindow } from '../../host/export/window-rows.ts';
import { Level } from '../../host/wire/gen/records-layout.ts';
import type { Random } from './random.ts';
import type { ClosedWindow, ReducerProcess } from './reducer-process.ts';
import type { Schedule } from './schedule.ts';

/** Longer than an order to a worker takes, so that one window at most is exported and unheard of. */
const REQUEST_MS_MIN = 5;
const REQUEST_MS_MAX = 60;
const ANSWER_MS_MAX = 300;
const POLL_MS = 100;
const LEAVES: ReadonlySet<Level> = new Set([Level.IdId]);

export interface StoredBatch {
  incarnation: bigint;
  firstWindow: number;
  lastWindow: number;
  rows: RowsByKey;
  storedMs: number;
}

export class Collector {
  readonly batches: StoredBatch[] = [];
  isDown = false;
}

export interface ExportPathOptions {
  countMax: number;
  /** The collector has a batch, its answer is on the way. */
  stored: () => void;
  trace: (text: string) => void;
}

export interface ExportPathDependencies {
  reducer: ReducerProcess;
  collector: Collector;
  schedule: Schedule;
  random: Random;
}

/** One reducer's way to the collector. */
export class ExportPath {
  readonly queue: ExportQueue<RowsByKey>;
  readonly #options: ExportPathOptions;
  readonly #dependencies: ExportPathDependencies;
  #isPolling = false;

  constructor(options: ExportPathOptions, dependencies: ExportPathDependencies) {
    const merge = (older: RowsByKey, newer: RowsByKey): RowsByKey =>
      mergeRows(mergeRows(new Map(), older.values()), newer.values());
    this.queue = new ExportQueue({ merge, random: dependencies.random.next, countMax: options.countMax });
    this.#options = options;
    this.#dependencies = dependencies;
  }

  push({ window, outputs }: ClosedWindow): void {
    this.queue.push({ firstWindow: window, lastWindow: window, content: decodeWindow(outputs, LEAVES) });
    this.#pump();
  }

  #pump(): void {
    const { reducer, schedule, random } = this.#dependencies;
    if (!reducer.isAlive) return;
    const batch = this.queue.next(schedule.nowMs);
    if (batch !== undefined) schedule.after(random.between(REQUEST_MS_MIN, REQUEST_MS_MAX), () => this.#arrive(batch));
    else if (this.queue.length > 0 && !this.#isPolling) {
      this.#isPolling = true;
      schedule.after(POLL_MS, () => {
        this.#isPolling = false;
        this.#pump();
      });
    }
  }

  /** The collector decides; the answer comes later. */
  #arrive(batch: WindowBatch<RowsByKey>): void {
    const { reducer, collector, schedule, random } = this.#dependencies;
    const { incarnation } = reducer;
    const isStored = !collector.isDown;
    if (isStored) {
      const { firstWindow, lastWindow, content } = batch;
      collector.batches.push({ incarnation, firstWindow, lastWindow, rows: content, storedMs: schedule.nowMs });
      this.#options.trace(`stored ${firstWindow}..${lastWindow} of ${incarnation}`);
      this.#options.stored();
    }
    schedule.after(random.next() ** 2 * ANSWER_MS_MAX, () => this.#answered(isStored));
  }

  /** Of the incarnation that runs now. */
  committed(window: number): void {
    this.queue.committed(window);
    this.#pump();
  }

  #answered(isStored: boolean): void {
    const { reducer, schedule } = this.#dependencies;
    if (!reducer.isAlive) return;
    if (isStored) reducer.exported(this.queue.succeeded());
    else this.queue.failed(schedule.nowMs);
    this.#pump();
  }
}

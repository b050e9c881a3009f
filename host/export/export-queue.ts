/**
 * Closed windows on their way to one push exporter: in order, one at a time, retried until it succeeds (docs/protocol.md, section 7).
 * No timer or clock: what happened goes in, what to export next comes out.
 *
 *   push ─▶ [ in flight | waiting … ] ─▶ succeeded: every window up to the batch's last may be committed ─▶ committed: the next one
 *
 * The next batch waits until the agents were told of the last: so a kill finds one batch at most that arrived and that nobody knows of.
 *
 * When it is full, the newest waiting batch takes the new one in: `merge` says how (a cumulative batch replaces it, deltas add up).
 */
import { Backoff } from '../lib/backoff.ts';

/** Closed windows that wait for an exporter; at ten seconds each about five minutes. */
export const EXPORT_QUEUE_MAX = 30;
/** Rows of all batches that wait, 1.2 KB each: as many as a window may have edges. */
export const EXPORT_QUEUE_ROWS_MAX = 524_288;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;

export interface WindowBatch<Content> {
  firstWindow: number;
  lastWindow: number;
  content: Content;
}

export interface ExportQueueOptions<Content> {
  merge: (older: Content, newer: Content) => Content;
  /** Uniform in [0, 1), for the retry delays. */
  random: () => number;
  countMax?: number;
  /** Rows of a batch; nothing by default. */
  rowsOf?: (content: Content) => number;
}

export class ExportQueue<Content> {
  readonly #merge: (older: Content, newer: Content) => Content;
  readonly #countMax: number;
  readonly #rowsOf: (content: Content) => number;
  readonly #backoff: Backoff;
  #batches: WindowBatch<Content>[] = [];
  #inFlight = false;
  /** The first batch has been in flight: parts of it may have arrived, so it does not change any more. */
  #isBegun = false;
  /** The last window of the batch that arrived and of which the agents were not told yet. */
  #untold: number | undefined;
  #retryAtMs = -Infinity;
  merged = 0;
  failures = 0;
  successes = 0;

  constructor({ merge, random, countMax = EXPORT_QUEUE_MAX, rowsOf = () => 0 }: ExportQueueOptions<Content>) {
    this.#merge = merge;
    this.#countMax = countMax;
    this.#rowsOf = rowsOf;
    this.#backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
  }

  /** Windows that no exporter has confirmed. */
  get length(): number {
    return this.#batches.length;
  }

  push(batch: WindowBatch<Content>): void {
    const last = this.#batches.at(-1);
    const rows = [...this.#batches, batch].reduce((total, { content }) => total + this.#rowsOf(content), 0);
    const isFull = this.#batches.length >= this.#countMax || rows > EXPORT_QUEUE_ROWS_MAX;
    if (last === undefined || !isFull || (this.#isBegun && this.#batches.length === 1)) {
      this.#batches.push(batch);
      return;
    }
    this.merged++;
    this.#batches[this.#batches.length - 1] = {
      firstWindow: last.firstWindow,
      lastWindow: batch.lastWindow,
      content: this.#merge(last.content, batch.content),
    };
  }

  /**
   * The batch to export now, marked as in flight; undefined when there is none, one is in flight or not yet told of, or the retry is not due.
   */
  next(nowMs: number): WindowBatch<Content> | undefined {
    if (this.#inFlight || this.#untold !== undefined || this.#batches.length === 0 || nowMs < this.#retryAtMs)
      return undefined;
    this.#inFlight = true;
    this.#isBegun = true;
    return this.#batches[0];
  }

  /** The batch in flight arrived: returns the last window that may be committed. */
  succeeded(): number {
    const batch = this.#batches.shift();
    if (batch === undefined || !this.#inFlight) throw new Error('no batch is in flight');
    this.#inFlight = false;
    this.#isBegun = false;
    this.#backoff.reset();
    this.#retryAtMs = -Infinity;
    this.successes++;
    this.#untold = batch.lastWindow;
    return batch.lastWindow;
  }

  /** The agents were told that everything up to and with `window` is committed. */
  committed(window: number): void {
    if (this.#untold !== undefined && window >= this.#untold) this.#untold = undefined;
  }

  /** The batch in flight stays first. Returns when it is tried again. */
  failed(nowMs: number): number {
    if (!this.#inFlight) throw new Error('no batch is in flight');
    this.#inFlight = false;
    this.failures++;
    this.#retryAtMs = nowMs + this.#backoff.nextMs();
    return this.#retryAtMs;
  }
}

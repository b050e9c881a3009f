/**
 * What every edge adds up to since the incarnation began: what cumulative OTLP and Prometheus tell. A row that is in a snapshot is replaced, so that
 * nobody changes it; any other changes in place, so that a window leaves no garbage of each edge.
 *
 * A window mentions each edge that moved or has an open connection. An edge that none has mentioned for `staleNs` is dropped, so that edges
 * that are gone do not fill the table; the sums of one that comes back start at zero, as its `fromWindow` says. It is dropped no earlier than
 * its last change is committed: a receiver that was away is told of it first.
 *
 * Where a level is over its budget, a window is silent of edges that moved, so what such a window leaves out has ended: an edge that is told
 * again starts anew, from that window. Until its sums of before are committed it goes on instead, and no byte is lost. With a Prometheus it
 * always goes on: a scrape says of no series when it started, and takes it for one that started anew only where it fell.
 */
import { type Level, NodeKind } from '../wire/gen/records-layout.ts';
import { addInto, boundRows, boundTallies, copyRow, type EdgeRow, type RowsByKey } from './edge-rows.ts';
import type { SelfReading } from './otlp-metrics.ts';

/** Rows that are kept; rows of further edges add up in (other). */
export const CUMULATIVE_ROWS_MAX = 65_536;
/** A row is about 30 samples, and a scrape of a million would take longer than the ten seconds that a Prometheus waits. */
export const PROMETHEUS_ROWS_MAX = 10_000;
/** Distinct tallies for each row that may be kept; further ones add up in (other), without their labels. One is up to 35 samples. */
export const TALLIES_PER_ROW = 2;
export const STALE_NS = 900_000_000_000n;

export interface CumulativeSumsOptions {
  /** At least 1; CUMULATIVE_ROWS_MAX by default. */
  rowsMax?: number;
  /** Nanoseconds; STALE_NS by default. */
  staleNs?: bigint;
  /** By a Prometheus: no sum starts anew before it is dropped for its age. */
  isScraped?: boolean;
}

interface CumulativeRow extends EdgeRow {
  /** The newest window that mentioned the edge. `fromWindow` is the first one since it was last dropped. */
  lastWindow: number;
  /** A window whose level was over its budget did not mention it. */
  hasEnded: boolean;
  /** Snapshots that had been taken when this object was made: none of these has it. */
  snapshots: number;
}

const NO_LEVELS: ReadonlySet<Level> = new Set();

export class CumulativeSums {
  readonly #rowsMax: number;
  readonly #staleNs: bigint;
  readonly #isScraped: boolean;
  /** The row that was mentioned longest ago is the first. */
  readonly #rows = new Map<string, CumulativeRow>();
  #committed = -1;
  /** Of all rows but those of (other). */
  #tallies = 0;
  #overflow = 0;
  #expired = 0;
  #snapshots = 0;

  constructor({ rowsMax = CUMULATIVE_ROWS_MAX, staleNs = STALE_NS, isScraped = false }: CumulativeSumsOptions = {}) {
    this.#rowsMax = rowsMax;
    this.#staleNs = staleNs;
    this.#isScraped = isScraped;
  }

  /** Takes the rows of a closed window, which stay as they are. `foldedLevels`: those that were over their budget. */
  add(window: number, windowNs: number, rows: RowsByKey, foldedLevels: ReadonlySet<Level> = NO_LEVELS): void {
    this.#dropStale(window - Math.ceil(Number(this.#staleNs) / windowNs));
    if (!this.#isScraped) this.#dropEnded(rows);
    const inRows = boundRows(rows, this.#rows, this.#rowsMax);
    const bounds = { count: this.#tallies, countMax: this.#rowsMax * TALLIES_PER_ROW };
    const bounded = boundTallies(inRows.rows, this.#rows, bounds);
    this.#overflow += inRows.overflow + bounded.overflow;
    // An edge that the window does not mention has no open connection.
    for (const [key, row] of this.#rows)
      if (!bounded.rows.has(key)) {
        const isFolded = foldedLevels.has(row.level) && row.client.kind !== NodeKind.Other && !row.isHost;
        const hasEnded = row.hasEnded || isFolded;
        if (row.active !== 0 || hasEnded !== row.hasEnded)
          this.#rows.set(key, Object.assign(this.#own(row), { active: 0, hasEnded }));
      }
    for (const [key, row] of bounded.rows) {
      const known = this.#rows.get(key);
      this.#rows.delete(key);
      this.#tallies -= known === undefined ? 0 : countedTallies(known);
      const total = known === undefined ? this.#begin(row, window) : this.#addTo(known, row);
      this.#tallies += countedTallies(total);
      this.#rows.set(key, Object.assign(total, { lastWindow: window, hasEnded: false }));
    }
  }

  /** Every push exporter has confirmed everything up to and with `window`. */
  committed(window: number): void {
    this.#committed = window;
  }

  /** The rows as of the last closed window. */
  snapshot(): RowsByKey {
    this.#snapshots++;
    return new Map(this.#rows);
  }

  readings(): SelfReading[] {
    return [
      { metric: 'seriesOverflow', attributes: { stage: 'export' }, value: this.#overflow },
      { metric: 'seriesExpired', attributes: { stage: 'export' }, value: this.#expired },
    ];
  }

  #begin(row: EdgeRow, window: number): CumulativeRow {
    const begun = { fromWindow: window, lastWindow: window, hasEnded: false, snapshots: this.#snapshots };
    return { ...copyRow(row), ...begun };
  }

  #addTo(known: CumulativeRow, row: EdgeRow): CumulativeRow {
    const total = this.#own(known);
    const { fromWindow } = total;
    addInto(total, row, row.active);
    total.fromWindow = fromWindow;
    return total;
  }

  /** The row, which may be changed. */
  #own(row: CumulativeRow): CumulativeRow {
    return row.snapshots === this.#snapshots ? row : { ...row, ...copyRow(row), snapshots: this.#snapshots };
  }

  #dropEnded(rows: RowsByKey): void {
    for (const key of rows.keys()) {
      const known = this.#rows.get(key);
      if (known === undefined || !known.hasEnded || known.lastWindow > this.#committed) continue;
      this.#rows.delete(key);
      this.#tallies -= countedTallies(known);
    }
  }

  #dropStale(window: number): void {
    for (const [key, row] of this.#rows) {
      // The window after the last one that mentioned it says that it has no open connection.
      if (row.lastWindow > window || row.lastWindow >= this.#committed) return;
      this.#rows.delete(key);
      this.#tallies -= countedTallies(row);
      this.#expired++;
    }
  }
}

/** Of a row, as far as they count for the limit. */
export function countedTallies({ client, tallies }: EdgeRow): number {
  return client.kind === NodeKind.Other ? 0 : tallies.size;
}

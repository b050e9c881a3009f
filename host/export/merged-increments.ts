/**
 * Increments of adjacent windows that wait for a receiver as one batch: they add up edge by edge. Edges come and go, so without a limit an outage
 * of hours would keep all that there were in it; those of further ones add up in (other).
 */
import { countedTallies, TALLIES_PER_ROW } from './cumulative-sums.ts';
import { boundRows, boundTallies, mergeRows, type RowsByKey } from './edge-rows.ts';

/** Rows of a merged batch, 1.2 KB each; those of one window may be more. */
export const MERGED_ROWS_MAX = 262_144;

export class MergedIncrements {
  readonly #rowsMax: number;
  /** Rows and tallies that were added to (other). */
  overflow = 0;

  /** `rowsMax`: at least 1; MERGED_ROWS_MAX by default. */
  constructor(rowsMax = MERGED_ROWS_MAX) {
    this.#rowsMax = rowsMax;
  }

  /** Adds `newer` to `older` in place. */
  add(older: RowsByKey, newer: RowsByKey): RowsByKey {
    const inRows = boundRows(newer, older, this.#rowsMax);
    const bounds = { count: countTallies(older), countMax: this.#rowsMax * TALLIES_PER_ROW };
    const bounded = boundTallies(inRows.rows, older, bounds);
    this.overflow += inRows.overflow + bounded.overflow;
    // An edge that the newer window does not mention has no open connection.
    for (const [key, row] of older) if (!bounded.rows.has(key)) row.active = 0;
    return mergeRows(older, bounded.rows.values());
  }
}

/** Of all rows but those of (other). */
export function countTallies(rows: RowsByKey): number {
  let count = 0;
  for (const row of rows.values()) count += countedTallies(row);
  return count;
}

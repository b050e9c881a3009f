// Ratios of paired measurements: the machine drifts from minute to minute, and what runs side by side drifts alike.

export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** Throws on an empty list. */
export function spreadOf(values: number[]): Spread {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1] };
}

/**
 * By how much the last value is above the first on the straight line that fits all of them best (least squares), as a share of the first: single values go
 * up and down by more than what grows slowly. Undefined for fewer than three values, of which any line says little.
 */
export function growthOf(values: number[]): number | undefined {
  const last = values.length - 1;
  if (last < 2) return undefined;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  let products = 0;
  let squares = 0;
  for (const [index, value] of values.entries()) {
    products += (index - last / 2) * (value - mean);
    squares += (index - last / 2) ** 2;
  }
  const growth = (products / squares) * last;
  return growth / (mean - growth / 2);
}

/** Of each pair, made in the same round: its value by that of the baseline. */
export function ratiosOf(values: number[], baseline: number[]): Spread {
  return spreadOf(values.map((value, round) => value / baseline[round]));
}

export function differencesOf(values: number[], baseline: number[]): Spread {
  return spreadOf(values.map((value, round) => value - baseline[round]));
}

export function showSpread({ median, min, max }: Spread, digits: number, unit = ''): string {
  return `${median.toFixed(digits)}${unit} (${min.toFixed(digits)}-${max.toFixed(digits)})`;
}

/** The same items in another order, the same for the same round: a drift within a round favours nobody. */
export function rotate<T>(items: readonly T[], round: number): T[] {
  const turned = items.map((_, index) => items[(index + round) % items.length]);
  return round % 2 === 0 ? turned : turned.reverse();
}

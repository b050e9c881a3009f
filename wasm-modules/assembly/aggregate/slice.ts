// How much of a window's close one call does, so that a worker is never away for long. What walks over rows takes each from the slice and goes on
// in the next call when none is left.

let rowsLeft: u32 = 0;

export function beginSlice(rows: u32): void {
  rowsLeft = rows;
}

/** False when the slice is used up. */
export function takeRow(): bool {
  if (rowsLeft === 0) return false;
  rowsLeft--;
  return true;
}

/** For work over `rows` rows that is done in one piece, however many are left. */
export function takeRows(rows: u32): void {
  rowsLeft -= min(rows, rowsLeft);
}

// The end of a window: roll up, write the output, expire what is idle.

/** All levels, as bits by `Level`. */
export const ALL_LEVELS: u32 = 0x7f;

export function initAggregate(worker: u32, workers: u32, openWindow: u32, outputLevels: u32, histogramLevels: u32): void {
  unreachable();
}

/** Closes `window`; returns the address of its WindowOutput, valid until the next call that may allocate. */
export function aggregateClose(window: u32): usize {
  return unreachable();
}

/** Bytes of the output that `aggregateClose` returned. */
export function outputBytes(): u32 {
  return unreachable();
}

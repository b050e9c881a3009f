// The open window of ingest, as the coordinator moves it: no clock is read here.

let open: u32 = 0;
let windowNs: u64 = 0;
let isSealed = false;

export function initWindows(openWindow: u32, lengthNs: u64): void {
  open = openWindow;
  windowNs = lengthNs;
  isSealed = false;
}

export function openWindow(): u32 {
  return open;
}

export function windowLengthNs(): u64 {
  return windowNs;
}

/** True between the seal of the open window and its close in match: nothing more of a session is read. */
export function isWindowSealed(): bool {
  return isSealed;
}

/** What a session that has told `reachedWindow` tells now belongs to a window that is not open yet. */
export function isAheadOf(reachedWindow: u32): bool {
  return isSealed || reachedWindow >= open;
}

export function sealWindow(): void {
  isSealed = true;
}

/** Match has closed `window`. */
export function advanceWindow(window: u32): void {
  open = window + 1;
  isSealed = false;
}

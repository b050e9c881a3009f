/**
 * Copies `bytes`, a multiple of 8, of what was just written in pieces of 8 bytes or fewer. `memory.copy` reads 16 at once, and a core does not
 * forward two stores to one load, so it waits until both are in its cache.
 */
export function copyWords(to: usize, from: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 8) store<u64>(to + at, load<u64>(from + at));
}

/** Zeros `bytes`, a multiple of 8. `memory.fill` is a call. */
export function clearWords(at: usize, bytes: usize): void {
  const end = at + bytes;
  for (; at + 16 <= end; at += 16) v128.store(at, i64x2.splat(0));
  if (at < end) store<u64>(at, 0);
}

/** Copies `bytes`, a multiple of 8, of what was written long ago, 16 at once as far as they go. `memory.copy` is a call. */
export function copyLong(to: usize, from: usize, bytes: usize): void {
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(to + at, v128.load(from + at));
  if (at < bytes) store<u64>(to + at, load<u64>(from + at));
}

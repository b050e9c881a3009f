// Rows are copied and zeroed by stores of the code: `memory.copy` and `memory.fill` are calls, and a loop asks at each turn whether it is interrupted.

/** Sizes are constants, so what lies beyond a row leaves no code. */
const ROW_BYTES_MAX: usize = 192;

/** Zeros a T, whose size is a multiple of 8. */
export function clearRow<T>(at: usize): void {
  if (offsetof<T>() > ROW_BYTES_MAX || (offsetof<T>() & 7) !== 0) ERROR('not the size of a row');
  const zeros = i64x2.splat(0);
  if (offsetof<T>() >= 16) v128.store(at, zeros, 0);
  if (offsetof<T>() >= 32) v128.store(at, zeros, 16);
  if (offsetof<T>() >= 48) v128.store(at, zeros, 32);
  if (offsetof<T>() >= 64) v128.store(at, zeros, 48);
  if (offsetof<T>() >= 80) v128.store(at, zeros, 64);
  if (offsetof<T>() >= 96) v128.store(at, zeros, 80);
  if (offsetof<T>() >= 112) v128.store(at, zeros, 96);
  if (offsetof<T>() >= 128) v128.store(at, zeros, 112);
  if (offsetof<T>() >= 144) v128.store(at, zeros, 128);
  if (offsetof<T>() >= 160) v128.store(at, zeros, 144);
  if (offsetof<T>() >= 176) v128.store(at, zeros, 160);
  if (offsetof<T>() >= 192) v128.store(at, zeros, 176);
  if ((offsetof<T>() & 15) !== 0) store<u64>(at + (offsetof<T>() & ~15), 0);
}

/**
 * Copies a T of at most 112 bytes, a multiple of 8, that was written long ago: 16 bytes at once. What was just written in smaller pieces must not be
 * read so, because a core does not forward two stores to one load.
 */
export function copyRow<T>(to: usize, from: usize): void {
  if (offsetof<T>() > 112 || (offsetof<T>() & 7) !== 0) ERROR('not the size of a row');
  if (offsetof<T>() >= 16) v128.store(to, v128.load(from, 0), 0);
  if (offsetof<T>() >= 32) v128.store(to, v128.load(from, 16), 16);
  if (offsetof<T>() >= 48) v128.store(to, v128.load(from, 32), 32);
  if (offsetof<T>() >= 64) v128.store(to, v128.load(from, 48), 48);
  if (offsetof<T>() >= 80) v128.store(to, v128.load(from, 64), 64);
  if (offsetof<T>() >= 96) v128.store(to, v128.load(from, 80), 80);
  if (offsetof<T>() >= 112) v128.store(to, v128.load(from, 96), 96);
  if ((offsetof<T>() & 15) !== 0) store<u64>(to + (offsetof<T>() & ~15), load<u64>(from + (offsetof<T>() & ~15)));
}

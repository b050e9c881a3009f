/** A moment as protocol code sees it: handed in, never read. */
export interface Instant {
  /** Milliseconds on a clock that never steps; its origin means nothing. For time-outs. */
  ms: number;
  /** This process's own Unix time, nanoseconds. It runs with `ms`, so it does not step either. */
  unixNs: bigint;
}

export type Clock = () => Instant;

/**
 * A clock that reads the wall clock once and then follows the monotonic one: a step of the wall clock would move traffic between windows.
 * What the two differ by later is what the channel measures as offset.
 */
export function startClock(): Clock {
  const originNs = BigInt(Date.now()) * 1_000_000n;
  const originMonotonicNs = process.hrtime.bigint();
  return () => {
    const elapsedNs = process.hrtime.bigint() - originMonotonicNs;
    return { ms: Number(elapsedNs / 1000n) / 1000, unixNs: originNs + elapsedNs };
  };
}

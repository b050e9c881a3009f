const UNIT_NS: Readonly<Record<string, bigint>> = { ms: 1_000_000n, s: 1_000_000_000n, m: 60_000_000_000n };

/** Nanoseconds of a whole number with its unit: 500ms, 10s, 1m. Undefined for anything else. */
export function parseDuration(text: string): bigint | undefined {
  const match = /^([1-9]\d{0,8})(ms|s|m)$/.exec(text);
  return match === null ? undefined : BigInt(match[1]) * UNIT_NS[match[2]];
}

/** As parseDuration takes it, in the largest unit that leaves a whole number. `ns`: nanoseconds, whole milliseconds. */
export function formatDuration(ns: bigint): string {
  const [unit, unitNs] = Object.entries(UNIT_NS)
    .filter(([, size]) => ns % size === 0n)
    .reduce((largest, next) => (next[1] > largest[1] ? next : largest));
  return `${ns / unitNs}${unit}`;
}

import type { HandshakeRefusal } from '../tls/refusal.ts';

/** Connections that were accepted with a certificate, and refused ones by reason; what never occurred is left out. */
export type HandshakeCounts = Partial<Record<'accepted' | HandshakeRefusal, number>>;

/** Adds to `counts` in place. */
export function countHandshake(counts: HandshakeCounts, outcome: keyof HandshakeCounts, count = 1): void {
  counts[outcome] = (counts[outcome] ?? 0) + count;
}

/** Sums over workers. */
export function addHandshakes(workers: readonly HandshakeCounts[]): HandshakeCounts {
  const sum: HandshakeCounts = {};
  for (const counts of workers) {
    for (const [outcome, count] of Object.entries(counts) as [keyof HandshakeCounts, number][])
      countHandshake(sum, outcome, count);
  }
  return sum;
}

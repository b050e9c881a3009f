import type { Edge } from './edge-answer.ts';

export const SORT_KEYS = ['rate', 'bytes', 'rtt', 'retransmits', 'failures', 'active', 'new'] as const;
export type SortKey = (typeof SORT_KEYS)[number];

const SORT_VALUES: Record<SortKey, (edge: Edge) => number> = {
  rate: byteRate,
  bytes: totalBytes,
  rtt: (edge) => edge.rtt?.meanUs ?? -1,
  retransmits: (edge) => edge.retransmits.forward + edge.retransmits.reverse,
  failures: failureCount,
  active: (edge) => edge.active,
  new: (edge) => edge.connections,
};

/** Highest first; ties stay in canonical order. */
export function sortEdges(edges: readonly Edge[], by: SortKey): Edge[] {
  return [...edges].sort((a, b) => SORT_VALUES[by](b) - SORT_VALUES[by](a));
}

/** Bytes per second, both ways. */
export function byteRate(edge: Edge): number {
  return totalBytes(edge) / edge.spanSeconds;
}

export function failureCount({ failures }: Pick<Edge, 'failures'>): number {
  return failures.refused + failures.timedOut + failures.abandoned + failures.unreachable + failures.other;
}

function totalBytes({ bytes }: Edge): number {
  return bytes.forward + bytes.reverse;
}

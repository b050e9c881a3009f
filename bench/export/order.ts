// What the receiving process is told to do, and what it answers.

export type ReceiverOrder = { kind: 'counted' } | { kind: 'scrape'; url: string };

export type ReceiverNews =
  | { kind: 'listening'; port: number }
  /** Data points and bytes that came since the last question. */
  | { kind: 'counted'; points: number; bytes: number }
  /** Samples and bytes of an answer, and how long it took, ms. */
  | { kind: 'scraped'; points: number; bytes: number; ms: number };

/** What of a thread's event loop came late, ms. */
export interface LoopDelay {
  p50: number;
  p99: number;
  max: number;
}

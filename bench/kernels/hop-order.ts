// What both sides of a hop know.

export const WAYS = ['ring', 'postMessage, copy', 'postMessage, transfer'] as const;
export type Way = (typeof WAYS)[number];

export interface HopOrder {
  way: Way;
  records: number;
  /** Records that are published at once. */
  batch: number;
}

export interface HopReport {
  sum: number;
  cpuNs: number;
}

export const RECORD_BYTES = 64;
/** Places of the two threads among the doorbells. */
export const WRITER = 0;
export const READER = 1;

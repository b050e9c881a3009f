// The stages that both sides are timed in, and the sums over an output that must be the same numbers on both.

import {
  EDGE_POINT_OFFSET,
  EDGE_POINT_SIZE,
  readWindowOutput,
  TALLY_POINT_OFFSET,
  TALLY_POINT_SIZE,
  WINDOW_OUTPUT_SIZE,
} from '../../host/wire/gen/records-layout.ts';

/** CPU time of one window, ns. */
export interface StageTimes {
  /** Frames verified and applied to the rows of their sockets. */
  ingest: number;
  /** What a window told, to the ends of flows; of sockets that lived within it, to the lists in which they wait. */
  join: number;
  /** What waits claimed, flows booked and added to their leaves, those that are committed forgotten. */
  book: number;
  /** All levels, the output, rows made ready for the next window. */
  rollUp: number;
  whole: number;
}

export const STAGES = ['ingest', 'join', 'book', 'rollUp', 'whole'] as const;

export interface OutputSums {
  /** By records.Level: bytes, packets, connections, active, tallies' counts and sums. */
  levels: number[][];
  outputBytes: number;
  /** FNV-1a over its 32-bit words. */
  outputHash: number;
}

const LEVEL_COUNT = 7;
const WORD = 2 ** 32;
const FNV_PRIME = 0x01000193;
const FNV_OFFSET = 0x811c9dc5;

/** `output`: of one worker, 8-aligned. Sums are exact below 2^53. */
export function sumOutput(output: Uint8Array): OutputSums {
  const words = new Uint32Array(output.buffer, output.byteOffset, output.byteLength / 4);
  const { nodeBytes, labelBytes, pointCount, tallyCount } = readWindowOutput(
    new DataView(output.buffer, output.byteOffset, output.byteLength),
    0,
  );
  const levels = Array.from({ length: LEVEL_COUNT }, () => new Array<number>(6).fill(0));
  const at = (offset: number) => words[offset >> 2] + words[(offset >> 2) + 1] * WORD;
  let offset = WINDOW_OUTPUT_SIZE + nodeBytes + labelBytes;
  const point = EDGE_POINT_OFFSET;
  for (let left = pointCount; left > 0; left--, offset += EDGE_POINT_SIZE) {
    const sums = levels[output[offset + point.level]];
    sums[0] += at(offset + point.forwardBytes) + at(offset + point.reverseBytes);
    sums[1] += at(offset + point.forwardPackets) + at(offset + point.reversePackets);
    sums[2] += at(offset + point.connections);
    sums[3] += at(offset + point.active);
  }
  for (let left = tallyCount; left > 0; left--, offset += TALLY_POINT_SIZE) {
    const sums = levels[output[offset + TALLY_POINT_OFFSET.level]];
    sums[4] += at(offset + TALLY_POINT_OFFSET.count);
    sums[5] += at(offset + TALLY_POINT_OFFSET.sum);
  }
  let hash = FNV_OFFSET;
  for (const word of words) hash = Math.imul(hash ^ word, FNV_PRIME);
  return { levels, outputBytes: output.byteLength, outputHash: hash >>> 0 };
}

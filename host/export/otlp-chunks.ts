/**
 * A closed window in pieces that a receiver takes, so that one which was refused is sent again without those that arrived.
 *
 *   readings, rows ─▶ pieces: a reading, a row, or its columns and its tallies apart when together they are more than a chunk ─▶ chunks of adjacent pieces
 */
import type { EdgeRow, Node } from './edge-rows.ts';
import type { Profile } from './gen/metrics.ts';
import type { Histogram } from './histogram.ts';
import { END_ATTRIBUTES, type MetricsBatch, pointCounter, type SelfReading } from './otlp-metrics.ts';
import type { TalliesByKey, Tally } from './tallies.ts';

/** Points of one POST. With names of usual length a point is 700 bytes, so this is 1.4 MiB. */
export const CHUNK_POINTS_MAX = 2_048;
/**
 * Bytes of one POST, for long names: what a gRPC receiver takes by default, to which a collector may pass it on. The HTTP receiver of a collector
 * takes 20 MiB.
 */
export const CHUNK_BYTES_MAX = 4 << 20;

// Bytes in protobuf, no fewer than they are; texts come on top.
/** Resource, and names and descriptions of all metrics. */
const HEAD_BYTES = 32_768;
/** Times, value and framing of a point. */
const POINT_BYTES = 64;
const ATTRIBUTE_BYTES = 64;
/** Level, transport, port, and what tells the points of one metric apart. */
const ROW_ATTRIBUTES = 5;
/** Side, code, and the words of a label. */
const TALLY_ATTRIBUTES = 5;
const BUCKET_BYTES = 5;

export interface Chunk extends MetricsBatch {
  points: number;
  /** Of its POST, at most. */
  bytes: number;
}

interface Size {
  points: number;
  bytes: number;
}

/** Our own readings, then the rows, in their order. There is at least one, and what cannot be split may be larger than `bytesMax`. */
export function splitBatch(batch: MetricsBatch, profile: Profile, bytesMax = CHUNK_BYTES_MAX): Chunk[] {
  const meter = new RowMeter(profile);
  const chunks: Chunk[] = [];
  let [rows, self]: [EdgeRow[], SelfReading[]] = [[], []];
  let size = NOTHING;
  const end = (): void => {
    const { points, bytes } = size;
    chunks.push({ ...batch, rows, self, points, bytes: HEAD_BYTES + bytes });
    [rows, self] = [[], []];
    size = NOTHING;
  };
  const pieceBytesMax = bytesMax - HEAD_BYTES;
  const makeRoom = (more: Size): void => {
    if (size.points > 0 && !fits(sum(size, more), pieceBytesMax)) end();
    size = sum(size, more);
  };
  for (const reading of batch.self) {
    makeRoom(ofReading(reading));
    self.push(reading);
  }
  for (const row of batch.rows) {
    for (const piece of splitRow(row, meter, pieceBytesMax)) {
      makeRoom(piece.size);
      rows.push(piece.row);
    }
  }
  if (size.points > 0 || rows.length > 0 || chunks.length === 0) end();
  return chunks;
}

/** `chunk` in several, or as it is when it cannot be split. */
export function halveChunk(chunk: Chunk, profile: Profile): Chunk[] {
  return splitBatch(chunk, profile, HEAD_BYTES + (chunk.bytes - HEAD_BYTES) / 2);
}

interface Piece {
  row: EdgeRow;
  size: Size;
}

function* splitRow(row: EdgeRow, meter: RowMeter, bytesMax: number): Generator<Piece> {
  const whole = meter.ofRow(row);
  if (fits(whole, bytesMax) || row.tallies.size === 0) return yield { row, size: whole };
  const startPiece = (hasColumns: boolean) => ({ ...row, hasColumns, tallies: new Map() as TalliesByKey });
  let piece = startPiece(row.hasColumns);
  let size = meter.ofColumns(row);
  for (const [key, tally] of row.tallies) {
    const more = meter.ofTally(row, tally);
    if (size.points > 0 && !fits(sum(size, more), bytesMax)) {
      yield { row: piece, size };
      piece = startPiece(false);
      size = NOTHING;
    }
    piece.tallies.set(key, tally);
    size = sum(size, more);
  }
  yield { row: piece, size };
}

const NOTHING: Size = { points: 0, bytes: 0 };

function sum(a: Size, b: Size): Size {
  return { points: a.points + b.points, bytes: a.bytes + b.bytes };
}

function fits({ points, bytes }: Size, bytesMax: number): boolean {
  return points <= CHUNK_POINTS_MAX && bytes <= bytesMax;
}

function ofReading({ attributes }: SelfReading): Size {
  let bytes = POINT_BYTES;
  for (const value of Object.values(attributes)) bytes += ATTRIBUTE_BYTES + Buffer.byteLength(value);
  return { points: 1, bytes };
}

/** Estimates what rows are as points: no less than they are. Rows share their nodes, so each of those is measured once. */
class RowMeter {
  readonly #countPoints: (row: EdgeRow) => number;
  readonly #nodeBytes = new Map<Node, number>();

  constructor(profile: Profile) {
    this.#countPoints = pointCounter(profile);
  }

  ofRow(row: EdgeRow): Size {
    let size = this.ofColumns(row);
    for (const tally of row.tallies.values()) size = sum(size, this.ofTally(row, tally));
    return size;
  }

  ofColumns(row: EdgeRow): Size {
    const points = this.#countPoints(row);
    return { points, bytes: points * this.#pointBytes(row) + histogramBytes(row.histogram) };
  }

  ofTally(row: EdgeRow, { label, histogram }: Tally): Size {
    const own = TALLY_ATTRIBUTES * ATTRIBUTE_BYTES + Buffer.byteLength(label) + histogramBytes(histogram);
    return { points: 1, bytes: this.#pointBytes(row) + own };
  }

  #pointBytes({ client, server }: EdgeRow): number {
    return POINT_BYTES + ROW_ATTRIBUTES * ATTRIBUTE_BYTES + this.#ofNode(client) + this.#ofNode(server);
  }

  #ofNode(node: Node): number {
    const known = this.#nodeBytes.get(node);
    if (known !== undefined) return known;
    // How it was resolved, and what it has.
    let bytes = ATTRIBUTE_BYTES;
    for (const id of END_ATTRIBUTES) if (node[id] !== '') bytes += ATTRIBUTE_BYTES + Buffer.byteLength(node[id]);
    this.#nodeBytes.set(node, bytes);
    return bytes;
  }
}

function histogramBytes(histogram: Histogram | undefined): number {
  return histogram === undefined ? 0 : POINT_BYTES + BUCKET_BYTES * histogram.counts.length;
}

// Exponential histogram of round-trip times (OpenTelemetry metrics data model): bucket `index` holds seconds v with
// base^index < v <= base^(index + 1), base = 2^(1/8).
//
// The exponent bits of a double are floor(log2 v); only the eighth inside the octave is missing. The top 8 bits of the mantissa
// choose a segment 1/256 wide, which holds at most one boundary 2^(k/8); comparing the whole mantissa with it decides:
//
//   index = 8 * exponent + SEGMENT[mantissa >> 44].eighth + (mantissa > SEGMENT[mantissa >> 44].boundary) - (mantissa == 0)
//
// The last term makes an exact power of two belong to the bucket that it ends. The index is taken on seconds, because
// 8 * log2(10^6) is no integer, and in double precision, because a float is off by one bucket near boundaries above 10 s.

import { HISTOGRAM_RECORD_SIZE, HistogramRecord, ReducerCounter } from '../gen/records';
import { allocate } from './arena';
import { count } from './counters';
import { RowPool } from './row-pool';

const HISTOGRAM_SCALE: i32 = 3;
/** Samples are clamped to 1 us ... 2^27 us (134 s), which are these indexes. */
const HISTOGRAM_INDEX_MIN: i32 = -160;
const HISTOGRAM_INDEX_MAX: i32 = 56;
const SAMPLE_US_MAX: u32 = 1 << 27;

/** Histograms at once: rows that have samples in the open window. */
export const HISTOGRAM_COUNT_MAX: u32 = 1 << 17;

/** A row: positions in use (lowest u32, highest u32), then u32 counts by position = index - HISTOGRAM_INDEX_MIN. */
const COUNTS_OFFSET: usize = 8;
const ROW_BYTES: usize = COUNTS_OFFSET + 218 * 4;
const HIGHEST_OFFSET: usize = 4;

const SEGMENTS: usize = 256;
const SEGMENT_SHIFT: u64 = 44;
const MANTISSA_MASK: u64 = 0x000f_ffff_ffff_ffff;
/** A segment is the boundary that follows its start (u64) and the eighth at its start (u64). */
const SEGMENT_BYTES: usize = 16;

let segments: usize = 0;
let pool: RowPool = changetype<RowPool>(0);

export function initHistograms(countMax: u32): void {
  pool = RowPool.create(ROW_BYTES, countMax);
  segments = allocate(SEGMENTS * SEGMENT_BYTES);
  for (let segment: usize = 0; segment < SEGMENTS; segment++) {
    const start = (<u64>segment) << SEGMENT_SHIFT;
    let eighth: u32 = 0;
    while (eighth < 7 && boundary(eighth + 1) < start) eighth++;
    store<u64>(segments + segment * SEGMENT_BYTES, boundary(eighth + 1));
    store<u64>(segments + segment * SEGMENT_BYTES, eighth, 8);
  }
}

/** An empty histogram, or 0 (counted) when there are too many. */
export function takeHistogram(): u32 {
  const histogram = pool.take();
  if (histogram === 0) {
    count(ReducerCounter.HistogramsRefused);
    return 0;
  }
  const row = pool.at(histogram);
  memory.fill(row, 0, ROW_BYTES);
  store<u32>(row, <u32>(HISTOGRAM_INDEX_MAX - HISTOGRAM_INDEX_MIN));
  return histogram;
}

export function giveHistogram(histogram: u32): void {
  pool.give(histogram);
}

/** Bucket of a sample in microseconds. */
export function histogramIndex(sampleUs: u32): i32 {
  const seconds = <f64>min(max(sampleUs, 1), SAMPLE_US_MAX) / 1000000;
  const bits = reinterpret<u64>(seconds);
  const mantissa = bits & MANTISSA_MASK;
  const exponent = <i32>(bits >>> 52) - 1023;
  const segment = segments + <usize>(mantissa >>> SEGMENT_SHIFT) * SEGMENT_BYTES;
  const eighth = <i32>load<u64>(segment, 8) + i32(mantissa > load<u64>(segment));
  return exponent * 8 + eighth - i32(mantissa === 0);
}

export function addSample(histogram: u32, sampleUs: u32): void {
  const row = pool.at(histogram);
  const position = <u32>(histogramIndex(sampleUs) - HISTOGRAM_INDEX_MIN);
  const bucket = row + COUNTS_OFFSET + <usize>position * 4;
  store<u32>(bucket, load<u32>(bucket) + 1);
  if (position < load<u32>(row)) store<u32>(row, position);
  if (position > load<u32>(row, HIGHEST_OFFSET)) store<u32>(row, position, HIGHEST_OFFSET);
}

export function mergeHistogram(into: u32, from: u32): void {
  const target = pool.at(into);
  const source = pool.at(from);
  const lowest = load<u32>(source);
  const highest = load<u32>(source, HIGHEST_OFFSET);
  for (let position = lowest; position <= highest; position++) {
    const offset = COUNTS_OFFSET + <usize>position * 4;
    store<u32>(target + offset, load<u32>(target + offset) + load<u32>(source + offset));
  }
  store<u32>(target, min(load<u32>(target), lowest));
  store<u32>(target, max(load<u32>(target, HIGHEST_OFFSET), highest), HIGHEST_OFFSET);
}

/** Bytes that `writeHistogram` writes: head and the buckets in use. The histogram must not be empty. */
export function histogramRecordBytes(histogram: u32): u32 {
  const row = pool.at(histogram);
  const buckets = load<u32>(row, HIGHEST_OFFSET) - load<u32>(row) + 1;
  return (HISTOGRAM_RECORD_SIZE + buckets * 4 + 7) & ~7;
}

/** Writes the HistogramRecord; returns its bytes. */
export function writeHistogram(histogram: u32, to: usize): u32 {
  const row = pool.at(histogram);
  const lowest = load<u32>(row);
  const buckets = load<u32>(row, HIGHEST_OFFSET) - lowest + 1;
  const bytes = histogramRecordBytes(histogram);
  const record = changetype<HistogramRecord>(to);
  record.scale = HISTOGRAM_SCALE;
  record.offset = <i32>lowest + HISTOGRAM_INDEX_MIN;
  record.bucketCount = buckets;
  record.pad0 = 0;
  store<u32>(to + bytes - 4, 0);
  memory.copy(to + HISTOGRAM_RECORD_SIZE, row + COUNTS_OFFSET + <usize>lowest * 4, <usize>buckets * 4);
  return bytes;
}

/** Mantissa of 2^(eighth / 8), rounded down; no mantissa is above that of eighth 8. */
function boundary(eighth: u32): u64 {
  if (eighth === 1) return 0x1_72b8_3c7d_517a;
  if (eighth === 2) return 0x3_06fe_0a31_b715;
  if (eighth === 3) return 0x4_bfda_d536_2a27;
  if (eighth === 4) return 0x6_a09e_667f_3bcc;
  if (eighth === 5) return 0x8_ace5_422a_a0db;
  if (eighth === 6) return 0xa_e89f_995a_d3ad;
  if (eighth === 7) return 0xd_5818_dcfb_a487;
  return MANTISSA_MASK;
}

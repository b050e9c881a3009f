// Exponential histograms of times, with the buckets of bucket.ts: one row of counts each, in use only while it has samples.
//
// Samples wait in a log and are counted a group at a time: their buckets lie anywhere, and those of a group come to the cache side by side. What
// reads a histogram counts them first. Counts only rise, up to a greatest value, so their order changes nothing.
import { HISTOGRAM_RECORD_SIZE, HistogramRecord, ReducerCounter } from '../gen/records';
import { bucketOf, bucketOfNs, HISTOGRAM_SCALE, initBuckets } from './bucket';
import { count } from './counters';
import { keepLoads } from './keep-loads';
import { RowPool } from './row-pool';

/** Buckets from 1 us to 2^17 s (36 h), the length of a connection; what lies outside is counted in the first or the last. */
const HISTOGRAM_INDEX_MIN: i32 = -160;
const HISTOGRAM_INDEX_MAX: i32 = 135;
/** Round-trip times are clamped to 1 us ... 2^27 us (134 s). */
const SAMPLE_US_MAX: u32 = 1 << 27;

/** Histograms at once: rows that have samples in the open window. */
export const HISTOGRAM_COUNT_MAX: u32 = 1 << 17;

/** A row: positions in use (lowest u32, highest u32), then u32 counts by position = index - HISTOGRAM_INDEX_MIN. */
const COUNTS_OFFSET: usize = 8;
const ROW_BYTES: usize = COUNTS_OFFSET + (HISTOGRAM_INDEX_MAX - HISTOGRAM_INDEX_MIN + 1) * 4;
const HIGHEST_OFFSET: usize = 4;

@unmanaged
class Sample {
  /** Its histogram's row. */
  row: u32;
  position: u32;
  samples: u64;

  get bucket(): usize {
    return <usize>this.row + COUNTS_OFFSET + <usize>this.position * 4;
  }
}

/** Samples that are counted at once. */
const LOG_SIZE: u32 = 32;
const log: usize = memory.data(<i32>(LOG_SIZE * 16), 8);
if (offsetof<Sample>() !== 16) ERROR('the log has 16 bytes for a sample');
let logged: u32 = 0;

const pool: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));

export function initHistograms(countMax: u32): void {
  pool.begin(ROW_BYTES, countMax);
  logged = 0;
  initBuckets();
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
  if (logged !== 0) countLogged();
  pool.give(histogram);
}

/** Bucket of a sample in microseconds. */
export function histogramIndex(sampleUs: u32): i32 {
  return bucketOf(<f64>min(max(sampleUs, 1), SAMPLE_US_MAX) / 1000000);
}

export function addSample(histogram: u32, sampleUs: u32): void {
  addCount(histogram, histogramIndex(sampleUs), 1);
}

/** Adds `samples` of `sampleNs` each. */
export function addSamplesNs(histogram: u32, sampleNs: u64, samples: u64): void {
  addCount(histogram, min(max(bucketOfNs(sampleNs), HISTOGRAM_INDEX_MIN), HISTOGRAM_INDEX_MAX), samples);
}

function addCount(histogram: u32, index: i32, samples: u64): void {
  const sample = sampleAt(logged++);
  sample.row = <u32>pool.at(histogram);
  sample.position = <u32>(index - HISTOGRAM_INDEX_MIN);
  sample.samples = samples;
  if (logged === LOG_SIZE) countLogged();
}

function sampleAt(index: u32): Sample {
  return changetype<Sample>(log + <usize>index * offsetof<Sample>());
}

function countLogged(): void {
  let sum: u32 = 0;
  for (let index: u32 = 0; index < logged; index++) sum |= load<u32>(sampleAt(index).bucket);
  keepLoads(sum);
  for (let index: u32 = 0; index < logged; index++) countSample(sampleAt(index));
  logged = 0;
}

function countSample(sample: Sample): void {
  const bucket = sample.bucket;
  // Only the first sample of a bucket widens what is in use: the others leave the row's head, which is in another cache line, alone.
  const isUsed = load<u32>(bucket) !== 0;
  addSaturated(bucket, sample.samples);
  if (isUsed) return;
  const row: usize = sample.row;
  if (sample.position < load<u32>(row)) store<u32>(row, sample.position);
  if (sample.position > load<u32>(row, HIGHEST_OFFSET)) store<u32>(row, sample.position, HIGHEST_OFFSET);
}

/** A count that would exceed 32 bits stays at their greatest value. */
function addSaturated(bucket: usize, samples: u64): void {
  store<u32>(bucket, <u32>min<u64>(load<u32>(bucket) + samples, u32.MAX_VALUE));
}

export function mergeHistogram(into: u32, from: u32): void {
  if (logged !== 0) countLogged();
  const target = pool.at(into);
  const source = pool.at(from);
  const lowest = load<u32>(source);
  const highest = load<u32>(source, HIGHEST_OFFSET);
  for (let position = lowest; position <= highest; position++) {
    const offset = COUNTS_OFFSET + <usize>position * 4;
    addSaturated(target + offset, load<u32>(source + offset));
  }
  store<u32>(target, min(load<u32>(target), lowest));
  store<u32>(target, max(load<u32>(target, HIGHEST_OFFSET), highest), HIGHEST_OFFSET);
}

/** Bytes that `writeHistogram` writes: head and the buckets in use. The histogram must not be empty. */
export function histogramRecordBytes(histogram: u32): u32 {
  if (logged !== 0) countLogged();
  const row = pool.at(histogram);
  const buckets = load<u32>(row, HIGHEST_OFFSET) - load<u32>(row) + 1;
  return (HISTOGRAM_RECORD_SIZE + buckets * 4 + 7) & ~7;
}

/** Writes the HistogramRecord; returns its bytes. */
export function writeHistogram(histogram: u32, to: usize): u32 {
  const bytes = histogramRecordBytes(histogram);
  const row = pool.at(histogram);
  const lowest = load<u32>(row);
  const buckets = load<u32>(row, HIGHEST_OFFSET) - lowest + 1;
  const record = changetype<HistogramRecord>(to);
  record.scale = HISTOGRAM_SCALE;
  record.offset = <i32>lowest + HISTOGRAM_INDEX_MIN;
  record.bucketCount = buckets;
  record.pad0 = 0;
  store<u32>(to + bytes - 4, 0);
  memory.copy(to + HISTOGRAM_RECORD_SIZE, row + COUNTS_OFFSET + <usize>lowest * 4, <usize>buckets * 4);
  return bytes;
}

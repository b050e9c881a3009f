// Exponential histograms of times, with the buckets of bucket.ts, in use only while they have samples. The buckets between the lowest and the
// highest with samples are few of all that there are, so a histogram is a row of 8 bytes that says which of them have counts and where these
// lie: room for 16, which doubles when a sample lies outside.
//
// Samples wait in a log and are counted a group at a time: their buckets lie anywhere, and those of a group come to the cache side by side. What
// reads a histogram counts them first. Counts only rise, up to a greatest value, so their order changes nothing.
import { HISTOGRAM_RECORD_SIZE, HistogramRecord, ReducerCounter } from '../gen/records';
import { giveBlock, takeBlockInPage } from './arena';
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

/** Counts of a histogram at first, and four times as many at each step: pages are cut for each size, and stay so. */
const ROOM_MIN: u32 = 16;
const ROOM_SHIFT: u32 = 2;

@unmanaged
class Histogram {
  /** u32 counts, of which one is not 0; 0 = no samples. A free row keeps its list here. */
  counts: usize;
  /** Position of the first count. */
  first: u16;
  /** How many there are. */
  room: u16;

  countAt(position: u32): usize {
    return this.counts + ((<usize>position - this.first) << 2);
  }

  hasRoom(position: u32): bool {
    return position - this.first < <u32>this.room;
  }

  /** The lowest position with samples. */
  get lowest(): u32 {
    let position: u32 = this.first;
    let used = usedCounts(this.counts);
    while (used === 0) {
      position += ROOM_MIN;
      used = usedCounts(this.countAt(position));
    }
    return position + ctz<u32>(used);
  }

  /** The highest position with samples. */
  get highest(): u32 {
    let position: u32 = this.first + this.room - ROOM_MIN;
    let used = usedCounts(this.countAt(position));
    while (used === 0) {
      position -= ROOM_MIN;
      used = usedCounts(this.countAt(position));
    }
    return position + (31 - clz<u32>(used));
  }
}

/** A bit for each of the ROOM_MIN counts at `at` that is not 0. */
function usedCounts(at: usize): u32 {
  const zeros = i32x4.splat(0);
  const low = i16x8.narrow_i32x4_s(i32x4.ne(v128.load(at, 0), zeros), i32x4.ne(v128.load(at, 16), zeros));
  const high = i16x8.narrow_i32x4_s(i32x4.ne(v128.load(at, 32), zeros), i32x4.ne(v128.load(at, 48), zeros));
  return i8x16.bitmask(i8x16.narrow_i16x8_s(low, high));
}

if (offsetof<Histogram>() !== 8) ERROR('a histogram has 8 bytes');

@unmanaged
class Sample {
  histogram: Histogram;
  position: u32;
  samples: u64;
}

/** Samples that are counted at once. */
const LOG_SIZE: u32 = 32;
const log: usize = memory.data(<i32>(LOG_SIZE * 16), 8);
if (offsetof<Sample>() !== 16) ERROR('the log has 16 bytes for a sample');
let logged: u32 = 0;

const pool: RowPool = changetype<RowPool>(memory.data(offsetof<RowPool>(), 8));

export function initHistograms(countMax: u32): void {
  pool.begin(offsetof<Histogram>(), countMax);
  logged = 0;
  initBuckets();
}

/** An empty histogram, or 0 (counted) when there are too many. */
export function takeHistogram(): u32 {
  const handle = pool.take();
  if (handle === 0) {
    count(ReducerCounter.HistogramsRefused);
    return 0;
  }
  const histogram = histogramAt(handle);
  histogram.counts = 0;
  histogram.first = 0;
  histogram.room = 0;
  return handle;
}

export function giveHistogram(handle: u32): void {
  if (logged !== 0) countLogged();
  const histogram = histogramAt(handle);
  if (histogram.counts !== 0) giveBlock(histogram.counts, (<usize>histogram.room) << 2);
  pool.give(handle);
}

function histogramAt(handle: u32): Histogram {
  return pool.row<Histogram>(handle);
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
  sample.histogram = histogramAt(histogram);
  sample.position = <u32>(index - HISTOGRAM_INDEX_MIN);
  sample.samples = samples;
  if (logged === LOG_SIZE) countLogged();
}

function sampleAt(index: u32): Sample {
  return changetype<Sample>(log + <usize>index * offsetof<Sample>());
}

function countLogged(): void {
  for (let index: u32 = 0; index < logged; index++) {
    const sample = sampleAt(index);
    const position = sample.position;
    if (!sample.histogram.hasRoom(position)) makeRoom(sample.histogram, position, position);
  }
  let sum: u32 = 0;
  for (let index: u32 = 0; index < logged; index++) sum |= load<u32>(bucketOfSample(sampleAt(index)));
  keepLoads(sum);
  for (let index: u32 = 0; index < logged; index++) {
    const sample = sampleAt(index);
    addSaturated(bucketOfSample(sample), sample.samples);
  }
  logged = 0;
}

function bucketOfSample(sample: Sample): usize {
  return sample.histogram.countAt(sample.position);
}

/** A count that would exceed 32 bits stays at their greatest value. */
function addSaturated(bucket: usize, samples: u64): void {
  store<u32>(bucket, <u32>min<u64>(load<u32>(bucket) + samples, u32.MAX_VALUE));
}

/** Widens the room to positions from `lowest` to `highest`. Traps when memory is used up. */
function makeRoom(histogram: Histogram, lowest: u32, highest: u32): void {
  const old = histogram.counts;
  if (old === 0) {
    placeRoom(histogram, lowest, highest);
    return;
  }
  const first: u32 = histogram.first;
  const room: u32 = histogram.room;
  placeRoom(histogram, min(lowest, first), max(highest, first + room - 1));
  memory.copy(histogram.countAt(first), old, (<usize>room) << 2);
  giveBlock(old, (<usize>room) << 2);
}

/** Room for the positions, with some on both sides. */
function placeRoom(histogram: Histogram, lowest: u32, highest: u32): void {
  const needed = highest - lowest + 1;
  let room = ROOM_MIN;
  while (room < needed) room <<= ROOM_SHIFT;
  const counts = takeBlockInPage((<usize>room) << 2);
  if (counts === 0) unreachable();
  histogram.counts = counts;
  histogram.first = <u16>max<i32>(<i32>lowest - <i32>((room - needed) >>> 1), 0);
  histogram.room = <u16>room;
}

export function mergeHistogram(into: u32, from: u32): void {
  if (logged !== 0) countLogged();
  const target = histogramAt(into);
  const source = histogramAt(from);
  const lowest = source.lowest;
  const highest = source.highest;
  if (!target.hasRoom(lowest) || !target.hasRoom(highest)) makeRoom(target, lowest, highest);
  for (let position = lowest; position <= highest; position++) {
    addSaturated(target.countAt(position), load<u32>(source.countAt(position)));
  }
}

/** Bytes that `writeHistogram` writes: head and the buckets in use. The histogram must not be empty. */
export function histogramRecordBytes(handle: u32): u32 {
  if (logged !== 0) countLogged();
  const histogram = histogramAt(handle);
  return recordBytes(histogram.highest - histogram.lowest + 1);
}

function recordBytes(buckets: u32): u32 {
  return (HISTOGRAM_RECORD_SIZE + buckets * 4 + 7) & ~7;
}

/** Writes the HistogramRecord; returns its bytes. */
export function writeHistogram(handle: u32, to: usize): u32 {
  if (logged !== 0) countLogged();
  const histogram = histogramAt(handle);
  const lowest = histogram.lowest;
  const buckets = histogram.highest - lowest + 1;
  const bytes = recordBytes(buckets);
  const record = changetype<HistogramRecord>(to);
  record.scale = HISTOGRAM_SCALE;
  record.offset = <i32>lowest + HISTOGRAM_INDEX_MIN;
  record.bucketCount = buckets;
  record.pad0 = 0;
  const counts = histogram.countAt(lowest);
  store<u32>(to + bytes - 4, 0);
  for (let at: usize = 0; at < (<usize>buckets) << 2; at += 4)
    store<u32>(to + at, load<u32>(counts + at), HISTOGRAM_RECORD_SIZE);
  return bytes;
}

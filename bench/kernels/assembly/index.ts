// The loops of the kernels over the product's own tables (wasm-modules/assembly/lib), so that no call crosses the border for each operation. What an
// operation touches follows from its number, in the same way as in ../maps.ts; each loop returns a checksum of what it found.
import { HISTOGRAM_RECORD_SIZE, HistogramRecord } from '../../../wasm-modules/assembly/gen/records';
import { allocate } from '../../../wasm-modules/assembly/lib/arena';
import { hashPair, seedHashes } from '../../../wasm-modules/assembly/lib/hash';
import { addSample, initHistograms, takeHistogram, writeHistogram } from '../../../wasm-modules/assembly/lib/histogram';
import { initTexts, internText, releaseText, textAddress } from '../../../wasm-modules/assembly/lib/intern';
import { OpenTable } from '../../../wasm-modules/assembly/lib/open-table';
import { RowPool } from '../../../wasm-modules/assembly/lib/row-pool';

@unmanaged
class FlowRow {
  keyHigh: u64;
  keyLow: u64;
  client: u32;
  server: u32;
}

/** A text of the benchmark. */
const TEXT_BYTES: u32 = 32;
const TEXT_LENGTH_MAX: u32 = 256;
const CHECKED_BYTE: usize = 16;
const SAMPLE_US_SPAN: u32 = 1 << 20;

let table: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
let size: u32 = 0;
let texts: usize = 0;
let record: usize = 0;

/** 32-bit finalizer of MurmurHash3. */
function mix(value: u32): u32 {
  let hash = value;
  hash = (hash ^ (hash >> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >> 13)) * 0xc2b2ae35;
  return hash ^ (hash >> 16);
}

function pick(operation: u32): u32 {
  return mix(operation) % size;
}

export function table_fill(count: u32): void {
  seedHashes(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
  size = count;
  table = OpenTable.create(count + 1);
  rows = RowPool.create(offsetof<FlowRow>(), count + 1);
  for (let index: u32 = 0; index < count; index++) add(index);
}

export function table_lookup(from: u32, count: u32): u32 {
  let sum: u32 = 0;
  for (let operation = from; operation < from + count; operation++) {
    const row = find(pick(operation));
    sum += changetype<FlowRow>(rows.at(row)).client;
  }
  return sum;
}

/** Of each connection: the first end finds no flow and makes one, the second end finds it, and the oldest flow goes. */
export function table_join(from: u32, count: u32): u32 {
  let sum: u32 = 0;
  for (let operation = from; operation < from + count; operation++) {
    const index = size + operation;
    if (find(index) !== 0) unreachable();
    add(index);
    const flow = changetype<FlowRow>(rows.at(find(index)));
    flow.server = operation;
    sum += flow.client ^ flow.server;
    drop(operation);
  }
  return sum;
}

function add(index: u32): void {
  const row = rows.take();
  const flow = changetype<FlowRow>(rows.at(row));
  flow.keyHigh = mix(index);
  flow.keyLow = mix(~index);
  flow.client = index;
  flow.server = 0;
  if (row === 0 || !table.insert(hashPair(flow.keyHigh, flow.keyLow), row)) unreachable();
}

function find(index: u32): u32 {
  const high: u64 = mix(index);
  const low: u64 = mix(~index);
  for (let row = table.first(hashPair(high, low)); row !== 0; row = table.next()) {
    const flow = changetype<FlowRow>(rows.at(row));
    if (flow.keyHigh === high && flow.keyLow === low) return row;
  }
  return 0;
}

function drop(index: u32): void {
  const row = find(index);
  table.remove(hashPair(mix(index), mix(~index)), row);
  rows.give(row);
}

/** Each histogram has a sample from the start. */
export function histogram_fill(count: u32): void {
  size = count;
  record = allocate(2048);
  initHistograms(count);
  for (let index: u32 = 0; index < count; index++) addSample(takeHistogram(), 1 + index);
}

export function histogram_add(from: u32, count: u32): u32 {
  for (let operation = from; operation < from + count; operation++) {
    addSample(1 + pick(operation), 1 + (mix(~operation) & (SAMPLE_US_SPAN - 1)));
  }
  return 0;
}

/** Of every count with its histogram and its bucket. */
export function histogram_checksum(): u32 {
  let sum: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    writeHistogram(1 + index, record);
    const head = changetype<HistogramRecord>(record);
    for (let bucket: u32 = 0; bucket < head.bucketCount; bucket++) {
      const counted = load<u32>(record + HISTOGRAM_RECORD_SIZE + <usize>bucket * 4);
      sum += counted * mix(index + <u32>(head.offset + <i32>bucket));
    }
  }
  return sum;
}

/** Room for the texts, 32 bytes each, which the host writes before `text_fill`. */
export function text_space(count: u32): usize {
  size = count;
  texts = allocate(<usize>count * TEXT_BYTES);
  return texts;
}

export function text_fill(): void {
  seedHashes(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
  initTexts(size, 1 << 30);
  for (let index: u32 = 0; index < size; index++) if (intern(index) === 0) unreachable();
}

export function text_intern(from: u32, count: u32): u32 {
  let sum: u32 = 0;
  for (let operation = from; operation < from + count; operation++) {
    const text = intern(pick(operation));
    sum += load<u32>(textAddress(text) + CHECKED_BYTE);
    releaseText(text);
  }
  return sum;
}

function intern(index: u32): u32 {
  return internText(texts + <usize>index * TEXT_BYTES, TEXT_BYTES, TEXT_LENGTH_MAX);
}

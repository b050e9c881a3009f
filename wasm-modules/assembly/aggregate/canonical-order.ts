// The order of an output, the same whatever the seed, the order of arrival and the number of workers:
//
//   points:  level, client node, server node, protocol, server port
//   tallies: as the points of their rows, then kind, side, code, label by its UTF-8 bytes; those of hosts last
//   nodes:   id, role, zone, kind, host, address, process, container; texts by their UTF-8 bytes, a prefix first
//
// A node's index in an output is its place in this order, so within an output points are ordered by integers. All rows of a role
// pair belong to one worker, so the outputs of several workers merge by comparing keys; only (other) may occur in several: points
// with equal keys are added (active too; `from_window` and minima by the least, maxima by the greatest, histograms by index).

import { compareNodes, NODE_COUNT_MAX, nodeAt } from '../enrich/nodes';
import { compareLabels, labelAt } from '../enrich/tally-labels';
import { giveBlock, takeBlock } from '../lib/arena';
import { textAddress, textBytes } from '../lib/intern';

/** Bits of a node index in the key of a point; two of them, the protocol and the port are 64 bits. */
const NODE_INDEX_BITS: u32 = 20;

const NODE_INDEX_MASK: u32 = (1 << NODE_INDEX_BITS) - 1;
if (NODE_COUNT_MAX > 1 << NODE_INDEX_BITS) ERROR('the index of a node must fit NODE_INDEX_BITS');

/** What is sorted: a u64 key, a u32 handle, and 4 bytes that go along. */
export const ENTRY_BYTES: usize = 16;

const DIGIT_COUNT: u32 = 8;
const DIGIT_VALUES: usize = 256;
/** Counts of the 8 digits of a key. */
const digits = memory.data(8 * 256 * 4, 16);

export function entryAt(entries: usize, index: u32): usize {
  return entries + <usize>index * ENTRY_BYTES;
}

export function entryHandle(entry: usize): u32 {
  return load<u32>(entry, 8);
}

export function storeEntry(entry: usize, key: u64, handle: u32): void {
  store<u64>(entry, key);
  store<u32>(entry, handle, 8);
}

/** Key of a point by the indexes of its nodes; `service` = server port | protocol << 16. */
export function pointKey(clientIndex: u32, serverIndex: u32, service: u32): u64 {
  return ((<u64>clientIndex) << (NODE_INDEX_BITS + 24)) | ((<u64>serverIndex) << 24) | service;
}

export function clientIndexOf(key: u64): u32 {
  return <u32>(key >>> (NODE_INDEX_BITS + 24));
}

export function serverIndexOf(key: u64): u32 {
  return <u32>(key >>> 24) & NODE_INDEX_MASK;
}

/** Sorts entries by key: least significant digit first, digits that all keys share are passed over. */
export function sortByKey(entries: usize, count: u32): void {
  if (count < 2) return;
  const bytes = <usize>count * ENTRY_BYTES;
  const spare = takeBlock(bytes);
  if (spare === 0) unreachable();
  countDigits(entries, count);
  let from = entries;
  let to = spare;
  for (let digit: u32 = 0; digit < DIGIT_COUNT; digit++) {
    const counts = digits + <usize>digit * DIGIT_VALUES * 4;
    if (isShared(counts, load<u64>(from) >> (digit * 8), count)) continue;
    distribute(from, to, count, digit, counts);
    const swap = from;
    from = to;
    to = swap;
  }
  if (from !== entries) memory.copy(entries, from, bytes);
  giveBlock(spare, bytes);
}

/** Sorts entries whose handles are nodes. Sets the keys. */
export function sortNodes(entries: usize, count: u32): void {
  if (count < 2) return;
  for (let index: u32 = 0; index < count; index++) {
    const entry = entryAt(entries, index);
    store<u64>(entry, textPrefix(nodeAt(entryHandle(entry)).id));
  }
  const bytes = <usize>count * ENTRY_BYTES;
  const spare = takeBlock(bytes);
  if (spare === 0) unreachable();
  mergeSort(entries, spare, count, compareNodes);
  giveBlock(spare, bytes);
}

/** Sorts entries whose handles are labels. */
export function sortLabels(entries: usize, count: u32): void {
  if (count < 2) return;
  for (let index: u32 = 0; index < count; index++) {
    const entry = entryAt(entries, index);
    store<u64>(entry, textPrefix(labelAt(entryHandle(entry)).text));
  }
  const bytes = <usize>count * ENTRY_BYTES;
  const spare = takeBlock(bytes);
  if (spare === 0) unreachable();
  mergeSort(entries, spare, count, compareLabels);
  giveBlock(spare, bytes);
}

/** The first bytes of a text as a number that compares alike, so that most comparisons touch no text. */
function textPrefix(text: u32): u64 {
  const bytes = textBytes(text);
  if (bytes >= 8) return bswap<u64>(load<u64>(textAddress(text)));
  let prefix: u64 = 0;
  for (let index: u32 = 0; index < bytes; index++)
    prefix |= (<u64>load<u8>(textAddress(text) + index)) << (56 - index * 8);
  return prefix;
}

type Compare = (left: u32, right: u32) => i32;

function isBefore(left: usize, right: usize, compare: Compare): bool {
  const leftKey = load<u64>(left);
  const rightKey = load<u64>(right);
  return leftKey !== rightKey ? leftKey < rightKey : compare(entryHandle(left), entryHandle(right)) < 0;
}

/** Bottom up: runs of 1, 2, 4 ... entries are merged from one array into the other. */
function mergeSort(entries: usize, spare: usize, count: u32, compare: Compare): void {
  let from = entries;
  let to = spare;
  for (let run: u32 = 1; run < count; run *= 2) {
    for (let start: u32 = 0; start < count; start += 2 * run) {
      mergeRuns(from, to, start, min(start + run, count), min(start + 2 * run, count), compare);
    }
    const swap = from;
    from = to;
    to = swap;
  }
  if (from !== entries) memory.copy(entries, from, <usize>count * ENTRY_BYTES);
}

function mergeRuns(from: usize, to: usize, start: u32, middle: u32, end: u32, compare: Compare): void {
  let left = start;
  let right = middle;
  for (let index = start; index < end; index++) {
    const takeLeft = left < middle && (right >= end || !isBefore(entryAt(from, right), entryAt(from, left), compare));
    memory.copy(entryAt(to, index), entryAt(from, takeLeft ? left++ : right++), ENTRY_BYTES);
  }
}

function countDigits(entries: usize, count: u32): void {
  memory.fill(digits, 0, <usize>DIGIT_COUNT * DIGIT_VALUES * 4);
  for (let index: u32 = 0; index < count; index++) {
    let key = load<u64>(entryAt(entries, index));
    for (let digit: u32 = 0; digit < DIGIT_COUNT; digit++) {
      const at = digits + (<usize>digit * DIGIT_VALUES + <usize>(key & 255)) * 4;
      store<u32>(at, load<u32>(at) + 1);
      key >>>= 8;
    }
  }
}

function isShared(counts: usize, value: u64, count: u32): bool {
  return load<u32>(counts + <usize>(value & 255) * 4) === count;
}

function distribute(from: usize, to: usize, count: u32, digit: u32, counts: usize): void {
  let start: u32 = 0;
  for (let value: usize = 0; value < DIGIT_VALUES; value++) {
    const size = load<u32>(counts + value * 4);
    store<u32>(counts + value * 4, start);
    start += size;
  }
  for (let index: u32 = 0; index < count; index++) {
    const entry = entryAt(from, index);
    const at = counts + <usize>((load<u64>(entry) >> (digit * 8)) & 255) * 4;
    const place = load<u32>(at);
    store<u32>(at, place + 1);
    memory.copy(entryAt(to, place), entry, ENTRY_BYTES);
  }
}

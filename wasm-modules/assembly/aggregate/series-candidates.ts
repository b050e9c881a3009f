// Rows of levels that are over their budget, with what each criterion goes by (series-budget.ts). What is needed of a row is taken from it once; then
// a criterion is one pass over candidates, and a digit one over those keys that may still have a place.

import { allocate, giveBlock, takeBlockAsIs } from '../lib/arena';
import { foldRow, isFoldTarget } from './fold';
import { HASH_BITS, hashOfNames } from './names-hash';
import { bytesOf, failuresOf } from './row-sums';
import { takeRow } from './slice';
import { LEVEL_COUNT, listOf, rowAt } from './tree';

export enum Criterion {
  Failures,
  Newness,
  Bytes,
}

const SCORE_MAX: u64 = (1 << 44) - 2;
const KEY_BYTES: usize = 8;
/** Keys or candidates that are looked at in the time of a row. */
const KEYS_PER_ROW: u32 = 8;
export const DIGIT_VALUES: u32 = 256;
/** Bytes of the counts of a level, one of each value of a digit. */
export const COUNTS_BYTES: usize = <usize>DIGIT_VALUES * 4;
const HASH_MASK: u64 = (1 << HASH_BITS) - 1;

@unmanaged
class Candidate {
  bytesKey: u64;
  failures: u64;
  since: u32;
  /** 0 = it has a place. */
  row: u32;

  /** By `criterion`: the score above the hash of its names; 0 = it is no candidate. */
  keyBy(criterion: i32): u64 {
    if (this.row === 0) return 0;
    if (criterion === Criterion.Bytes) return this.bytesKey;
    const score: u64 = criterion === Criterion.Failures ? this.failures : this.since;
    return score === 0 ? 0 : keyOf(score, this.bytesKey & HASH_MASK);
  }
}

@unmanaged
export class Choice {
  /** The least key that has a place, as far as its digits are known. */
  leastKey: u64;
  /** Bits that all its `keys` have, and that any of them has. */
  keysAnd: u64;
  keysOr: u64;
  /** 1 = over its budget in this window. */
  isOver: u32;
  /** 1 = all digits of `leastKey` are known. */
  isDecided: u32;
  /** Places of the criterion at hand, and how many of them are taken by keys above `leastKey`; over all workers, like `chosen` of all criteria. */
  places: u32;
  taken: u32;
  chosen: u32;
  /** Where this worker's candidates begin, and how many they are. */
  first: u32;
  count: u32;
  /** How many of its `keys` begin like the least key, as far as they were looked at. */
  keyCount: u32;

  beginKeys(): void {
    this.keyCount = 0;
    this.keysAnd = u64.MAX_VALUE;
    this.keysOr = 0;
  }

  addKey(key: u64): void {
    store<u64>(keyAt(this, this.keyCount++), key);
    this.keysAnd &= key;
    this.keysOr |= key;
  }
}

/** A Choice of each level. */
let choices: usize = 0;
let candidates: usize = 0;
/** Of each level, where its candidates begin: the keys by the criterion at hand of those that may have a place, u64 each. */
let keys: usize = 0;
let candidateCount: u32 = 0;
/** The row, candidate or key that is next. */
let level: u32 = 0;
let index: u32 = 0;
/** What the count of a digit leaves of a level's keys: so many, and the bits that all of them and any of them have. */
let kept: u32 = 0;
let keptAnd: u64 = 0;
let keptOr: u64 = 0;

export function initCandidates(): void {
  choices = allocate(<usize>LEVEL_COUNT * offsetof<Choice>());
  level = 0;
  index = 0;
}

export function choiceOf(level: u32): Choice {
  return changetype<Choice>(choices + <usize>level * offsetof<Choice>());
}

/** Room for the candidates of the levels that are over their budget. Traps when memory is used up. */
export function takeCandidates(): void {
  candidateCount = 0;
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    const choice = choiceOf(each);
    choice.first = candidateCount;
    choice.count = 0;
    if (choice.isOver !== 0) candidateCount += listOf(each).count;
  }
  candidates = takeBlockAsIs(<usize>candidateCount * offsetof<Candidate>());
  keys = takeBlockAsIs(<usize>candidateCount * KEY_BYTES);
  if (candidates === 0 || keys === 0) unreachable();
}

export function giveCandidates(): void {
  giveBlock(candidates, <usize>candidateCount * offsetof<Candidate>());
  giveBlock(keys, <usize>candidateCount * KEY_BYTES);
}

function candidateAt(choice: Choice, index: u32): Candidate {
  return changetype<Candidate>(candidates + <usize>(choice.first + index) * offsetof<Candidate>());
}

function keyAt(choice: Choice, index: u32): usize {
  return keys + <usize>(choice.first + index) * KEY_BYTES;
}

function keyOf(score: u64, hash: u64): u64 {
  return (min(score, SCORE_MAX) << HASH_BITS) | hash;
}

/** Their keys are by Criterion.Failures then. True when all rows are through, as below. */
export function collectCandidates(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0) continue;
    if (index === 0) choice.beginKeys();
    const list = listOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const handle = list.at(index);
      if (!isFoldTarget(rowAt(handle))) collect(choice, handle);
    }
  }
  level = 0;
  return true;
}

function collect(choice: Choice, handle: u32): void {
  const row = rowAt(handle);
  const candidate = candidateAt(choice, choice.count++);
  candidate.bytesKey = keyOf(bytesOf(row) + 1, hashOfNames(row));
  candidate.failures = failuresOf(row);
  candidate.since = row.since;
  candidate.row = handle;
  if (candidate.failures !== 0) choice.addKey(candidate.keyBy(Criterion.Failures));
}

/** Counts this worker's keys that begin like the least key, by digit `digit`, and leaves out the others. `counts`: of the level 0. */
export function countDigit(counts: usize, digit: u32): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0 || choice.isDecided !== 0) continue;
    const ofLevel = counts + <usize>level * COUNTS_BYTES;
    if (index === 0) {
      memory.fill(ofLevel, 0, COUNTS_BYTES);
      kept = 0;
      keptAnd = u64.MAX_VALUE;
      keptOr = 0;
      if (countShared(choice, ofLevel, digit)) continue;
    }
    if (!countKeys(choice, ofLevel, digit)) return false;
    choice.keyCount = kept;
    choice.keysAnd = keptAnd;
    choice.keysOr = keptOr;
  }
  level = 0;
  return true;
}

/** Keys that do not differ in this digit and those before it need not be looked at. False when they do. */
function countShared(choice: Choice, counts: usize, digit: u32): bool {
  if (choice.keyCount === 0) return true;
  if ((choice.keysAnd ^ choice.keysOr) >>> (digit * 8) !== 0) return false;
  if (beginning(choice.keysAnd, digit) === choice.leastKey)
    store<u32>(digitCount(counts, choice.keysAnd, digit), choice.keyCount);
  else choice.keyCount = 0;
  return true;
}

function countKeys(choice: Choice, counts: usize, digit: u32): bool {
  for (; index < choice.keyCount; index++) {
    if (index % KEYS_PER_ROW === 0 && !takeRow()) return false;
    const key = load<u64>(keyAt(choice, index));
    if (beginning(key, digit) !== choice.leastKey) continue;
    store<u64>(keyAt(choice, kept++), key);
    keptAnd &= key;
    keptOr |= key;
    const at = digitCount(counts, key, digit);
    store<u32>(at, load<u32>(at) + 1);
  }
  return true;
}

/** The digits before `digit`. */
function beginning(key: u64, digit: u32): u64 {
  return (key >>> 1) >>> (digit * 8 + 7);
}

function digitCount(counts: usize, key: u64, digit: u32): usize {
  return counts + (<usize>(key >>> (digit * 8)) & 255) * 4;
}

/** Gives those a place that have one by `criterion`; the keys of the others are by the next one then. */
export function chooseCandidates(criterion: i32): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0) continue;
    if (index === 0) choice.beginKeys();
    for (; index < choice.count; index++) {
      if (index % KEYS_PER_ROW === 0 && !takeRow()) return false;
      const candidate = candidateAt(choice, index);
      if (candidate.keyBy(criterion) >= choice.leastKey) candidate.row = 0;
      const key = candidate.keyBy(criterion + 1);
      if (key !== 0) choice.addKey(key);
    }
  }
  level = 0;
  return true;
}

/** Folds the rows that have no place by the last criterion either. */
export function foldOthers(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0) continue;
    for (; index < choice.count; index++) {
      if (!takeRow()) return false;
      const candidate = candidateAt(choice, index);
      if (candidate.row !== 0 && candidate.bytesKey < choice.leastKey) foldRow(rowAt(candidate.row));
    }
  }
  level = 0;
  return true;
}

// Which rows of a level are put out when those of all workers together are more than its budget: a quarter of it by failures, a quarter by
// newness, and the rest, at least half, by bytes. Each criterion takes the greatest of what those before have left.
//
//   rows of each level ──▶ all workers: is a level over its budget?   mostly none is, and that was all
//   the scores of each row, which is then not looked at any more until it is folded
//   criterion by criterion, a key for each row: its score above HASH_BITS of the hash of its names
//   digit by digit, from the first:  rows by that digit of their keys ──▶ all workers: the same digit of the least key that has a place
//
// Every worker hears the same counts and so comes to the same least key: the choice does not depend on their number. Rows whose keys are
// equal are taken or left together. A worker may be one exchange ahead of another, so the counts of two are kept.

import { nodeAt } from '../enrich/nodes';
import { RecordKind, SERIES_COUNTS_SIZE, SeriesCounts } from '../gen/records';
import { allocate, giveBlock, takeBlockAsIs } from '../lib/arena';
import { textAddress, textBytes } from '../lib/intern';
import { beginRecord } from '../lib/outbox';
import { beginFolding, foldRow, isFoldTarget } from './fold';
import { bytesOf, failuresOf } from './row-sums';
import { takeRow } from './slice';
import { foldTallies } from './tallies';
import { LEVEL_COUNT, listOf, Row, rowAt } from './tree';

enum Criterion {
  Failures,
  Newness,
  Bytes,
  End,
}

/** What the next slice does. */
enum Stage {
  Begin,
  AwaitRows,
  Collect,
  Score,
  CountDigit,
  AwaitDigit,
  Choose,
  Fold,
  FoldTallies,
}

const DIGIT_VALUES: u32 = 256;
const LAST_DIGIT: u32 = 7;
const HASH_BITS: u64 = 20;
const HASH_MASK: u32 = (1 << 20) - 1;
const SCORE_MAX: u64 = (1 << 44) - 2;
/** In `Row.namesHash`, whose hash may be 0. */
const IS_HASHED: u32 = 1 << 31;
const FNV_OFFSET: u32 = 0x811c9dc5;
const FNV_PRIME: u32 = 0x01000193;
/** Keys that are counted in the time of a row. */
const KEYS_PER_ROW: u32 = 8;
const COUNTS_BYTES: usize = <usize>DIGIT_VALUES * 4;
const KEY_BYTES: usize = 8;

/** A row of a level that is over its budget, with what each criterion goes by; 0 = it is no candidate. */
@unmanaged
class Candidate {
  failures: u64;
  bytes: u64;
  since: u32;
  /** HASH_BITS of the hash of its names. */
  hash: u32;
  row: u32;
  isChosen: u32;

  /** By the criterion at hand; 0 = it is no candidate. */
  get key(): u64 {
    const score = this.isChosen !== 0 ? 0 : this.score;
    return score === 0 ? 0 : (min(score, SCORE_MAX) << HASH_BITS) | this.hash;
  }

  private get score(): u64 {
    if (criterion === Criterion.Failures) return this.failures;
    return criterion === Criterion.Newness ? this.since : this.bytes;
  }
}

@unmanaged
class Choice {
  /** The least key that has a place, as far as its digits are known. */
  leastKey: u64;
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
}

let budget: u32 = 0;
let outputLevels: u32 = 0;
let ownWorker: u32 = 0;
let workers: u32 = 1;
let stage: Stage = Stage.Begin;
/** A Choice of each level. */
let choices: usize = 0;
/** Counts of this worker by level, and those of all workers, of two rounds. */
let own: usize = 0;
let all: usize = 0;
let round: u32 = 0;
/** Records of the round at hand and of the next one that have come, by the lowest bit of the round. */
let heardEven: u32 = 0;
let heardOdd: u32 = 0;
let expected: u32 = 0;
let candidates: usize = 0;
let candidateCount: u32 = 0;
/** Of each level, where its candidates begin: the keys by the criterion at hand of those that may have a place, u64 each. */
let keys: usize = 0;
let keptKeys: u32 = 0;
let criterion: i32 = Criterion.Failures;
let digit: u32 = 0;
/** The row that is next. */
let level: u32 = 0;
let index: u32 = 0;

/** `seriesBudget`: rows of a level that all workers put out, beside those of (other); 0 = as many as there are. */
export function initSeriesBudget(worker: u32, workerCount: u32, levels: u32, seriesBudget: u32): void {
  budget = seriesBudget;
  outputLevels = levels;
  ownWorker = worker;
  workers = workerCount;
  stage = Stage.Begin;
  choices = allocate(<usize>LEVEL_COUNT * offsetof<Choice>());
  own = allocate(<usize>LEVEL_COUNT * COUNTS_BYTES);
  all = allocate(<usize>LEVEL_COUNT * COUNTS_BYTES * 2);
  round = 0;
  heardEven = 0;
  heardOdd = 0;
  level = 0;
  index = 0;
}

/** True while what other workers have to say is missing. */
export function isAwaitingCounts(): bool {
  return (stage === Stage.AwaitRows || stage === Stage.AwaitDigit) && heard() !== expected;
}

/** `record`: the SeriesCounts behind its header, from another worker. */
export function receiveSeriesCounts(record: usize): void {
  const counts = changetype<SeriesCounts>(record);
  addCounts(countsOfAll(counts.round, counts.level), record + SERIES_COUNTS_SIZE);
  if ((counts.round & 1) === 0) heardEven++;
  else heardOdd++;
}

/** Folds what the budget of its level leaves out of the window `closed`, slice by slice; true when that is done. */
export function boundSeries(closed: u32): bool {
  while (true) {
    switch (stage) {
      case Stage.Begin: {
        beginFolding();
        if (budget === 0) return true;
        tellRows();
        stage = Stage.AwaitRows;
        break;
      }
      case Stage.AwaitRows: {
        if (isAwaitingCounts()) return false;
        if (!findExceeded()) {
          stage = Stage.Begin;
          return true;
        }
        stage = Stage.Collect;
        break;
      }
      case Stage.Collect: {
        if (!collectCandidates()) return false;
        criterion = Criterion.Failures;
        beginCriterion();
        stage = Stage.Score;
        break;
      }
      case Stage.Score: {
        if (!scoreCandidates()) return false;
        stage = Stage.CountDigit;
        break;
      }
      case Stage.CountDigit: {
        if (!countDigit()) return false;
        tellDigit();
        stage = Stage.AwaitDigit;
        break;
      }
      case Stage.AwaitDigit: {
        if (isAwaitingCounts()) return false;
        stage = takeDigit() ? Stage.Choose : Stage.CountDigit;
        break;
      }
      case Stage.Choose: {
        if (!chooseCandidates()) return false;
        criterion++;
        if (criterion < Criterion.End) beginCriterion();
        stage = criterion < Criterion.End ? Stage.Score : Stage.Fold;
        break;
      }
      case Stage.Fold: {
        if (!foldOthers()) return false;
        giveCandidates();
        stage = Stage.FoldTallies;
        break;
      }
      default: {
        if (!foldTallies(closed)) return false;
        stage = Stage.Begin;
        return true;
      }
    }
  }
}

function choiceOf(level: u32): Choice {
  return changetype<Choice>(choices + <usize>level * offsetof<Choice>());
}

function isPutOut(level: u32): bool {
  return ((outputLevels >> level) & 1) !== 0;
}

/** The first exchange of a window: rows of all levels, in one record. */
function tellRows(): void {
  memory.fill(own, 0, COUNTS_BYTES);
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    if (isPutOut(each)) store<u32>(own + <usize>each * 4, listOf(each).count);
  }
  expected = workers - 1;
  tellCounts(0);
}

/** Finds the levels that are over their budget, and room for their rows; false when none is. */
function findExceeded(): bool {
  const rows = countsOfAll(round, 0);
  candidateCount = 0;
  let isAnyOver = false;
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    const choice = choiceOf(each);
    choice.isOver = load<u32>(rows + <usize>each * 4) > budget ? 1 : 0;
    choice.first = candidateCount;
    choice.count = 0;
    choice.chosen = 0;
    if (choice.isOver === 0) continue;
    isAnyOver = true;
    candidateCount += listOf(each).count;
  }
  endRound();
  if (!isAnyOver) return false;
  candidates = takeBlockAsIs(<usize>candidateCount * offsetof<Candidate>());
  keys = takeBlockAsIs(<usize>candidateCount * KEY_BYTES);
  if (candidates === 0 || keys === 0) unreachable();
  return true;
}

function giveCandidates(): void {
  giveBlock(candidates, <usize>candidateCount * offsetof<Candidate>());
  giveBlock(keys, <usize>candidateCount * KEY_BYTES);
}

function candidateAt(choice: Choice, index: u32): Candidate {
  return changetype<Candidate>(candidates + <usize>(choice.first + index) * offsetof<Candidate>());
}

function keyAt(choice: Choice, index: u32): usize {
  return keys + <usize>(choice.first + index) * KEY_BYTES;
}

function collectCandidates(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0) continue;
    const list = listOf(level);
    for (; index < list.count; index++) {
      if (!takeRow()) return false;
      const handle = list.at(index);
      const row = rowAt(handle);
      if (isFoldTarget(row)) continue;
      const candidate = candidateAt(choice, choice.count++);
      candidate.failures = failuresOf(row);
      candidate.bytes = bytesOf(row) + 1;
      candidate.since = row.since;
      candidate.hash = hashOfNames(row);
      candidate.row = handle;
      candidate.isChosen = 0;
    }
  }
  level = 0;
  return true;
}

function hashOfNames(row: Row): u32 {
  if (row.namesHash === 0) row.namesHash = hashNames(row) | IS_HASHED;
  return row.namesHash & HASH_MASK;
}

/** FNV-1a, 32 bits, of what each end is called and of the service, folded to HASH_BITS. */
function hashNames(row: Row): u32 {
  let hash = hashEnd(row.serverNode, hashEnd(row.clientNode, FNV_OFFSET));
  for (let shift: i32 = 16; shift >= 0; shift -= 8) hash = hashByte(hash, (row.service >>> shift) & 255);
  return (hash ^ (hash >>> 20)) & HASH_MASK;
}

function hashEnd(node: u32, before: u32): u32 {
  const end = nodeAt(node);
  return hashText(end.zone, hashText(end.role, hashText(end.id, before)));
}

/** A byte 0 ends a text. */
function hashText(text: u32, before: u32): u32 {
  let hash = before;
  const address = textAddress(text);
  const bytes = textBytes(text);
  for (let at: u32 = 0; at < bytes; at++) hash = hashByte(hash, load<u8>(address + at));
  return hashByte(hash, 0);
}

function hashByte(hash: u32, byte: u32): u32 {
  return (hash ^ byte) * FNV_PRIME;
}

function beginCriterion(): void {
  digit = LAST_DIGIT;
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    const choice = choiceOf(each);
    choice.leastKey = 0;
    choice.taken = 0;
    choice.isDecided = 0;
    choice.places = criterion === Criterion.Bytes ? budget - choice.chosen : budget / 4;
  }
}

function scoreCandidates(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0) continue;
    if (index === 0) choice.keyCount = 0;
    for (; index < choice.count; index++) {
      if (index % KEYS_PER_ROW === 0 && !takeRow()) return false;
      const key = candidateAt(choice, index).key;
      if (key !== 0) store<u64>(keyAt(choice, choice.keyCount++), key);
    }
  }
  level = 0;
  return true;
}

/** Counts this worker's keys that begin like the least key, by their next digit, and leaves out the others. */
function countDigit(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0 || choice.isDecided !== 0) continue;
    const counts = own + <usize>level * COUNTS_BYTES;
    if (index === 0) {
      memory.fill(counts, 0, COUNTS_BYTES);
      keptKeys = 0;
    }
    for (; index < choice.keyCount; index++) {
      if (index % KEYS_PER_ROW === 0 && !takeRow()) return false;
      const key = load<u64>(keyAt(choice, index));
      if ((key >>> 1) >>> (digit * 8 + 7) !== choice.leastKey) continue;
      store<u64>(keyAt(choice, keptKeys++), key);
      const at = counts + (<usize>(key >>> (digit * 8)) & 255) * 4;
      store<u32>(at, load<u32>(at) + 1);
    }
    choice.keyCount = keptKeys;
  }
  level = 0;
  return true;
}

function tellDigit(): void {
  expected = 0;
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    const choice = choiceOf(each);
    if (choice.isOver === 0 || choice.isDecided !== 0) continue;
    tellCounts(each);
    expected += workers - 1;
  }
}

/** The next digit of the least keys; true when it was the last one of all levels. */
function takeDigit(): bool {
  let isLast = true;
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    const choice = choiceOf(each);
    if (choice.isOver === 0 || choice.isDecided !== 0) continue;
    takeDigitOf(choice, countsOfAll(round, each));
    if (choice.isDecided === 0) isLast = false;
  }
  digit--;
  endRound();
  return isLast;
}

function takeDigitOf(choice: Choice, counts: usize): void {
  for (let value: i32 = <i32>DIGIT_VALUES - 1; value >= 0; value--) {
    const keys = load<u32>(counts + <usize>value * 4);
    if (choice.taken + keys <= choice.places) {
      choice.taken += keys;
      continue;
    }
    choice.leastKey = (choice.leastKey << 8) | value;
    if (digit !== 0) return;
    choice.leastKey++;
    choice.isDecided = 1;
    return;
  }
  // There is a place for every key, which shows at the first digit.
  choice.leastKey = 1;
  choice.isDecided = 1;
}

function chooseCandidates(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0) continue;
    for (; index < choice.count; index++) {
      if (index % KEYS_PER_ROW === 0 && !takeRow()) return false;
      const candidate = candidateAt(choice, index);
      if (candidate.key >= choice.leastKey) candidate.isChosen = 1;
    }
    choice.chosen += choice.taken;
  }
  level = 0;
  return true;
}

function foldOthers(): bool {
  for (; level < LEVEL_COUNT; level++, index = 0) {
    const choice = choiceOf(level);
    if (choice.isOver === 0) continue;
    for (; index < choice.count; index++) {
      if (!takeRow()) return false;
      const candidate = candidateAt(choice, index);
      if (candidate.isChosen === 0) foldRow(rowAt(candidate.row));
    }
  }
  level = 0;
  return true;
}

/** This worker's counts of a level to all workers, itself included. */
function tellCounts(level: u32): void {
  const counts = own + <usize>level * COUNTS_BYTES;
  for (let to: u32 = 0; to < workers; to++) {
    if (to === ownWorker) continue;
    const record = beginRecord(to, RecordKind.SeriesCounts, SERIES_COUNTS_SIZE + <u32>COUNTS_BYTES);
    const told = changetype<SeriesCounts>(record);
    told.round = round;
    told.level = level;
    memory.copy(record + SERIES_COUNTS_SIZE, counts, COUNTS_BYTES);
  }
  addCounts(countsOfAll(round, level), counts);
}

function countsOfAll(round: u32, level: u32): usize {
  return all + (<usize>(round & 1) * LEVEL_COUNT + level) * COUNTS_BYTES;
}

function addCounts(to: usize, counts: usize): void {
  for (let at: usize = 0; at < COUNTS_BYTES; at += 4) store<u32>(to + at, load<u32>(to + at) + load<u32>(counts + at));
}

function heard(): u32 {
  return (round & 1) === 0 ? heardEven : heardOdd;
}

/** What comes next for these counts is two rounds ahead, when every worker has done with this one. */
function endRound(): void {
  memory.fill(countsOfAll(round, 0), 0, <usize>LEVEL_COUNT * COUNTS_BYTES);
  if ((round & 1) === 0) heardEven = 0;
  else heardOdd = 0;
  round++;
}

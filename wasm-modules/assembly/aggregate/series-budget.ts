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

import { RecordKind, SERIES_COUNTS_SIZE, SeriesCounts } from '../gen/records';
import { allocate } from '../lib/arena';
import { beginRecord } from '../lib/outbox';
import { beginFolding } from './fold';
import {
  Choice,
  COUNTS_BYTES,
  Criterion,
  choiceOf,
  chooseCandidates,
  collectCandidates,
  countDigit,
  DIGIT_VALUES,
  foldOthers,
  giveCandidates,
  initCandidates,
  takeCandidates,
} from './series-candidates';
import { foldTallies } from './tallies';
import { LEVEL_COUNT, listOf } from './tree';

/** What the next slice does. */
enum Stage {
  Begin,
  AwaitRows,
  Collect,
  CountDigit,
  AwaitDigit,
  Choose,
  Fold,
  FoldTallies,
}

const LAST_DIGIT: u32 = 7;

let budget: u32 = 0;
let outputLevels: u32 = 0;
let ownWorker: u32 = 0;
let workers: u32 = 1;
let stage: Stage = Stage.Begin;
/** Counts of this worker by level, and those of all workers, of two rounds. */
let own: usize = 0;
let all: usize = 0;
let round: u32 = 0;
/** Records of the round at hand and of the next one that have come, by the lowest bit of the round. */
let heardEven: u32 = 0;
let heardOdd: u32 = 0;
let expected: u32 = 0;
let criterion: i32 = Criterion.Failures;
let digit: u32 = 0;

/** `seriesBudget`: rows of a level that all workers put out, beside those of (other); 0 = as many as there are. */
export function initSeriesBudget(worker: u32, workerCount: u32, levels: u32, seriesBudget: u32): void {
  budget = seriesBudget;
  outputLevels = levels;
  ownWorker = worker;
  workers = workerCount;
  stage = Stage.Begin;
  initCandidates();
  own = allocate(<usize>LEVEL_COUNT * COUNTS_BYTES);
  all = allocate(<usize>LEVEL_COUNT * COUNTS_BYTES * 2);
  round = 0;
  heardEven = 0;
  heardOdd = 0;
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
        stage = Stage.CountDigit;
        break;
      }
      case Stage.CountDigit: {
        if (!countDigit(own, digit)) return false;
        tellDigit();
        stage = Stage.AwaitDigit;
        break;
      }
      case Stage.AwaitDigit: {
        if (isAwaitingCounts()) return false;
        if (!takeDigit()) stage = Stage.CountDigit;
        else stage = criterion === Criterion.Bytes ? Stage.Fold : Stage.Choose;
        break;
      }
      case Stage.Choose: {
        if (!chooseCandidates(criterion)) return false;
        criterion++;
        beginCriterion();
        stage = Stage.CountDigit;
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

/** Finds the levels that are over their budget; false when none is. */
function findExceeded(): bool {
  const rows = countsOfAll(round, 0);
  let isAnyOver = false;
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    const choice = choiceOf(each);
    choice.isOver = load<u32>(rows + <usize>each * 4) > budget ? 1 : 0;
    choice.chosen = 0;
    choice.taken = 0;
    if (choice.isOver !== 0) isAnyOver = true;
  }
  endRound();
  if (isAnyOver) takeCandidates();
  return isAnyOver;
}

function beginCriterion(): void {
  digit = LAST_DIGIT;
  for (let each: u32 = 0; each < LEVEL_COUNT; each++) {
    const choice = choiceOf(each);
    choice.leastKey = 0;
    choice.chosen += choice.taken;
    choice.taken = 0;
    choice.isDecided = 0;
    choice.places = criterion === Criterion.Bytes ? budget - choice.chosen : budget / 4;
  }
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

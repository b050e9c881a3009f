// Start and window's end of the aggregate stage: roll up, fold what the budgets leave out, write the output, forget what is idle.

import { closeEnrich } from '../enrich/lifecycle';
import { Level } from '../gen/records';
import { HISTOGRAM_COUNT_MAX, initHistograms } from '../lib/histogram';
import { giveHistograms, initAccumulation, rollUp } from './accumulation';
import { initChannelEdges, openChannelWindow } from './channel-edges';
import { expireEdges, initEdges } from './edges';
import { EDGE_COUNT_MAX, TALLY_COUNT_MAX } from './limits';
import { beginPiece } from './output-piece';
import { initProcessPairs } from './process-pairs';
import { boundSeries, initSeriesBudget, isAwaitingCounts } from './series-budget';
import { beginSlice } from './slice';
import { initTallies, rollUpTallies, settleTallies } from './tallies';
import { expireLeaves, initTree } from './tree';
import { initWindowOutput, windowOutputBytes, writeWindowOutput } from './window-output';

/** Masks of levels have bit `Level`. */
export const ALL_LEVELS: u32 = 0x7f;
/** Histograms of single nodes cost more than they tell. */
export const HISTOGRAM_LEVELS: u32 = ALL_LEVELS & ~((1 << Level.IdId) | (1 << Level.IdAz) | (1 << Level.AzId));

/** After `initEnrich`. Levels that are not put out are still kept: what is exported is the host's choice. Limits are for tests. */
export function initAggregate(
  worker: u32,
  workers: u32,
  openWindow: u32,
  outputLevels: u32 = ALL_LEVELS,
  histogramLevels: u32 = HISTOGRAM_LEVELS,
  edgeCountMax: u32 = EDGE_COUNT_MAX,
  histogramCountMax: u32 = HISTOGRAM_COUNT_MAX,
  tallyCountMax: u32 = TALLY_COUNT_MAX,
  seriesBudget: u32 = 0,
): void {
  initEdges(worker, workers, openWindow, edgeCountMax);
  initChannelEdges(openWindow);
  initTree(edgeCountMax, openWindow);
  initProcessPairs();
  initHistograms(histogramCountMax);
  initAccumulation(histogramLevels);
  initTallies(openWindow, histogramLevels, tallyCountMax);
  initSeriesBudget(worker, workers, outputLevels, seriesBudget);
  initWindowOutput(outputLevels);
  step = 0;
}

const LAST_STEP: u32 = 6;
let step: u32 = 0;

/**
 * Closes `window`, at most about `rows` rows in a call; true when that is done. What a call wrote of the WindowOutput is at `pieceAddress` until the
 * next one, and `pieceBytes` long. Nothing may be added to the window in between.
 */
export function aggregateClose(window: u32, rows: u32): bool {
  beginSlice(rows);
  beginPiece();
  while (step <= LAST_STEP) {
    if (!closeStep(window)) return false;
    step++;
  }
  step = 0;
  return true;
}

/** True while `aggregateClose` can do nothing before other workers' counts have come. What it has to say to them is in the outboxes. */
export function isCloseWaiting(): bool {
  return isAwaitingCounts();
}

function closeStep(window: u32): bool {
  switch (step) {
    case 0:
      return rollUp();
    case 1:
      return rollUpTallies();
    case 2:
      return boundSeries(window);
    case 3:
      return writeWindowOutput(window);
    case 4:
      return giveHistograms();
    case 5:
      return settleTallies(window);
    default:
      expireLeaves(window);
      expireEdges(window);
      closeEnrich(window);
      openChannelWindow(window + 1);
      return true;
  }
}

/** Bytes of the whole WindowOutput, from its first piece on. */
export function outputBytes(): u32 {
  return windowOutputBytes();
}

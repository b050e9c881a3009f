// What other workers send of flows goes to leaves that lie anywhere: the leaves of a group of flows, and their tallies when some follow, are loaded
// before the first of them is added, step by step for the whole group, so that the core waits for all rows of a step at once. What is looked at
// is a guess, on which no result depends.
import { keepLoads } from '../lib/keep-loads';
import { lastLeafOf } from './channel-edges';
import { tallyAt } from './tallies';
import { rowAt, touchRow } from './tree';

/** Tallies of a leaf that are looked at: a connection that came and went has about so many. */
const TALLIES_AHEAD: u32 = 8;

/** `handles`: of `size` edges of worker `from`, u32 each, which are overwritten. */
export function expectLeaves(from: u32, handles: usize, size: u32, withTallies: bool): void {
  let sum: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    const slot = handles + ((<usize>index) << 2);
    const leaf = lastLeafOf(from, load<u32>(slot));
    if (leaf !== 0) sum |= touchRow(rowAt(leaf));
    store<u32>(slot, leaf);
  }
  if (withTallies) sum |= touchTallies(handles, size);
  keepLoads(sum);
}

/** `rows`: of `size` leaves, u32 each, 0 = none, which become those of tallies. Returns what `keepLoads` must see. */
export function touchTallies(rows: usize, size: u32): u32 {
  let sum: u32 = 0;
  for (let index: u32 = 0; index < size; index++) {
    const slot = rows + ((<usize>index) << 2);
    if (load<u32>(slot) !== 0) store<u32>(slot, rowAt(load<u32>(slot)).tallies);
  }
  for (let step: u32 = 0; step < TALLIES_AHEAD; step++) {
    for (let index: u32 = 0; index < size; index++) {
      const slot = rows + ((<usize>index) << 2);
      if (load<u32>(slot) !== 0) store<u32>(slot, tallyAt(load<u32>(slot)).next);
    }
  }
  for (let index: u32 = 0; index < size; index++) sum |= load<u32>(rows + ((<usize>index) << 2));
  return sum;
}

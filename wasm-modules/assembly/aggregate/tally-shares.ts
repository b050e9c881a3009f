// Shares of the table of tallies: one agent can name any number of distinct ones, and must not take it all. Agents are counted by teller
// (lib/teller.ts), in a table of fixed size that forgets nobody; a share is large, so those of a fleet that fall together have room.
import { allocate } from '../lib/arena';

const TELLER_COUNT: usize = 256;

/** Rows of a teller, and those of them that have a label. */
@unmanaged
class Share {
  rows: u32;
  labelled: u32;
}

let shares: usize = 0;
let rowsMax: u32 = 0;
let labelledMax: u32 = 0;

/** A teller has half of `countMax` rows, of which half may have a label. */
export function initShares(countMax: u32): void {
  shares = allocate(TELLER_COUNT * offsetof<Share>());
  rowsMax = countMax / 2;
  labelledMax = countMax / 4;
}

function shareOf(teller: u8): Share {
  return changetype<Share>(shares + <usize>teller * offsetof<Share>());
}

export function mayTell(teller: u8): bool {
  return shareOf(teller).rows < rowsMax;
}

export function mayLabel(teller: u8): bool {
  return shareOf(teller).labelled < labelledMax;
}

export function takeShare(teller: u8, isLabelled: bool): void {
  const share = shareOf(teller);
  share.rows++;
  if (isLabelled) share.labelled++;
}

export function giveShare(teller: u8, isLabelled: bool): void {
  const share = shareOf(teller);
  share.rows--;
  if (isLabelled) share.labelled--;
}

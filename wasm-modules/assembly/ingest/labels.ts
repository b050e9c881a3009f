// The texts that a session announced for its tallies, by handle.

import { labelOfText, releaseLabel, retainLabel } from '../enrich/tally-labels';
import { giveBlock, growBlock } from '../lib/arena';
import { Session } from './session';

/** Handles of a session are below it. */
export const LABEL_HANDLE_MAX: u32 = 65_536;
const CAPACITY_FIRST: u32 = 64;

/** An announced text for which there was no room: its tallies are kept without it. */
const NO_LABEL: u32 = 0xffffffff;

/** True when a tally may name the label: 0, or announced. */
export function isKnownLabel(session: Session, handle: u32): bool {
  return handle === 0 || slotOf(session, handle) !== 0;
}

/** The label of an announced handle (enrich/tally-labels.ts), or 0. */
export function labelOfHandle(session: Session, handle: u32): u32 {
  const label = slotOf(session, handle);
  return label === NO_LABEL ? 0 : label;
}

/** Makes room for handles up to `handle`, which is below LABEL_HANDLE_MAX; false when memory is used up. */
export function ensureLabel(session: Session, handle: u32): bool {
  if (handle < session.labelCapacity) return true;
  let capacity = CAPACITY_FIRST;
  while (capacity <= handle) capacity *= 2;
  const oldBytes = (<usize>session.labelCapacity) << 2;
  const grown = growBlock(session.labels, oldBytes, oldBytes, (<usize>capacity) << 2);
  if (grown === 0) return false;
  session.labels = grown;
  session.labelCapacity = capacity;
  return true;
}

export function setLabel(session: Session, handle: u32, text: usize, bytes: u32): void {
  const label = labelOfText(text, bytes);
  retainLabel(label);
  replace(session, handle, label === 0 ? NO_LABEL : label);
}

export function endLabel(session: Session, handle: u32): void {
  replace(session, handle, 0);
}

export function giveLabels(session: Session): void {
  for (let handle: u32 = 1; handle < session.labelCapacity; handle++) endLabel(session, handle);
  if (session.labels !== 0) giveBlock(session.labels, (<usize>session.labelCapacity) << 2);
  session.labels = 0;
  session.labelCapacity = 0;
}

function slotOf(session: Session, handle: u32): u32 {
  return handle < session.labelCapacity ? load<u32>(session.labels + ((<usize>handle) << 2)) : 0;
}

function replace(session: Session, handle: u32, slot: u32): void {
  releaseLabel(labelOfHandle(session, handle));
  store<u32>(session.labels + ((<usize>handle) << 2), slot);
}

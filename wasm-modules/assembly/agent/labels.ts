// The texts that tallies name. What is known of one here is either its bytes or what the host can make a text of, a kernel address for
// example; equal ones have one handle. The host takes the new ones before the window is told that mentions them. A label without tallies
// for a while ends: first it is announced as ended, then its handle is free.
import { LabelKind, LabelToName } from '../gen/agent';
import { allocate, giveBlock, takeBlock } from '../lib/arena';
import { hashBytes, hashPair } from '../lib/hash';
import { OpenTable } from '../lib/open-table';
import { RowPool } from '../lib/row-pool';
import { LABEL_IDLE_NS, LABEL_TEXT_BYTES_MAX } from './limits';

@unmanaged
class LabelRow {
  /** Of the rows without a name yet. */
  next: u32; // 0
  /** agent.LabelKind; 0 = the row is free. */
  kind: u32; // 4
  /** Tallies that name it. */
  references: u32; // 8
  /** The window in which the last reference went, or the label was made. */
  idleSince: u32; // 12
  value: u64; // 16
  detail: u32; // 24
  tag: u32; // 28
  /** A block of its own, 0 without text. */
  text: u32; // 32
  textBytes: u32; // 36
}

if (offsetof<LabelRow>() !== 40) ERROR('LabelRow has 40 bytes');

/** Labels told to the host, or by it, in one call. */
const TO_NAME_COUNT_MAX: u32 = 256;
const ENDED_COUNT_MAX: u32 = 1024;

let byContent: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
let firstUnnamed: u32 = 0;
let toName: usize = 0;
let toNameCount: u32 = 0;
let ended: usize = 0;
let endedCount: u32 = 0;
let openWindow: u32 = 0;
let idleWindows: u32 = 0;
/** Asked for and not given, because the table or memory was full: their tallies have no label. */
export let labelsRefused: u64 = 0;

export function initLabels(countMax: u32): void {
  byContent = OpenTable.create(countMax);
  rows = RowPool.create(offsetof<LabelRow>(), countMax);
  toName = allocate(TO_NAME_COUNT_MAX * offsetof<LabelToName>());
  ended = allocate(ENDED_COUNT_MAX * 4);
}

function at(handle: u32): LabelRow {
  return changetype<LabelRow>(rows.at(handle));
}

export function labelCount(): u32 {
  return rows.live;
}

/** The window that is not told yet; the length of windows in nanoseconds. */
export function setLabelWindow(window: u32, windowNs: f64): void {
  openWindow = window;
  idleWindows = <u32>Math.ceil(LABEL_IDLE_NS / windowNs);
}

/** The handle of what the host will make a text of: `kind` (agent.LabelKind, not Text) says what `value` and `detail` are. 0 = refused. */
export function labelOf(kind: u32, value: u64, detail: u32 = 0): u32 {
  const tag = hashPair(value, ((<u64>kind) << 32) | detail);
  for (let handle = byContent.first(tag); handle !== 0; handle = byContent.next()) {
    const row = at(handle);
    if (row.kind === kind && row.value === value && row.detail === detail) return handle;
  }
  return add(kind, value, detail, tag);
}

/** The handle of UTF-8 text, cut to LABEL_TEXT_BYTES_MAX; it is copied. 0 = empty, or refused. */
export function labelOfText(address: usize, bytes: u32): u32 {
  const length = min(bytes, LABEL_TEXT_BYTES_MAX);
  if (length === 0) return 0;
  const tag = hashBytes(address, length);
  for (let handle = byContent.first(tag); handle !== 0; handle = byContent.next()) {
    const row = at(handle);
    if (row.kind !== LabelKind.Text || row.textBytes !== length) continue;
    if (memory.compare(row.text, address, length) === 0) return handle;
  }
  const text = takeBlock(length);
  const handle = text === 0 ? 0 : add(LabelKind.Text, 0, 0, tag);
  if (handle === 0) {
    if (text === 0) labelsRefused++;
    else giveBlock(text, length);
    return 0;
  }
  memory.copy(text, address, length);
  at(handle).text = <u32>text;
  at(handle).textBytes = length;
  return handle;
}

function add(kind: u32, value: u64, detail: u32, tag: u32): u32 {
  const handle = rows.take();
  if (handle === 0) {
    labelsRefused++;
    return 0;
  }
  if (!byContent.insert(tag, handle)) {
    rows.give(handle);
    labelsRefused++;
    return 0;
  }
  const row = at(handle);
  row.kind = kind;
  row.references = 0;
  row.idleSince = openWindow;
  row.value = value;
  row.detail = detail;
  row.tag = tag;
  row.text = 0;
  row.textBytes = 0;
  row.next = firstUnnamed;
  firstUnnamed = handle;
  return handle;
}

export function retainLabel(handle: u32): void {
  if (handle !== 0) at(handle).references++;
}

export function releaseLabel(handle: u32): void {
  if (handle === 0) return;
  const row = at(handle);
  if (--row.references === 0) row.idleSince = openWindow;
}

/** Up to TO_NAME_COUNT_MAX labels without a name, agent.LabelToName structs; they have one when this is called again. */
export function takeLabelsToName(): usize {
  toNameCount = 0;
  for (; firstUnnamed !== 0 && toNameCount < TO_NAME_COUNT_MAX; toNameCount++) {
    const row = at(firstUnnamed);
    const entry = changetype<LabelToName>(toName + toNameCount * offsetof<LabelToName>());
    entry.handle = firstUnnamed;
    entry.kind = row.kind;
    entry.value = row.value;
    entry.detail = row.detail;
    entry.textAddress = row.text;
    entry.textBytes = row.textBytes;
    entry.pad0 = 0;
    firstUnnamed = row.next;
  }
  return toName;
}

export function labelsToNameCount(): u32 {
  return toNameCount;
}

/** Handles (u32) of labels that ended, at most ENDED_COUNT_MAX; they are free when this returns. All labels must have been named. */
export function endIdleLabels(): usize {
  endedCount = 0;
  const end = rows.end;
  for (let handle: u32 = 1; handle < end && endedCount < ENDED_COUNT_MAX; handle++) {
    const row = at(handle);
    if (row.kind === 0 || row.references !== 0) continue;
    // The windows may have become longer meanwhile.
    row.idleSince = min(row.idleSince, openWindow);
    if (row.idleSince + idleWindows >= openWindow) continue;
    byContent.remove(row.tag, handle);
    if (row.text !== 0) giveBlock(row.text, row.textBytes);
    row.kind = 0;
    rows.give(handle);
    store<u32>(ended + endedCount++ * 4, handle);
  }
  return ended;
}

export function endedLabelCount(): u32 {
  return endedCount;
}

// Labels cross to other workers as LabelRecords, under the rules of node-channel.ts: a channel handle is the sending worker's own, an
// announcement holds for one epoch, and a record for a handle that has a new text replaces the old one.

import { LABEL_RECORD_SIZE, LabelRecord, RECORD_HEADER_SIZE, RecordHeader, RecordKind } from '../gen/records';
import { allocate } from '../lib/arena';
import { textAddress, textBytes } from '../lib/intern';
import { RowPool, reachOfWorker } from '../lib/row-pool';
import { announceEpoch, WORKER_COUNT_MAX } from './node-channel';
import { LABEL_BYTES_MAX, LABEL_COUNT_MAX, labelAt, labelOfText, touchLabel } from './tally-labels';

/** Bytes that `writeLabel` writes at most, header included. */
export const LABEL_RECORD_BYTES_MAX: u32 = RECORD_HEADER_SIZE + LABEL_RECORD_SIZE + LABEL_BYTES_MAX;

/** What a handle of another worker means here. */
@unmanaged
class ChannelLabel {
  label: u32;
  generation: u32;
}

let ownWorker: u32 = 0;
/** RowPool by worker, made for a worker's first record. */
let channels: usize = 0;

export function initLabelChannels(worker: u32): void {
  ownWorker = worker;
  channels = allocate(WORKER_COUNT_MAX * sizeof<usize>());
}

/** True when the caller must write the LabelRecord to `worker` before it names the label there; counts as done. */
export function claimLabelAnnounce(label: u32, worker: u32): bool {
  if (worker === ownWorker || label === 0) return false;
  const row = labelAt(label);
  if (row.announcedEpoch !== announceEpoch()) {
    row.announcedEpoch = announceEpoch();
    row.announced = 0;
  }
  const bit = (<u64>1) << worker;
  if ((row.announced & bit) !== 0) return false;
  row.announced |= bit;
  return true;
}

/** Writes header and LabelRecord at `to`; returns the bytes, a multiple of 8. */
export function writeLabel(label: u32, to: usize): u32 {
  const header = changetype<RecordHeader>(to);
  header.size = RECORD_HEADER_SIZE + writeLabelRecord(label, label, to + RECORD_HEADER_SIZE);
  header.kind = RecordKind.Label;
  header.pad0 = 0;
  return header.size;
}

/** Writes the LabelRecord alone, as `handle`; returns the bytes, a multiple of 8. */
export function writeLabelRecord(label: u32, handle: u32, to: usize): u32 {
  const text = labelAt(label).text;
  const record = changetype<LabelRecord>(to);
  record.handle = handle;
  record.textBytes = textBytes(text);
  const at = to + LABEL_RECORD_SIZE + record.textBytes;
  const end = (at + 7) & ~7;
  memory.copy(to + LABEL_RECORD_SIZE, textAddress(text), record.textBytes);
  memory.fill(at, 0, end - at);
  return <u32>(end - to);
}

/** Bytes that `writeLabelRecord` writes. */
export function labelRecordBytes(label: u32): u32 {
  return (LABEL_RECORD_SIZE + textBytes(labelAt(label).text) + 7) & ~7;
}

/** `record`: the LabelRecord behind its header. */
export function receiveLabel(from: u32, record: usize): void {
  const received = changetype<LabelRecord>(record);
  const label = labelOfText(record + LABEL_RECORD_SIZE, received.textBytes);
  const at = reachOfWorker(channels, from, offsetof<ChannelLabel>(), LABEL_COUNT_MAX, received.handle);
  if (at === 0) return;
  const entry = changetype<ChannelLabel>(at);
  entry.label = label;
  entry.generation = label === 0 ? 0 : labelAt(label).generation;
}

/** The label here (borrowed) of a handle of worker `from`; itself for the own worker; 0 = none, or no room for it here. */
export function labelOfChannel(from: u32, handle: u32): u32 {
  if (from === ownWorker || handle === 0) return handle;
  const slot = channels + <usize>from * sizeof<usize>();
  const at: usize = load<usize>(slot) === 0 ? 0 : changetype<RowPool>(load<usize>(slot)).reach(handle);
  if (at === 0) return 0;
  const entry = changetype<ChannelLabel>(at);
  if (entry.label === 0 || labelAt(entry.label).generation !== entry.generation) return 0;
  touchLabel(entry.label);
  return entry.label;
}

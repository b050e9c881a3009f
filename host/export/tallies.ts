// What ends, and hosts, count beyond the columns of an edge: the tallies of a window output, and their sums.
import {
  LABEL_RECORD_SIZE,
  readLabelRecord,
  readTallyPoint,
  TALLY_POINT_OFFSET,
  TALLY_POINT_SIZE,
  type TallyPoint,
} from '../wire/gen/records-layout.ts';
import { type Histogram, mergeHistograms, readHistogram } from './histogram.ts';

/** wire.Tally of one side of an edge, or of a host; its label as text. Numbers are exact up to 2^53. */
export interface Tally {
  kind: number;
  /** records.TallySide. */
  side: number;
  code: number;
  label: string;
  count: number;
  /** Of samples, in nanoseconds. */
  sum: number;
  histogram: Histogram | undefined;
}

export type TalliesByKey = Map<string, Tally>;

/** Of one row: a further one is counted without its label. */
export const LABELLED_TALLIES_MAX = 256;
/** Of one row: a further one is counted with the code 0, so that codes that nobody knows cannot fill it. */
export const TALLIES_MAX = 1024;
const NO_NODE = 0xffffffff;

/** Where in a window output they are; `histograms` is the place of the first of its histograms. */
export interface TallySection {
  labels: number;
  labelBytes: number;
  tallies: number;
  tallyCount: number;
  histograms: number;
}

export interface TallyOfOutput {
  point: TallyPoint;
  /** True when it is of the host `point.clientNode`. */
  isHost: boolean;
  tally: Tally;
}

/** The tallies for which `isWanted`, in their order. The others, which are most where few levels are exported, are not read. */
export function* readTallies(
  view: DataView,
  section: TallySection,
  isWanted: (level: number, isHost: boolean) => boolean,
): Generator<TallyOfOutput> {
  const labels = readLabels(view, section);
  for (let index = 0; index < section.tallyCount; index++) {
    const offset = section.tallies + index * TALLY_POINT_SIZE;
    const isHost = view.getUint32(offset + TALLY_POINT_OFFSET.serverNode, true) === NO_NODE;
    if (!isWanted(view.getUint8(offset + TALLY_POINT_OFFSET.level), isHost)) continue;
    const point = readTallyPoint(view, offset);
    const { kind, side, code } = point;
    const label = point.label === 0 ? '' : labels[point.label - 1];
    const histogram = point.histogram === 0 ? undefined : readHistogram(view, section.histograms + point.histogram - 1);
    const tally = { kind, side, code, label, count: Number(point.count), sum: Number(point.sum), histogram };
    yield { point, isHost, tally };
  }
}

function readLabels(view: DataView, { labels: start, labelBytes }: TallySection): string[] {
  const labels: string[] = [];
  for (let offset = start; offset < start + labelBytes; ) {
    const { textBytes } = readLabelRecord(view, offset);
    const text = Buffer.from(view.buffer, view.byteOffset + offset + LABEL_RECORD_SIZE, textBytes);
    labels.push(text.toString());
    offset += LABEL_RECORD_SIZE + textBytes + (-textBytes & 7);
  }
  return labels;
}

/** Adds `tally` to `tallies`, which keep a copy. */
export function addTally(tallies: TalliesByKey, tally: Tally): void {
  addByKey(tallies, keyOf(tally), tally);
}

function addByKey(tallies: TalliesByKey, key: string, tally: Tally): void {
  const known = tallies.get(key);
  if (known !== undefined) {
    known.count += tally.count;
    known.sum += tally.sum;
    known.histogram = mergeHistograms(known.histogram, tally.histogram);
    return;
  }
  if (tally.label !== '' && labelled(tallies) >= LABELLED_TALLIES_MAX) addTally(tallies, { ...tally, label: '' });
  else if (tally.code !== 0 && tallies.size >= TALLIES_MAX) addTally(tallies, { ...tally, label: '', code: 0 });
  else tallies.set(key, { ...tally });
}

export function addTallies(into: TalliesByKey, tallies: TalliesByKey): void {
  for (const [key, tally] of tallies) addByKey(into, key, tally);
}

export function copyTallies(tallies: TalliesByKey): TalliesByKey {
  const copy: TalliesByKey = new Map();
  for (const [key, tally] of tallies) copy.set(key, { ...tally });
  return copy;
}

/** By kind, side, code and the bytes of the label. */
export function sortedTallies(tallies: TalliesByKey): Tally[] {
  return [...tallies.values()].sort(
    (a, b) =>
      a.kind - b.kind ||
      a.side - b.side ||
      a.code - b.code ||
      Buffer.compare(Buffer.from(a.label), Buffer.from(b.label)),
  );
}

function keyOf({ kind, side, code, label }: Tally): string {
  return `${kind} ${side} ${code} ${label}`;
}

function labelled(tallies: TalliesByKey): number {
  let count = 0;
  for (const { label } of tallies.values()) if (label !== '') count++;
  return count;
}

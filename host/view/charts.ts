// Small charts out of block characters.
import type { HistoryAnswer } from '../api/edge-answer.ts';
import { formatCount, formatLatency } from './format.ts';

const LEVELS = '▁▂▃▄▅▆▇█';
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** One character for each value, oldest first, against the greatest. What is undefined leaves a gap, zero is the lowest block. */
export function sparkline(values: readonly (number | undefined)[]): string {
  const most = Math.max(...values.map((value) => value ?? 0));
  const block = (value: number): string => LEVELS[most === 0 ? 0 : Math.ceil((value / most) * (LEVELS.length - 1))];
  return values.map((value) => (value === undefined ? ' ' : block(value))).join('');
}

type Histogram = NonNullable<HistoryAnswer['rttHistogram']>;

/** The buckets from the first to the last with samples side by side, at most `width` columns, between their bounds. */
export function histogramLine(histogram: Histogram, width: number): string {
  const trimmed = trim(histogram);
  const { scale, offset, counts } = coarsen(trimmed, width - 2 * BOUND_WIDTH);
  const bound = (index: number): string => formatLatency(1e6 * 2 ** (index * 2 ** -scale));
  const bars = sparkline(counts.map((count) => (count === 0 ? undefined : count)));
  return `${bound(offset)} ${bars} ${bound(offset + counts.length)}`;
}

/** One line for each bucket, at most `rows` ≥ 2, each at most `width` columns: its upper bound, a bar, the number of samples. */
export function histogramChart(histogram: Histogram, width: number, rows: number): string[] {
  const { scale, offset, counts } = coarsen(trim(histogram), rows);
  const base = 2 ** (2 ** -scale);
  const most = Math.max(...counts);
  const texts = counts.map((count) => formatCount(count));
  const textWidth = Math.max(...texts.map((text) => text.length));
  const barWidth = Math.max(1, width - BOUND_WIDTH - textWidth - 2);
  return counts.map((count, index) => {
    const bound = `≤ ${formatLatency(1e6 * base ** (offset + index + 1))}`;
    return `${bound.padStart(BOUND_WIDTH)} ${bar(count / most, barWidth)} ${texts[index]}`;
  });
}

const BOUND_WIDTH = 9;

function bar(share: number, width: number): string {
  const eighths = Math.round(share * width * 8);
  return '█'.repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8];
}

/** Without the empty buckets at both ends. */
function trim({ scale, offset, counts }: Histogram): Histogram {
  const first = counts.findIndex((count) => count > 0);
  return { scale, offset: offset + first, counts: counts.slice(first, counts.findLastIndex((count) => count > 0) + 1) };
}

/**
 * At most `countMax` buckets, which is 2 or more, since one ends at 1 s at every scale: as often as needed each two become one, which is a bucket of the next lower scale (OpenTelemetry metrics data
 * model, perfect subsetting).
 */
function coarsen(histogram: Histogram, countMax: number): Histogram {
  if (histogram.counts.length <= countMax) return histogram;
  const offset = Math.floor(histogram.offset / 2);
  const last = Math.floor((histogram.offset + histogram.counts.length - 1) / 2);
  const counts = new Array<number>(last - offset + 1).fill(0);
  histogram.counts.forEach((count, index) => {
    counts[Math.floor((histogram.offset + index) / 2) - offset] += count;
  });
  return coarsen({ scale: histogram.scale - 1, offset, counts }, countMax);
}

// Tallies → the metric data of OpenTelemetry's SDK, and their attributes as schemas/metrics.yaml names them.
import { type Attributes, ValueType } from '@opentelemetry/api';
import { type DataPoint, DataPointType, type ExponentialHistogram, type MetricData } from '@opentelemetry/sdk-metrics';
import { TallySide } from '../wire/gen/records-layout.ts';
import { ATTRIBUTES, type AttributeId, type Profile, TALLIES, type TallyMetric } from './gen/metrics.ts';
import { hrTime } from './hr-time.ts';
import type { AttributedRow, BatchTimes } from './otlp-metrics.ts';
import { sortedTallies, type Tally } from './tallies.ts';
import { codeAttributes } from './tally-codes.ts';

export const TALLY_METRICS = Object.values(TALLIES) as TallyMetric[];

const BY_KIND = new Map(TALLY_METRICS.map((metric) => [metric.kind as number, metric]));
const SIDE_NAMES: Readonly<Record<number, string>> = { [TallySide.Client]: 'client', [TallySide.Server]: 'server' };
const NS_PER_S = 1e9;

/** The metric of a kind; undefined for one that this version has no name for. */
export function tallyMetric(kind: number): TallyMetric | undefined {
  return BY_KIND.get(kind);
}

/** The metrics of the profile that have points. */
export function tallyMetrics(profile: Profile, rows: readonly AttributedRow[], times: BatchTimes): MetricData[] {
  return TALLY_METRICS.flatMap((metric) => {
    const name = metric.profiles[profile];
    const data = name === undefined ? undefined : tallyData(metric, name, rows, times);
    return data === undefined || data.dataPoints.length === 0 ? [] : [data];
  });
}

/** The points of one metric, in the order of the rows and of their tallies. */
export function tallyData(
  metric: TallyMetric,
  name: string,
  rows: readonly AttributedRow[],
  times: BatchTimes,
): MetricData {
  const { description, unit } = metric;
  const head = { aggregationTemporality: times.temporality };
  if (metric.instrument === 'exponential_histogram') {
    return {
      ...head,
      descriptor: { name, description, unit, valueType: ValueType.DOUBLE },
      dataPointType: DataPointType.EXPONENTIAL_HISTOGRAM,
      dataPoints: pointsOf(metric, rows, times, toExponential),
    };
  }
  return {
    ...head,
    descriptor: { name, description, unit, valueType: ValueType.INT },
    dataPointType: DataPointType.SUM,
    isMonotonic: true,
    dataPoints: pointsOf(metric, rows, times, ({ count }) => count),
  };
}

/** `measure` is undefined for a tally without a point: its level keeps no histograms. */
function pointsOf<Value>(
  metric: TallyMetric,
  rows: readonly AttributedRow[],
  times: BatchTimes,
  measure: (tally: Tally) => Value | undefined,
): DataPoint<Value>[] {
  const endTime = hrTime(times.endNs);
  const points: DataPoint<Value>[] = [];
  for (const { row, attributes } of rows) {
    if (row.tallies.size === 0) continue;
    const startTime = hrTime(times.startNs(row));
    for (const tally of sortedTallies(row.tallies)) {
      const value = tally.kind === metric.kind ? measure(tally) : undefined;
      if (value === undefined) continue;
      points.push({ startTime, endTime, value, attributes: { ...attributes, ...attributesOf(metric, tally) } });
    }
  }
  return points;
}

function toExponential({ sum, histogram }: Tally): ExponentialHistogram | undefined {
  if (histogram === undefined) return undefined;
  const { scale, offset, counts } = histogram;
  return {
    count: counts.reduce((total, count) => total + count, 0),
    sum: sum / NS_PER_S,
    scale,
    zeroCount: 0,
    positive: { offset, bucketCounts: counts },
    negative: { offset: 0, bucketCounts: [] },
  };
}

/** What tells the tallies of one row apart, by name of attribute. */
export function attributesOf(metric: TallyMetric, { side, code, label }: Tally): Attributes {
  const values: Partial<Record<AttributeId, string | number>> = {
    side: SIDE_NAMES[side],
    ...codeAttributes(metric.code, code),
    ...labelAttributes(metric.label ?? [], label),
  };
  const attributes: Attributes = {};
  for (const id of metric.attributes) if (values[id] !== undefined) attributes[ATTRIBUTES[id].name] = values[id];
  return attributes;
}

/** Each attribute takes a word, the last one all that is left. */
function labelAttributes(ids: readonly AttributeId[], label: string): Partial<Record<AttributeId, string>> {
  if (label === '') return {};
  const words = label.split(' ');
  const rest = words.splice(ids.length - 1).join(' ');
  return Object.fromEntries(ids.map((id, index) => [id, words[index] ?? rest]));
}

/**
 * The text that a Prometheus scrapes, in pieces: the stock serializer writes the points of one metric for some rows at a time, and the event
 * loop gets its turn after each piece, so that a scrape of many edges holds up no window.
 */
import { setImmediate } from 'node:timers/promises';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import type { Resource } from '@opentelemetry/resources';
import { AggregationTemporality, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import type { EdgeRow } from './edge-rows.ts';
import { type Bounds, toExplicit } from './explicit-buckets.ts';
import { METRICS, type Metric } from './gen/metrics.ts';
import {
  type AttributedRow,
  type BatchTimes,
  metricData,
  SCOPE,
  type SelfReading,
  selfData,
  withAttributes,
} from './otlp-metrics.ts';
import { TALLY_METRICS, tallyData } from './tally-metrics.ts';

export interface Snapshot {
  rows: readonly EdgeRow[];
  self: readonly SelfReading[];
  resource: Resource;
}

/** Of a metric that has a line or two of a row. */
const ROWS_PER_PIECE = 64;
/**
 * A histogram has about 25 lines, and a row several. Text of more than 128 KiB in one piece would stay in V8's heap until it marks all of that; so both
 * are about 50 KiB, of usual names, and less than a millisecond of work.
 */
const ROWS_PER_PIECE_OF_HISTOGRAMS = 4;
/** The text carries no times: samples have the time of the scrape, and sums begin when they are first seen or fall. */
const NO_TIMES: BatchTimes = {
  startNs: () => 0n,
  endNs: 0n,
  temporality: AggregationTemporality.CUMULATIVE,
  processStartNs: 0n,
};

/** Text exposition format 0.0.4. */
export async function* exposeText({ rows, self, resource }: Snapshot): AsyncGenerator<string> {
  const serialize = (serializer: PrometheusSerializer, metrics: MetricData[]): string =>
    serializer.serialize({ resource, scopeMetrics: [{ scope: SCOPE, metrics }] });
  const own = selfData({ ...NO_TIMES, self }, 'prometheus');
  yield serialize(
    new PrometheusSerializer(),
    own.map((metric) => toPrometheus(metric)),
  );
  const withoutTarget = new PrometheusSerializer(undefined, false, undefined, true);
  for (const { data, rowsPerPiece, bounds } of told()) {
    let hasHead = false;
    for (let first = 0; first < rows.length; first += rowsPerPiece) {
      await setImmediate();
      const piece = data(withAttributes(rows.slice(first, first + rowsPerPiece), 'otel'));
      if (piece.dataPoints.length === 0) continue;
      const text = serialize(withoutTarget, [toPrometheus(piece, bounds)]);
      yield hasHead ? withoutHead(text) : text;
      hasHead = true;
    }
  }
}

interface ToldMetric {
  data: (rows: readonly AttributedRow[]) => MetricData;
  rowsPerPiece: number;
  bounds?: Bounds;
}

function told(): ToldMetric[] {
  const metrics = (Object.values(METRICS) as Metric[]).map((metric) => ({
    data: (rows: readonly AttributedRow[]) => metricData(metric, metric.prometheus, rows, NO_TIMES),
    rowsPerPiece: rowsPerPieceOf(metric),
  }));
  const tallies = TALLY_METRICS.map((metric) => ({
    data: (rows: readonly AttributedRow[]) => tallyData(metric, metric.prometheus, rows, NO_TIMES),
    rowsPerPiece: rowsPerPieceOf(metric),
    bounds: metric.bounds,
  }));
  return [...metrics, ...tallies];
}

function rowsPerPieceOf({ instrument }: Pick<Metric, 'instrument'>): number {
  return instrument === 'exponential_histogram' ? ROWS_PER_PIECE_OF_HISTOGRAMS : ROWS_PER_PIECE;
}

/** A metric's HELP and TYPE are told once, before its first points. */
function withoutHead(text: string): string {
  return text.slice(text.indexOf('\n', text.indexOf('# TYPE ')) + 1);
}

function toPrometheus(metric: MetricData, bounds?: Bounds): MetricData {
  // The name tells the unit; the serializer's UNIT line belongs to another format.
  const descriptor = { ...metric.descriptor, unit: '' };
  if (metric.dataPointType !== DataPointType.EXPONENTIAL_HISTOGRAM) return { ...metric, descriptor };
  const dataPoints = metric.dataPoints.map((point) => ({ ...point, value: toExplicit(point.value, bounds) }));
  return { ...metric, descriptor, dataPointType: DataPointType.HISTOGRAM, dataPoints };
}

// Rows → the metric data of OpenTelemetry's SDK, so that the stock exporters carry them. Names and attributes come from schemas/metrics.yaml.
import type { Attributes } from '@opentelemetry/api';
import { ValueType } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type ExponentialHistogram,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import { VERSION } from '../lib/version.ts';
import { type EdgeRow, type Node, type SumField, transportName } from './edge-rows.ts';
import {
  ATTRIBUTES,
  type Attribute,
  type AttributeId,
  METRICS,
  type Metric,
  type Profile,
  SELF_METRICS,
  type SelfMetricId,
  type Transport,
} from './gen/metrics.ts';
import type { Histogram } from './histogram.ts';
import { hrTime } from './hr-time.ts';
import { type EndLevel, endLevels, levelName, resolutionOf } from './levels.ts';
import { tallyMetrics } from './tally-metrics.ts';

/** A reading of our own telemetry: counters are totals since the start of the process. */
export interface SelfReading {
  metric: SelfMetricId;
  attributes: Readonly<Partial<Record<AttributeId, string>>>;
  value: number;
}

/** What the points of a batch have in common. */
export interface BatchTimes {
  /** From when on a row counts. */
  startNs: (row: EdgeRow) => bigint;
  endNs: bigint;
  temporality: AggregationTemporality;
  /** Since when levels and our own readings count, whatever the temporality of the rest. */
  processStartNs: bigint;
}

export interface MetricsBatch extends BatchTimes {
  rows: readonly EdgeRow[];
  self: readonly SelfReading[];
}

export const SCOPE = { name: 'tributary', version: VERSION };
const US_PER_S = 1e6;

/** The value of the attribute that tells the fields of one metric apart. */
const VARIANTS: Partial<Record<string, { attribute: AttributeId; value: string }>> = {
  forwardBytes: { attribute: 'direction', value: 'forward' },
  reverseBytes: { attribute: 'direction', value: 'reverse' },
  forwardPackets: { attribute: 'direction', value: 'forward' },
  reversePackets: { attribute: 'direction', value: 'reverse' },
  forwardRetransmits: { attribute: 'direction', value: 'forward' },
  reverseRetransmits: { attribute: 'direction', value: 'reverse' },
  refused: { attribute: 'error', value: 'refused' },
  timedOut: { attribute: 'error', value: 'timed_out' },
  abandoned: { attribute: 'error', value: 'abandoned' },
  unreachable: { attribute: 'error', value: 'unreachable' },
  failedOther: { attribute: 'error', value: 'other' },
  resetsClient: { attribute: 'resetSender', value: 'client' },
  resetsServer: { attribute: 'resetSender', value: 'server' },
  flowsBoth: { attribute: 'match', value: 'both' },
  flowsClient: { attribute: 'match', value: 'client' },
  flowsServer: { attribute: 'match', value: 'server' },
};

export function toResourceMetrics(batch: MetricsBatch, resource: Resource, profile: Profile): ResourceMetrics {
  const rows = withAttributes(batch.rows, profile);
  const metrics = metricsIn(profile).map(({ metric, name, transport }) =>
    metricData({ ...metric, transport }, name, rows, batch),
  );
  const tallies = tallyMetrics(profile, rows, batch);
  const told = [...metrics.filter(({ dataPoints }) => dataPoints.length > 0), ...tallies, ...selfData(batch)];
  return { resource, scopeMetrics: [{ scope: SCOPE, metrics: told }] };
}

interface NamedMetric {
  metric: Metric;
  name: string;
  transport?: Transport;
}

/** The metrics that a profile emits, under its names. */
function metricsIn(profile: Profile): NamedMetric[] {
  return (Object.values(METRICS) as Metric[]).flatMap((metric) => {
    const name = metric.profiles[profile];
    if (name === undefined) return [];
    if (typeof name === 'string') return [{ metric, name, transport: metric.transport }];
    return [
      { metric, name: name.tcp, transport: 'tcp' },
      { metric, name: name.udp, transport: 'udp' },
    ];
  });
}

/** Tells how many points `toResourceMetrics` makes of a row without its tallies. */
export function pointCounter(profile: Profile): (row: EdgeRow) => number {
  const metrics = metricsIn(profile);
  return (row) => {
    if (!row.hasColumns) return 0;
    let count = 0;
    for (const { metric, transport } of metrics) if (isOf(row, transport)) count += countPoints(metric, row);
    return count;
  };
}

function countPoints({ value, instrument }: Metric, row: EdgeRow): number {
  if (instrument === 'exponential_histogram') return row.histogram === undefined ? 0 : 1;
  if (instrument !== 'counter') return value.length;
  let count = 0;
  for (const field of value) if (row.sums[field as SumField] !== 0) count++;
  return count;
}

export interface AttributedRow {
  row: EdgeRow;
  attributes: Attributes;
}

export function withAttributes(rows: readonly EdgeRow[], profile: Profile): AttributedRow[] {
  return rows.map((row) => ({ row, attributes: rowAttributes(row, profile) }));
}

/** The points of one metric; none of a row that has nothing to say. */
export function metricData(
  metric: Metric,
  name: string,
  rows: readonly AttributedRow[],
  times: BatchTimes,
): MetricData {
  const edges = rows.filter(({ row }) => row.hasColumns && isOf(row, metric.transport));
  return metric.instrument === 'exponential_histogram'
    ? histogramData(metric, name, edges, times)
    : sumData(metric, name, edges, times);
}

function isOf(row: EdgeRow, transport: Transport | undefined): boolean {
  return transport === undefined || transportName(row.protocol) === transport;
}

function sumData(metric: Metric, name: string, rows: readonly AttributedRow[], times: BatchTimes): MetricData {
  const isMonotonic = metric.instrument === 'counter';
  const endTime = hrTime(times.endNs);
  const dataPoints: DataPoint<number>[] = [];
  for (const { row, attributes } of rows) {
    const startTime = hrTime(isMonotonic ? times.startNs(row) : times.processStartNs);
    for (const field of metric.value) {
      const value = field === 'active' ? row.active : row.sums[field as SumField];
      // A level of something is told when it is zero, too; an increment of zero says nothing.
      if (value === 0 && isMonotonic) continue;
      dataPoints.push({ startTime, endTime, value, attributes: withVariant(attributes, field) });
    }
  }
  return {
    descriptor: { name, description: metric.description, unit: metric.unit, valueType: ValueType.INT },
    // The number of open connections is a level: it is the same whatever the temporality of increments.
    aggregationTemporality: isMonotonic ? times.temporality : AggregationTemporality.CUMULATIVE,
    dataPointType: DataPointType.SUM,
    isMonotonic,
    dataPoints,
  };
}

function histogramData(metric: Metric, name: string, rows: readonly AttributedRow[], times: BatchTimes): MetricData {
  const endTime = hrTime(times.endNs);
  const dataPoints: DataPoint<ExponentialHistogram>[] = [];
  for (const { row, attributes } of rows) {
    if (row.histogram === undefined) continue;
    const startTime = hrTime(times.startNs(row));
    dataPoints.push({ startTime, endTime, attributes, value: toExponential(row, row.histogram) });
  }
  return {
    descriptor: { name, description: metric.description, unit: metric.unit, valueType: ValueType.DOUBLE },
    aggregationTemporality: times.temporality,
    dataPointType: DataPointType.EXPONENTIAL_HISTOGRAM,
    dataPoints,
  };
}

function toExponential(row: EdgeRow, { scale, offset, counts }: Histogram): ExponentialHistogram {
  return {
    count: counts.reduce((total, count) => total + count, 0),
    sum: row.sums.rttSumUs / US_PER_S,
    min: row.rttMinUs / US_PER_S,
    max: row.rttMaxUs / US_PER_S,
    scale,
    zeroCount: 0,
    // OTLP's offset names the first bucket's index; an empty negative side is required by the type.
    positive: { offset, bucketCounts: counts },
    negative: { offset: 0, bucketCounts: [] },
  };
}

/** `key`: which of its names a metric gets. */
export function selfData(
  { self, processStartNs, endNs }: Pick<MetricsBatch, 'self' | 'processStartNs' | 'endNs'>,
  key: 'name' | 'prometheus' = 'name',
): MetricData[] {
  const startTime = hrTime(processStartNs);
  const endTime = hrTime(endNs);
  const byMetric = Map.groupBy(self, (reading) => reading.metric);
  return [...byMetric].map(([id, readings]) => {
    const { [key]: name, description, unit, instrument } = SELF_METRICS[id];
    const data = {
      descriptor: { name, description, unit, valueType: unit === 's' ? ValueType.DOUBLE : ValueType.INT },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPoints: readings.map(({ attributes, value }) => ({
        startTime,
        endTime,
        value,
        attributes: named(attributes),
      })),
    };
    if (instrument === 'gauge') return { ...data, dataPointType: DataPointType.GAUGE };
    return { ...data, dataPointType: DataPointType.SUM, isMonotonic: instrument === 'counter' };
  });
}

function rowAttributes(row: EdgeRow, profile: Profile): Attributes {
  if (row.isHost) return { [ATTRIBUTES.agentHost.name]: row.client.host };
  const levels = endLevels(row.level);
  const attributes: Attributes = {
    [ATTRIBUTES.level.name]: levelName(row.level),
    [attributeName('transport', profile)]: transportName(row.protocol),
  };
  if (row.serverPort !== 0) attributes[ATTRIBUTES.serverPort.name] = row.serverPort;
  addEnd(attributes, { side: 'source', profile }, row.client, levels.client);
  addEnd(attributes, { side: 'destination', profile }, row.server, levels.server);
  return attributes;
}

export const END_ATTRIBUTES = [
  ...['id', 'role', 'zone', 'host', 'address', 'process'],
  ...['container', 'containerName', 'imageName', 'imageTag'],
  ...['podUid', 'podQos', 'podNamespace', 'podName'],
] as const satisfies readonly (keyof Node & AttributeId)[];

type Side = 'source' | 'destination';

/** What SIDE is in the names that a profile has for itself. */
const SIDES: Readonly<Record<Profile, Readonly<Record<Side, string>>>> = {
  otel: { source: 'source', destination: 'destination' },
  obi: { source: 'src', destination: 'dst' },
  'network-explorer': { source: 'source', destination: 'dest' },
};

/** `side`: of an attribute of an end. */
function attributeName(id: AttributeId, profile: Profile, side: Side = 'source'): string {
  const { name, profiles }: Attribute = ATTRIBUTES[id];
  const own = profiles?.[profile];
  return own === undefined ? name.replace('SIDE', side) : own.replace('SIDE', SIDES[profile][side]);
}

interface EndNames {
  side: Side;
  profile: Profile;
}

function addEnd(attributes: Attributes, { side, profile }: EndNames, node: Node, level: EndLevel): void {
  for (const id of END_ATTRIBUTES) {
    const isCarried = (ATTRIBUTES[id].levels as readonly EndLevel[]).includes(level);
    if (isCarried && node[id] !== '') attributes[attributeName(id, profile, side)] = node[id];
  }
  attributes[attributeName('resolution', profile, side)] = resolutionOf(node.kind);
}

function withVariant(attributes: Attributes, field: string): Attributes {
  const variant = VARIANTS[field];
  return variant === undefined ? attributes : { ...attributes, [ATTRIBUTES[variant.attribute].name]: variant.value };
}

function named(attributes: SelfReading['attributes']): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([id, value]) => [ATTRIBUTES[id as AttributeId].name, value]),
  );
}

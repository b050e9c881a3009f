import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyResource } from '@opentelemetry/resources';
import { AggregationTemporality, type MetricData } from '@opentelemetry/sdk-metrics';
import { Level, NodeKind } from '../wire/gen/records-layout.ts';
import { type Node, sortedRows } from './edge-rows.ts';
import { type MetricsBatch, type SelfReading, toResourceMetrics } from './otlp-metrics.ts';
import { encodeWindowOutput } from './testing/window-output.ts';
import { decodeWindow } from './window-rows.ts';

const { CUMULATIVE, DELTA } = AggregationTemporality;
const START = [100, 0];
const END = [110, 500_000_000];
const PROCESS_START = [90, 7];

const CURL = { kind: NodeKind.Process, id: 'a/curl', role: 'curl', zone: 'eu-1a', host: 'a', process: 'curl' };
const WEB = { kind: NodeKind.PrivateAddress, id: '10.0.0.9', role: '(private)', address: '10.0.0.9' };

const SELF: SelfReading[] = [
  { metric: 'frames', attributes: { reason: 'accepted' }, value: 12 },
  { metric: 'agents', attributes: {}, value: 1 },
];

function metricsOf(
  temporality: AggregationTemporality,
  levels: Level[],
  client: Partial<Node> = CURL,
): Map<string, MetricData> {
  const output = encodeWindowOutput(
    4,
    [client, WEB],
    levels.map((level) => ({
      ...{ level, forwardBytes: 1_000n, reverseBytes: 2_500n, connections: 3n, refused: 2, flowsBoth: 3 },
      ...{ rttCount: 3, rttSumUs: 900n, rttMinUs: 100, rttMaxUs: 500 },
      histogram: { scale: 3, offset: -106, counts: [1, 0, 2] },
    })),
  );
  const batch: MetricsBatch = {
    ...{
      startNs: () => 100_000_000_000n,
      endNs: 110_500_000_000n,
      processStartNs: 90_000_000_007n,
      temporality,
      self: SELF,
    },
    rows: sortedRows(decodeWindow([output], new Set(levels))),
  };
  const { scopeMetrics } = toResourceMetrics(batch, emptyResource(), 'otel');
  return new Map(scopeMetrics[0].metrics.map((metric) => [metric.descriptor.name, metric]));
}

const AZ_ATTRIBUTES = {
  'tributary.level': 'az_az',
  'network.transport': 'tcp',
  'server.port': 443,
  'tributary.source.role': 'curl',
  'source.cloud.availability_zone': 'eu-1a',
  'tributary.source.resolution': 'process',
  'tributary.destination.role': '(private)',
  'tributary.destination.resolution': 'private_address',
};

for (const [name, temporality] of [['delta', DELTA] as const, ['cumulative', CUMULATIVE] as const]) {
  test(`${name}: an increment is a monotonic sum with one point for each value of its attribute`, () => {
    const io = metricsOf(temporality, [Level.AzAz]).get('tributary.flow.io');
    const point = { startTime: START, endTime: END };
    assert.deepEqual(io, {
      descriptor: { name: 'tributary.flow.io', description: io?.descriptor.description, unit: 'By', valueType: 0 },
      aggregationTemporality: temporality,
      dataPointType: 3,
      isMonotonic: true,
      dataPoints: [
        { ...point, value: 1_000, attributes: { ...AZ_ATTRIBUTES, 'tributary.flow.direction': 'forward' } },
        { ...point, value: 2_500, attributes: { ...AZ_ATTRIBUTES, 'tributary.flow.direction': 'reverse' } },
      ],
    });
  });

  test(`${name}: round-trip times are one exponential histogram in seconds`, () => {
    const rtt = metricsOf(temporality, [Level.AzAz]).get('tributary.tcp.rtt.duration');
    assert.equal(rtt?.aggregationTemporality, temporality);
    const value = {
      ...{ count: 3, sum: 0.0009, min: 0.0001, max: 0.0005, scale: 3, zeroCount: 0 },
      positive: { offset: -106, bucketCounts: [1, 0, 2] },
      negative: { offset: 0, bucketCounts: [] },
    };
    assert.deepEqual(rtt.dataPoints, [{ startTime: START, endTime: END, attributes: AZ_ATTRIBUTES, value }]);
  });

  test(`${name}: open connections and own readings are levels since the start of the process, zero included`, () => {
    const metrics = metricsOf(temporality, [Level.AzAz]);
    const point = { startTime: PROCESS_START, endTime: END };
    const active = metrics.get('tributary.flow.active');
    assert.equal(active?.aggregationTemporality, CUMULATIVE);
    assert.deepEqual(active.dataPoints, [{ ...point, value: 0, attributes: AZ_ATTRIBUTES }]);
    const frames = metrics.get('tributary.reducer.frame.count');
    assert.equal(frames?.aggregationTemporality, CUMULATIVE);
    assert.deepEqual(frames.dataPoints, [{ ...point, value: 12, attributes: { 'tributary.reason': 'accepted' } }]);
    const agents = metrics.get('tributary.reducer.agent.active');
    assert.ok(agents !== undefined && 'isMonotonic' in agents && !agents.isMonotonic);
  });
}

test('opened and failed connections share a metric and differ by error.type', () => {
  const points = metricsOf(DELTA, [Level.AzAz]).get('tributary.tcp.connection.count')?.dataPoints;
  assert.deepEqual(
    points?.map(({ value, attributes }) => [value, attributes['error.type']]),
    [
      [3, undefined],
      [2, 'refused'],
    ],
  );
});

test('an end carries the attributes of its level and no finer ones', () => {
  const points = metricsOf(DELTA, [Level.IdId, Level.IdAz, Level.RoleRole]).get('tributary.flow.active')?.dataPoints;
  const keys = ['tributary.source.id', 'source.host.name', 'source.cloud.availability_zone', 'destination.address'];
  const carried = points?.map(({ attributes }) => keys.filter((key) => key in attributes));
  assert.deepEqual(carried, [keys, keys.slice(0, 3), []]);
});

test('a container says its image and its pod at the id level alone', () => {
  const cart = {
    ...{ kind: NodeKind.Container, id: 'c0ffee', role: 'cart', container: 'c0ffee', containerName: 'cart' },
    ...{ imageName: 'registry:5000/shop/cart', imageTag: 'v2', podUid: 'u-1', podQos: 'burstable' },
    ...{ podNamespace: 'shop', podName: 'cart-0' },
  };
  const carried = {
    'source.container.id': 'c0ffee',
    'source.container.name': 'cart',
    'source.container.image.name': 'registry:5000/shop/cart',
    'source.container.image.tag': 'v2',
    'source.k8s.pod.uid': 'u-1',
    'source.k8s.pod.qos_class': 'burstable',
    'source.k8s.namespace.name': 'shop',
    'source.k8s.pod.name': 'cart-0',
  };
  const points = metricsOf(DELTA, [Level.IdId, Level.AzId], cart).get('tributary.flow.active')?.dataPoints ?? [];
  const told = points.map(({ attributes }) =>
    Object.fromEntries(Object.entries(attributes).filter(([name]) => /^source\.(?:container|k8s)/.test(name))),
  );
  assert.deepEqual(told, [carried, {}]);
});

test('a profile has its own names for attributes, and words for the ends', () => {
  const cart = {
    kind: NodeKind.Container,
    id: 'c0ffee',
    role: 'cart',
    zone: 'eu-1a',
    podName: 'cart-0',
    imageName: 'cart',
    imageTag: 'v2',
  };
  const output = encodeWindowOutput(4, [WEB, cart], [{ level: Level.IdId, forwardBytes: 5n }]);
  const rows = sortedRows(decodeWindow([output], new Set([Level.IdId])));
  const batch = { startNs: () => 0n, endNs: 1n, processStartNs: 0n, temporality: DELTA, self: [], rows };
  const told = (profile: 'obi' | 'network-explorer') => {
    const [io] = toResourceMetrics(batch, emptyResource(), profile).scopeMetrics[0].metrics;
    const { attributes } = io.dataPoints[0];
    return Object.fromEntries(Object.entries(attributes).filter(([name]) => !/^(?:tributary|server)\./.test(name)));
  };
  assert.deepEqual(told('network-explorer'), {
    ...{ 'source.id': '10.0.0.9', 'source.workload.name': '(private)', 'source.ip': '10.0.0.9' },
    ...{ 'dest.id': 'c0ffee', 'dest.workload.name': 'cart', 'dest.availability_zone': 'eu-1a' },
    ...{ 'destination.container.image.name': 'cart' },
    ...{ 'dest.image_version': 'v2', 'dest.pod': 'cart-0', 'network.transport': 'tcp' },
  });
  assert.deepEqual(told('obi'), {
    ...{ 'src.name': '(private)', 'src.address': '10.0.0.9', 'dst.name': 'cart', 'dst.zone': 'eu-1a' },
    ...{ 'destination.container.image.name': 'cart', 'destination.container.image.tag': 'v2' },
    ...{ 'k8s.dst.name': 'cart-0', transport: 'tcp' },
  });
});

test('what did not happen has no point', () => {
  const names = [...metricsOf(DELTA, [Level.AzAz]).keys()];
  assert.ok(!names.includes('tributary.tcp.reset.count') && !names.includes('tributary.flow.late.io'));
});

test('datagrams are flows that have loss, not connections that have residuals', () => {
  const output = encodeWindowOutput(
    4,
    [CURL, WEB],
    [{ protocol: 17, level: Level.AzAz, forwardBytes: 900n, connections: 4n, residualBytes: 70n, judgedBytes: 900n }],
  );
  const rows = sortedRows(decodeWindow([output], new Set([Level.AzAz])));
  const batch = { startNs: () => 0n, endNs: 1n, processStartNs: 0n, temporality: DELTA, self: [], rows };
  const told = (profile: 'otel' | 'network-explorer') =>
    Object.fromEntries(
      toResourceMetrics(batch, emptyResource(), profile).scopeMetrics[0].metrics.map(({ descriptor, dataPoints }) => [
        descriptor.name,
        dataPoints.map(({ value }) => value),
      ]),
    );
  assert.deepEqual(told('otel'), {
    'tributary.flow.io': [900],
    'tributary.flow.active': [0],
    'tributary.flow.match.judged': [900],
    'tributary.udp.flow.count': [4],
    'tributary.udp.loss.io': [70],
  });
  assert.deepEqual(told('network-explorer'), { 'udp.bytes': [900], 'udp.active': [0] });
});

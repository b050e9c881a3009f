import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, test } from 'node:test';
import { emptyResource } from '@opentelemetry/resources';
import { AggregationTemporality, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { CloseReason, RetransmitKind } from '../wire/gen/kernel-events-layout.ts';
import { Level, NodeKind, TallySide } from '../wire/gen/records-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { CumulativeSums } from './cumulative-sums.ts';
import { mergeRows, type RowsByKey, sortedRows } from './edge-rows.ts';
import { TALLIES } from './gen/metrics.ts';
import { toResourceMetrics } from './otlp-metrics.ts';
import { exposeText } from './prometheus-text.ts';
import { LABELLED_TALLIES_MAX, TALLIES_MAX } from './tallies.ts';
import { encodeWindowOutput, type PointSpec, type TallySpec } from './testing/window-output.ts';
import { decodeHosts, decodeWindow } from './window-rows.ts';

const { Client, Server } = TallySide;
const CURL = { kind: NodeKind.Process, role: 'curl', zone: 'eu-1a' };
const DNS = { kind: NodeKind.PrivateAddress, role: '(private)' };
const HOST = { kind: NodeKind.Host, id: 'a', role: 'a', host: 'a' };
const EDGE: PointSpec = { level: Level.AzAz, clientNode: 0, serverNode: 1 };
const ofEdge = (kind: number, values: Partial<TallySpec> = {}): TallySpec => ({
  ...EDGE_PLACE,
  side: Client,
  kind,
  ...values,
});
const EDGE_PLACE = { level: Level.AzAz, clientNode: 0, serverNode: 1 };
const ofHost = (kind: number, values: Partial<TallySpec> = {}): TallySpec => ({
  clientNode: 2,
  protocol: 0,
  serverPort: 0,
  kind,
  ...values,
});

function rowsOf(tallies: readonly TallySpec[], window = 1): RowsByKey {
  const output = encodeWindowOutput(window, [CURL, DNS, HOST], [EDGE], tallies);
  return mergeRows(decodeWindow([output], new Set([Level.AzAz])), decodeHosts([output]).values());
}

function metricsOf(rows: RowsByKey, temporality = AggregationTemporality.DELTA): MetricData[] {
  const times = { startNs: () => 10_000_000_000n, endNs: 20_000_000_000n, processStartNs: 0n, temporality };
  const batch = { ...times, rows: sortedRows(rows), self: [] };
  return toResourceMetrics(batch, emptyResource(), 'otel').scopeMetrics[0].metrics;
}

/** The points that a metric of tallies has, without the attributes of the edge. */
function pointsOf(rows: RowsByKey, name: string, temporality?: AggregationTemporality) {
  const metric = metricsOf(rows, temporality).find(({ descriptor }) => descriptor.name === name);
  return (metric?.dataPoints ?? []).map(({ value, attributes }) => ({
    value,
    attributes: Object.fromEntries(Object.entries(attributes).filter(([key]) => OWN_ATTRIBUTE.test(key))),
  }));
}

const OWN_ATTRIBUTE = /^(tributary\.(side|tcp|drop|dns|listener)|error|dns|code|host)/;

test('what an end counted is a sum of its edge with the side that counted it', () => {
  const rows = rowsOf([
    ofEdge(TallyKind.Retransmit, { code: RetransmitKind.TailLossProbe, count: 3n }),
    ofEdge(TallyKind.Retransmit, { code: RetransmitKind.Fast, side: Server, count: 4n }),
  ]);
  const [data] = metricsOf(rows).filter(({ descriptor }) => /retransmit/.test(descriptor.name));
  assert.deepEqual(
    [data.dataPointType, data.aggregationTemporality],
    [DataPointType.SUM, AggregationTemporality.DELTA],
  );
  assert.deepEqual(data.dataPoints[0], {
    startTime: [10, 0],
    endTime: [20, 0],
    value: 3,
    attributes: {
      'tributary.level': 'az_az',
      'network.transport': 'tcp',
      'server.port': 443,
      'tributary.source.role': 'curl',
      'source.cloud.availability_zone': 'eu-1a',
      'tributary.source.resolution': 'process',
      'tributary.destination.role': '(private)',
      'tributary.destination.resolution': 'private_address',
      'tributary.side': 'client',
      'tributary.tcp.retransmit.kind': 'tail_loss_probe',
    },
  });
  assert.equal(data.dataPoints[1].value, 4);
});

const { ECONNREFUSED, ETIMEDOUT } = constants.errno;
/** What a kind, its code and label become. Numbers of types and answers are those of the IANA registry. */
const WORDS: [TallySpec, string, Record<string, string | number>][] = [
  [
    ofEdge(TallyKind.ConnectError, { code: ECONNREFUSED }),
    'tributary.tcp.connect.error.count',
    { 'error.type': 'ECONNREFUSED' },
  ],
  [
    ofEdge(TallyKind.ConnectError, { code: ETIMEDOUT }),
    'tributary.tcp.connect.error.count',
    { 'error.type': 'ETIMEDOUT' },
  ],
  [ofEdge(TallyKind.ConnectError, { code: 9999 }), 'tributary.tcp.connect.error.count', { 'error.type': '9999' }],
  [
    ofEdge(TallyKind.DnsTimeout, { code: 28 << 16, label: 'example.org' }),
    'tributary.dns.timeout.count',
    { 'tributary.dns.question.type': 'AAAA', 'dns.question.name': 'example.org' },
  ],
  [
    ofEdge(TallyKind.DnsTruncated, { code: (65 << 16) | 3 }),
    'tributary.dns.truncated.count',
    { 'tributary.dns.question.type': 'HTTPS', 'error.type': 'NXDOMAIN' },
  ],
  [
    ofEdge(TallyKind.DnsTruncated, { code: (65280 << 16) | 4000 }),
    'tributary.dns.truncated.count',
    { 'tributary.dns.question.type': 'TYPE65280', 'error.type': 'RCODE4000' },
  ],
  [
    ofEdge(TallyKind.Drop, { code: 6, label: 'NETFILTER_DROP nf_hook_slow' }),
    'tributary.packet.drop.count',
    { 'tributary.drop.reason': 'NETFILTER_DROP', 'code.function.name': 'nf_hook_slow' },
  ],
  [ofEdge(TallyKind.Drop, { code: 6 }), 'tributary.packet.drop.count', { 'tributary.drop.reason': '6' }],
];

for (const [tally, name, expected] of WORDS) {
  test(`${name} of ${JSON.stringify(expected)}`, () => {
    const attributes = { 'tributary.side': 'client', ...expected };
    assert.deepEqual(pointsOf(rowsOf([tally]), name), [{ value: 1, attributes }]);
  });
}

test('samples are a histogram of seconds; without one, as at the id levels, there is no point', () => {
  const histogram = { scale: 3, offset: -40, counts: [1, 0, 2] };
  const lookup = { code: 1 << 16, count: 3n, sum: 150_000_000n };
  const rows = rowsOf([ofEdge(TallyKind.DnsLookup, { ...lookup, histogram }), ofEdge(TallyKind.Duration, lookup)]);
  assert.deepEqual(pointsOf(rows, 'dns.lookup.duration'), [
    {
      value: {
        ...{ count: 3, sum: 0.15, scale: 3, zeroCount: 0 },
        positive: { offset: -40, bucketCounts: [1, 0, 2] },
        negative: { offset: 0, bucketCounts: [] },
      },
      attributes: { 'tributary.side': 'client', 'tributary.dns.question.type': 'A' },
    },
  ]);
  assert.deepEqual(pointsOf(rows, 'tributary.tcp.connection.duration'), []);
});

test('a host has what it counted and nothing of an edge', () => {
  const rows = rowsOf([ofHost(TallyKind.AcceptOverflow, { code: 80, count: 5n }), ofHost(TallyKind.Drop, { code: 2 })]);
  const host = { 'host.name': 'a' };
  assert.deepEqual(pointsOf(rows, 'tributary.tcp.accept_queue.overflow.count'), [
    { value: 5, attributes: { ...host, 'tributary.listener.port': 80 } },
  ]);
  const drop = { value: 1, attributes: { ...host, 'tributary.drop.reason': '2' } };
  assert.deepEqual(pointsOf(rows, 'tributary.packet.drop.count'), [drop]);
  const [active] = metricsOf(rows).filter(({ descriptor }) => descriptor.name === 'tributary.flow.active');
  assert.equal(active.dataPoints.length, 1);
});

describe('sums', () => {
  const histogram = { scale: 3, offset: -40, counts: [1] };
  const duration = (count: bigint, offset = -40): TallySpec =>
    ofEdge(TallyKind.Duration, {
      code: CloseReason.Closed,
      count,
      sum: count * 7n,
      histogram: { ...histogram, offset },
    });
  const windows = [
    rowsOf([duration(1n), ofHost(TallyKind.Drop, { code: 2, count: 3n })], 1),
    rowsOf([duration(1n, -38), ofEdge(TallyKind.OutOfOrder), ofHost(TallyKind.Drop, { code: 2, count: 4n })], 2),
  ];

  function check(rows: RowsByKey): void {
    const [{ value }] = pointsOf(rows, 'tributary.tcp.connection.duration');
    assert.deepEqual(typeof value === 'object' && 'positive' in value && value.positive, {
      offset: -40,
      bucketCounts: [1, 0, 1],
    });
    assert.deepEqual(pointsOf(rows, 'tributary.tcp.out_of_order.count').length, 1);
    assert.deepEqual(pointsOf(rows, 'tributary.packet.drop.count')[0].value, 7);
  }

  test('of merged windows', () => check(mergeRows(mergeRows(new Map(), windows[0].values()), windows[1].values())));

  test('that are cumulative, and earlier ones stay as they were', () => {
    const sums = new CumulativeSums();
    sums.add(1, 1e9, windows[0]);
    const before = sums.snapshot();
    sums.add(2, 1e9, windows[1]);
    check(sums.snapshot());
    assert.equal(pointsOf(before, 'tributary.packet.drop.count')[0].value, 3);
  });

  test(`keep ${LABELLED_TALLIES_MAX} names of an edge, and count further ones without`, () => {
    const names = Array.from({ length: LABELLED_TALLIES_MAX + 44 }, (_, index) => `n${index}`);
    const points = pointsOf(
      rowsOf(names.map((label) => ofEdge(TallyKind.DnsTimeout, { code: 1 << 16, label }))),
      'tributary.dns.timeout.count',
    );
    assert.equal(points.length, LABELLED_TALLIES_MAX + 1);
    assert.equal(
      points.reduce((total, { value }) => total + Number(value), 0),
      names.length,
    );
  });
});

test(`an edge keeps ${TALLIES_MAX} tallies, and counts further codes as 0`, () => {
  const codes = Array.from({ length: TALLIES_MAX + 10 }, (_, code) =>
    ofEdge(TallyKind.ConnectError, { code: code + 1 }),
  );
  const [{ tallies }] = sortedRows(rowsOf(codes));
  assert.equal(tallies.size, TALLIES_MAX + 1);
  assert.equal(tallies.get(`${TallyKind.ConnectError} ${Client} 0 `)?.count, 10);
});

test('the stock serializer tells tallies to a Prometheus, durations in buckets up to days', async () => {
  const rows = rowsOf([
    ofEdge(TallyKind.Duration, {
      code: CloseReason.Closed,
      sum: 90_000_000_000_000n,
      histogram: { scale: 3, offset: 131, counts: [1] },
    }),
    ofHost(TallyKind.AcceptOverflow, { code: 80, count: 5n }),
  ]);
  let text = '';
  for await (const piece of exposeText({ rows: sortedRows(rows), self: [], resource: emptyResource() })) text += piece;
  assert.match(
    text,
    /^tributary_tcp_accept_queue_overflow_count_total\{host_name="a",tributary_listener_port="80"[^}]*\} 5$/m,
  );
  const bucket = (bound: string) =>
    new RegExp(`^tributary_tcp_connection_duration_seconds_bucket{.*le="${bound}"} (\\d)$`, 'm').exec(text)?.[1];
  assert.deepEqual([bucket('65536'), bucket('131072'), bucket('\\+Inf')], ['0', '1', '1']);
});

test('a lookup that took two attempts and a SYN that was sent five times again have a bucket of their own', async () => {
  const rows = rowsOf([
    // Upper bounds 2^(27 / 8) = 10.4 s and 2^(40 / 8) = 32 s.
    ofEdge(TallyKind.DnsLookup, { sum: 10_200_000_000n, histogram: { scale: 3, offset: 26, counts: [1] } }),
    ofEdge(TallyKind.HandshakeServer, { sum: 31_000_000_000n, histogram: { scale: 3, offset: 39, counts: [1] } }),
  ]);
  let text = '';
  for await (const piece of exposeText({ rows: sortedRows(rows), self: [], resource: emptyResource() })) text += piece;
  const bucket = (name: string, bound: number) =>
    new RegExp(`^${name}_seconds_bucket{.*le="${bound}"} (\\d)$`, 'm').exec(text)?.[1];
  assert.deepEqual(
    [8, 16].map((bound) => bucket('dns_lookup_duration', bound)),
    ['0', '1'],
  );
  assert.deepEqual(
    [16, 32].map((bound) => bucket('tributary_tcp_handshake_server_duration', bound)),
    ['0', '1'],
  );
});

test('each kind has a metric', () => {
  const kinds = new Set<number>(Object.values(TALLIES).map(({ kind }) => kind));
  assert.deepEqual(
    Object.entries(TallyKind).filter(([name, kind]) => name !== 'None' && !kinds.has(kind)),
    [],
  );
});

// The exporter against the OpenTelemetry Collector, with a gate between them that refuses or waits as a receiver in trouble does.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { pino } from 'pino';
import { onFreePort } from '../../test/parts/free-port.ts';
import { requirePart } from '../../test/parts/go-program.ts';
import { startOtelCollector } from '../../test/parts/otelcol.ts';
import { startClock } from '../lib/clock.ts';
import { Level } from '../wire/gen/records-layout.ts';
import { CumulativeSums } from './cumulative-sums.ts';
import type { Node } from './edge-rows.ts';
import { EXPORT_QUEUE_MAX } from './export-queue.ts';
import { CHUNK_POINTS_MAX } from './otlp-chunks.ts';
import { CUMULATIVE_BATCHES_MAX, OtlpExporter, type OtlpExporterOptions } from './otlp-exporter.ts';
import { encodeWindowOutput, type PointSpec } from './testing/window-output.ts';
import { decodeWindow } from './window-rows.ts';

const { CUMULATIVE, DELTA } = AggregationTemporality;
const part = await requirePart('otelcol');
const FIRST = 1_700_000_000;

/** Forwards what comes to the collector; `verdict` may refuse it first. */
class Gate {
  /** Status to answer with instead of forwarding; undefined forwards. */
  verdict: (body: Buffer) => number | undefined | Promise<undefined> = () => undefined;
  /** What it says to what it refuses. */
  complaint = '';
  readonly headers: (string | string[] | undefined)[] = [];
  /** Bytes of each POST, whatever became of it. */
  readonly sizes: number[] = [];
  readonly server: Server;

  constructor(collectorPort: number) {
    this.server = createServer(async (incoming, response) => {
      this.headers.push(incoming.headers['x-tenant']);
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      this.sizes.push(body.length);
      const status = await this.verdict(body);
      if (status !== undefined) {
        response.writeHead(status).end(this.complaint);
        return;
      }
      const { headers, url: path, method } = incoming;
      request({ port: collectorPort, host: '127.0.0.1', path, method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      }).end(body);
    }).listen(0, '127.0.0.1');
  }
}

interface Point {
  attributes: { key: string; value: { stringValue?: string } }[];
  startTimeUnixNano: string;
  asInt?: string;
  count?: string;
  positive?: { offset: number; bucketCounts: string[] };
}

interface Received {
  resource: { attributes: Point['attributes'] };
  metrics: { name: string; sum?: { dataPoints: Point[] }; exponentialHistogram?: { dataPoints: Point[] } }[];
}

interface BenchOptions extends Partial<OtlpExporterOptions> {
  rowsMax?: number;
}

class Bench {
  readonly exporter: OtlpExporter;
  readonly sums: CumulativeSums;
  readonly gate: Gate;
  readonly committed: number[] = [];
  /** What was logged of points that the receiver refused. */
  readonly refusals: { window: number; pointsRefused: number }[] = [];
  /** Added to the clock, so that a retry is due without waiting for it. */
  aheadMs = 0;
  readonly #finish: () => Promise<Received[]>;

  constructor(gate: Gate, { rowsMax, ...options }: BenchOptions, finish: () => Promise<Received[]>) {
    this.gate = gate;
    this.sums = new CumulativeSums({ rowsMax });
    this.#finish = finish;
    const clock = startClock();
    this.exporter = new OtlpExporter(
      { profile: 'otel', temporality: DELTA, ...options },
      {
        log: pino({ level: 'warn' }, { write: (line) => this.#hear(JSON.parse(line)) }),
        clock: () => ({ ms: clock().ms + this.aheadMs, unixNs: BigInt(FIRST) * 1_000_000_000n }),
        random: () => 0,
        onExported: (window) => {
          this.committed.push(window);
          setImmediate(() => this.exporter.committed(window));
        },
        readSelf: () => [{ metric: 'agents', attributes: {}, value: 3 }, ...this.sums.readings()],
        sums: this.sums,
      },
    );
    this.exporter.start();
  }

  close(window: number, point: PointSpec, roles = ['curl', 'nginx']): void {
    const nodes = roles.map((role) => ({ role }));
    this.closeAll(window, nodes, [{ level: Level.AzAz, ...point }]);
  }

  closeAll(window: number, nodes: Partial<Node>[], points: PointSpec[]): void {
    const outputs = [encodeWindowOutput(window, nodes, points)];
    const rows = decodeWindow(outputs, new Set([Level.IdId, Level.AzAz]));
    this.sums.add(window, 1e9, rows);
    this.exporter.push({ window, windowNs: 1e9, incarnation: 0xabn, outputs }, rows);
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    for (const start = Date.now(); !condition(); await sleep(20))
      if (Date.now() - start > 60_000) throw new Error(`no ${what}; committed ${this.committed}`);
  }

  get refused(): number | undefined {
    return this.exporter.readings().find(({ metric }) => metric === 'exportRefused')?.value;
  }

  reading(reason: string): number | undefined {
    return this.exporter.readings().find(({ attributes }) => attributes.reason === reason)?.value;
  }

  #hear({ window, pointsRefused }: { window: number; pointsRefused?: number }): void {
    if (pointsRefused !== undefined) this.refusals.push({ window, pointsRefused });
  }

  /** Stops exporter and collector. Everything that the collector received, one for each export. */
  async received(): Promise<Received[]> {
    await this.exporter.stop();
    return this.#finish();
  }
}

async function startBench(context: TestContext, options: BenchOptions = {}): Promise<Bench> {
  const directory = mkdtempSync(join(tmpdir(), 'tributary-otlp-'));
  const collector = await onFreePort((port) => startOtelCollector({ directory, port }));
  const gate = new Gate(Number(new URL(collector.endpoint).port));
  await once(gate.server, 'listening');
  context.after(async () => {
    gate.server.closeAllConnections();
    gate.server.close();
    await collector.stop();
    rmSync(directory, { recursive: true });
  });
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${(gate.server.address() as AddressInfo).port}`;
  process.env.OTEL_EXPORTER_OTLP_HEADERS = 'x-tenant=blue';
  const bench = new Bench(gate, options, async () => {
    await collector.stop();
    const lines = readFileSync(collector.file, 'utf8').trimEnd().split('\n');
    return lines.map((line) => {
      const [{ resource, scopeMetrics }] = JSON.parse(line).resourceMetrics;
      return { resource, metrics: scopeMetrics[0].metrics };
    });
  });
  context.after(() => bench.exporter.stop());
  return bench;
}

const points = ({ metrics }: Received, name: string): Point[] => {
  const metric = metrics.find((each) => each.name === name);
  return (metric?.sum ?? metric?.exponentialHistogram)?.dataPoints ?? [];
};
const ioOf = (received: Received): number =>
  points(received, 'tributary.flow.io').reduce((total, { asInt }) => total + Number(asInt), 0);
const total = (all: readonly Received[]): number => all.reduce((sum, each) => sum + ioOf(each), 0);

test('the collector receives sums, histogram, resource, headers and own readings of a window', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  const histogram = { scale: 3, offset: -90, counts: [2, 0, 5] };
  bench.close(FIRST, { forwardBytes: 2n ** 50n, reverseBytes: 1n, rttCount: 7, rttSumUs: 70n, histogram });
  await bench.until(() => bench.committed.length === 1, 'commit');
  const [received] = await bench.received();
  assert.equal(ioOf(received), 2 ** 50 + 1);
  const [rtt] = points(received, 'tributary.tcp.rtt.duration');
  assert.equal(rtt.count, '7');
  assert.deepEqual(rtt.positive, { offset: -90, bucketCounts: ['2', '0', '5'] });
  const resource = new Map(received.resource.attributes.map(({ key, value }) => [key, value.stringValue]));
  assert.equal(resource.get('service.name'), 'tributary-reducer');
  assert.equal(resource.get('service.instance.id'), '00000000000000ab');
  assert.equal(points(received, 'tributary.reducer.agent.active')[0].asInt, '3');
  assert.deepEqual(bench.gate.headers, ['blue']);
});

test('a window that was refused is not committed until a retry has arrived, once', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  bench.gate.verdict = () => 400;
  bench.close(FIRST, { forwardBytes: 10n });
  bench.close(FIRST + 1, { forwardBytes: 5n });
  await bench.until(() => bench.reading('failure') === 1, 'failure');
  assert.deepEqual(bench.committed, []);
  bench.gate.verdict = () => undefined;
  bench.aheadMs += 60_000;
  await bench.until(() => bench.committed.length === 2, 'commits');
  assert.deepEqual(bench.committed, [FIRST, FIRST + 1]);
  assert.deepEqual((await bench.received()).map(ioOf), [10, 5]);
});

test('of a window of several chunks the refused ones alone are sent again, and none before all have arrived is committed', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  const nodes = Array.from({ length: 3_001 }, (_, index) => ({ id: `node-${index}`, role: 'r' }));
  const edges = Array.from({ length: 3_000 }, (_, index) => ({
    ...{ level: Level.IdId, clientNode: index, serverNode: 3_000 },
    // Two points, and the third is the level of open connections.
    ...{ forwardBytes: BigInt(index + 1), forwardPackets: 1n },
  }));
  const chunks = Math.ceil(9_001 / CHUNK_POINTS_MAX);
  let posts = 0;
  bench.gate.verdict = () => (posts++ % 2 === 0 ? 400 : undefined);
  bench.closeAll(FIRST, nodes, edges);
  await bench.until(() => bench.reading('failure') === 1, 'failure');
  assert.deepEqual(bench.committed, []);
  bench.gate.verdict = () => undefined;
  bench.aheadMs += 60_000;
  await bench.until(() => bench.committed.length === 1, 'commit');
  const refused = Math.ceil(posts / 2);
  assert.equal(bench.gate.sizes.length, chunks + refused);
  const received = await bench.received();
  assert.equal(received.length, chunks);
  const values = received.flatMap((each) => points(each, 'tributary.flow.io')).map(({ asInt }) => Number(asInt));
  assert.deepEqual(
    values.toSorted((a, b) => a - b),
    edges.map((_, index) => index + 1),
  );
  assert.equal(received.flatMap((each) => points(each, 'tributary.reducer.agent.active')).length, 1);
  assert.equal(bench.reading('success'), 1);
});

/** Edges between `count` hosts and one more, each with its own number of bytes. */
function manyEdges(count: number): [Partial<Node>[], PointSpec[]] {
  const nodes = Array.from({ length: count + 1 }, (_, index) => ({ id: `node-${index}`, role: 'r' }));
  const edges = nodes.slice(0, count).map((_, clientNode) => ({
    ...{ level: Level.IdId, clientNode, serverNode: count, forwardBytes: BigInt(clientNode + 1) },
  }));
  return [nodes, edges];
}

const sortedIo = (all: readonly Received[]): number[] =>
  all
    .flatMap((each) => points(each, 'tributary.flow.io'))
    .map(({ asInt }) => Number(asInt))
    .sort((a, b) => a - b);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

for (const [who, status, complaint] of [
  ['a proxy', 413, ''],
  // confighttp of the collector, beyond max_request_body_size.
  ['a collector', 400, 'http: request body too large'],
] as const) {
  test(`what is too large for ${who} is sent in halves at once, and the next window in smaller chunks`, {
    skip: part.skip,
  }, async (context) => {
    const bench = await startBench(context);
    const refused: number[] = [];
    bench.gate.complaint = complaint;
    bench.gate.verdict = ({ length }) => {
      if (length <= 200_000) return undefined;
      refused.push(length);
      return status;
    };
    bench.closeAll(FIRST, ...manyEdges(2_000));
    await bench.until(() => bench.committed.length === 1, 'commit');
    const refusedFirst = refused.length;
    assert.ok(refusedFirst > 0, `${bench.gate.sizes}`);
    bench.closeAll(FIRST + 1, ...manyEdges(2_000));
    await bench.until(() => bench.committed.length === 2, 'commit');
    assert.equal(refused.length, refusedFirst);
    assert.deepEqual([bench.reading('success'), bench.reading('failure'), bench.refused], [2, 0, 0]);
    const twice = sortedIo(await bench.received());
    assert.deepEqual(
      twice.filter((_, index) => index % 2 === 0),
      upTo(2_000),
    );
    assert.equal(twice.length, 4_000);
  });
}

test('chunks grow again once the receiver takes larger ones', { skip: part.skip }, async (context) => {
  const bench = await startBench(context);
  let bytesMax = 200_000;
  bench.gate.verdict = ({ length }) => (length > bytesMax ? 413 : undefined);
  const largestOf = async (window: number): Promise<number> => {
    const before = bench.gate.sizes.length;
    bench.closeAll(window, ...manyEdges(1_000));
    await bench.until(() => bench.committed.at(-1) === window, 'commit');
    return Math.max(...bench.gate.sizes.slice(before));
  };
  const whole = await largestOf(FIRST);
  bytesMax = Infinity;
  assert.ok((await largestOf(FIRST + 1)) < whole / 2);
  for (let window = FIRST + 2; window < FIRST + 6; window++) await largestOf(window);
  // What differs are the digits of our own readings.
  const grown = await largestOf(FIRST + 6);
  assert.ok(Math.abs(grown - whole) < 1_000, `${grown} and ${whole} bytes`);
});

test('points that a receiver rejects of what it takes are counted, and the window is committed', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  // ExportMetricsServiceResponse { partial_success { rejected_data_points: 5, error_message: "x" } }
  bench.gate.complaint = '\x0a\x05\x08\x05\x12\x01x';
  bench.gate.verdict = () => 200;
  bench.close(FIRST, { forwardBytes: 1n });
  await bench.until(() => bench.committed.length === 1, 'commit');
  assert.equal(bench.refused, 5);
});

for (const status of [400, 413]) {
  test(`what a receiver refuses for itself (${status}) holds back neither the rest of the window nor the next one, counted`, {
    skip: part.skip,
  }, async (context) => {
    const bench = await startBench(context);
    const [nodes, edges] = manyEdges(40);
    nodes[7].role = 'poison';
    bench.gate.verdict = (body) => (body.includes('poison') ? status : undefined);
    bench.closeAll(FIRST, nodes, edges);
    bench.close(FIRST + 1, { forwardBytes: 999n });
    bench.closeAll(FIRST + 2, nodes, edges);
    await bench.until(() => bench.committed.length === 3, 'commits');
    // Its bytes, and that nothing is open.
    assert.equal(bench.refused, 4);
    assert.deepEqual(bench.refusals, [
      { window: FIRST, pointsRefused: 2 },
      { window: FIRST + 2, pointsRefused: 2 },
    ]);
    assert.deepEqual(
      sortedIo(await bench.received()),
      [...upTo(40), ...upTo(40), 999].filter((bytes) => bytes !== 8).sort((a, b) => a - b),
    );
  });

  test(`a receiver that refuses everything (${status}) for a while is told all of it afterwards, once`, {
    skip: part.skip,
  }, async (context) => {
    const bench = await startBench(context);
    bench.gate.verdict = () => status;
    bench.closeAll(FIRST, ...manyEdges(40));
    await bench.until(() => {
      bench.aheadMs += 60_000;
      return (bench.reading('failure') ?? 0) >= 12;
    }, 'failures');
    assert.deepEqual(bench.committed, []);
    bench.gate.verdict = () => undefined;
    await bench.until(() => {
      bench.aheadMs += 60_000;
      return bench.committed.length === 1;
    }, 'commit');
    assert.equal(bench.refused, 0);
    assert.deepEqual(sortedIo(await bench.received()), upTo(40));
  });
}

test('a window that is refused as a whole holds back nothing, and is given up in a bounded number of requests', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  const [nodes, edges] = manyEdges(3_000);
  for (const node of nodes) node.role = 'too-old';
  bench.gate.verdict = (body) => (body.includes('too-old') ? 400 : undefined);
  bench.closeAll(FIRST, nodes, edges);
  bench.close(FIRST + 1, { forwardBytes: 999n });
  await bench.until(() => bench.committed.length === 2, 'commits');
  // The bytes of each, and that nothing is open; with them our own readings where they shared a chunk.
  const refused = bench.refused ?? 0;
  assert.ok(refused >= 6_000 && refused < 6_100, `${refused} points`);
  assert.ok(bench.gate.sizes.length < 2_000, `${bench.gate.sizes.length} requests`);
  assert.deepEqual(sortedIo(await bench.received()), [999]);
});

test('a receiver that takes a part of a window and then refuses everything for a while is told the rest afterwards, as it was', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  let posts = 0;
  bench.gate.verdict = () => (posts++ === 0 ? undefined : 400);
  // The second chunk is a few rows.
  bench.closeAll(FIRST, ...manyEdges(1_024));
  await bench.until(() => {
    bench.aheadMs += 60_000;
    return (bench.reading('failure') ?? 0) >= 12;
  }, 'failures');
  assert.deepEqual([bench.committed, bench.refused], [[], 0]);
  bench.gate.verdict = () => undefined;
  await bench.until(() => {
    bench.aheadMs += 60_000;
    return bench.committed.length === 1;
  }, 'commit');
  const received = await bench.received();
  assert.equal(bench.refused, 0);
  assert.deepEqual(sortedIo(received), upTo(1_024));
  assert.equal(received.filter((each) => points(each, 'tributary.flow.io').length > 0).length, 2);
});

test('a chunk of the longest names is one that the gRPC receiver of a collector takes', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  const text = (length: number): string => 'x'.repeat(length);
  // wasm-modules/assembly/enrich: nodes.ts and pods.ts say how long a text may be.
  const longest = {
    ...{ role: text(128), zone: text(64), host: text(64), address: text(64), process: text(64) },
    ...{ container: text(128), containerName: text(128), imageName: text(127), imageTag: text(128) },
    ...{ podUid: text(36), podQos: text(16), podNamespace: text(64), podName: text(256) },
  };
  const nodes = Array.from({ length: 33 }, (_, index) => ({ ...longest, id: `${text(254)}${10 + index}` }));
  const edges = nodes.flatMap((_, clientNode) =>
    nodes.map((_, serverNode) => ({ level: Level.IdId, clientNode, serverNode, forwardBytes: 1n })),
  );
  bench.gate.verdict = () => 200;
  bench.closeAll(FIRST, nodes, edges);
  await bench.until(() => bench.committed.length === 1, 'commit');
  const [largest] = bench.gate.sizes.toSorted((a, b) => b - a);
  // configgrpc of the collector, max_recv_msg_size_mib. Nothing is split for no reason: two halves of it would not do.
  assert.ok(largest > 2 << 20 && largest < 4 << 20, `${largest} bytes`);
});

for (const [name, temporality, batches] of [
  ['delta', DELTA, EXPORT_QUEUE_MAX] as const,
  ['cumulative', CUMULATIVE, CUMULATIVE_BATCHES_MAX] as const,
]) {
  test(`${name}: more windows than the queue holds lose no byte while the receiver is silent`, {
    skip: part.skip,
  }, async (context) => {
    const bench = await startBench(context, { temporality });
    const opened = Promise.withResolvers<undefined>();
    bench.gate.verdict = () => opened.promise;
    const count = EXPORT_QUEUE_MAX + 5;
    for (let index = 0; index < count; index++) bench.close(FIRST + index, { forwardBytes: 1n << BigInt(index) });
    assert.equal(bench.exporter.queueLength, batches);
    assert.equal(bench.reading(name === 'delta' ? 'merged' : 'superseded'), count - batches);
    opened.resolve(undefined);
    await bench.until(() => bench.committed.at(-1) === FIRST + count - 1, 'commit of the last window');
    const received = await bench.received();
    assert.equal(received.length, batches);
    assert.equal(name === 'delta' ? total(received) : ioOf(received[received.length - 1]), 2 ** count - 1);
  });
}

test('cumulative sums of more edges than are kept add up in (other), counted', { skip: part.skip }, async (context) => {
  const bench = await startBench(context, { temporality: CUMULATIVE, rowsMax: 2 });
  for (const [index, role] of ['a', 'b', 'c', 'd', 'a', 'c'].entries())
    bench.close(FIRST + index, { forwardBytes: 1n << BigInt(index) }, [role, 'nginx']);
  await bench.until(() => bench.committed.at(-1) === FIRST + 5, 'the commit of the last window');
  const last = (await bench.received()).at(-1) ?? assert.fail('nothing was received');
  const byRole = points(last, 'tributary.flow.io').map(({ attributes, asInt }) => [
    attributes.find(({ key }) => key === 'tributary.source.role')?.value.stringValue,
    asInt,
  ]);
  assert.deepEqual(
    new Map(byRole as [string, string][]),
    new Map([
      ...([
        ['a', '17'],
        ['b', '2'],
      ] as const),
      ['(other)', '44'],
    ]),
  );
  const overflow = points(last, 'tributary.series.overflow')[0];
  assert.equal(overflow.asInt, '3');
});

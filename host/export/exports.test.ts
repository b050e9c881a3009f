// The export thread with a receiver over HTTP, as the reducer runs it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { pino } from 'pino';
import { waitFor } from '../../test/lab/wait.ts';
import { Level } from '../wire/gen/records-layout.ts';
import type { ExportThreadOptions } from './export-thread.ts';
import { Exports, POSTED_WINDOWS_MAX } from './exports.ts';
import { encodeWindowOutput } from './testing/window-output.ts';

const LEVELS = new Set([Level.AzAz]);
const OUTPUT = encodeWindowOutput(7, [{ role: 'curl' }, { role: 'nginx' }], [{ level: Level.AzAz, forwardBytes: 5n }]);

interface Line {
  level: string;
  msg: string;
  err?: { type: string; message: string; code?: number };
}

class Bench {
  readonly exported: number[] = [];
  readonly failures: Error[] = [];
  readonly holds: boolean[] = [];
  readonly lines: Line[] = [];
  readonly exports: Exports;

  constructor(options: Partial<ExportThreadOptions>, environment: NodeJS.ProcessEnv = {}) {
    const write = (line: string): void => void this.lines.push(JSON.parse(line));
    this.exports = new Exports(
      { incarnation: 1n, ...options },
      {
        log: pino({ formatters: { level: (level) => ({ level }) } }, { write }),
        environment,
        onExported: (window) => this.exported.push(window),
        hold: (isHeld) => this.holds.push(isHeld),
        fail: (error) => this.failures.push(error),
      },
    );
  }

  /** Returns what was handed over. */
  close(window: number, output = Uint8Array.from(OUTPUT)): Uint8Array {
    this.exports.expect();
    this.exports.push({ window, windowNs: 1e9, incarnation: 1n, outputs: [output] }, LEVELS);
    return output;
  }
}

/** Answers POSTs with these, the last one again and again. */
async function startReceiver(context: TestContext, statuses: number[]): Promise<NodeJS.ProcessEnv> {
  const server = createServer((request, response) => {
    request
      .resume()
      .on('end', () => response.writeHead(statuses.length > 1 ? (statuses.shift() ?? 0) : statuses[0]).end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const OTLP = { temporality: AggregationTemporality.DELTA };

test('a window is exported once the agents were told of the one before', async (context) => {
  // The second answer is that to a probe.
  const bench = new Bench(OTLP, await startReceiver(context, [400, 400, 200]));
  context.after(() => bench.exports.stop());
  assert.equal(await bench.exports.start(), undefined);
  assert.equal(bench.close(7).byteLength, 0, 'no copy');
  bench.close(8);
  await waitFor(() => bench.exported.length === 1 || undefined, 'window 7 to be exported');
  assert.deepEqual(bench.exported, [7]);
  assert.equal(bench.exports.queueLength, 1);
  bench.exports.committed(7);
  await waitFor(() => bench.exported.length === 2 || undefined, 'window 8 to be exported');
  assert.equal(bench.exports.queueLength, 0);
  await bench.exports.stop();
  assert.deepEqual(bench.exported, [7, 8]);
  const said = bench.lines.filter(({ msg }) => msg.startsWith('export'));
  assert.deepEqual(
    said.map(({ level, msg }) => [level, msg]),
    [
      ['warn', 'export failed'],
      ['info', 'exported window=7'],
      ['info', 'exported window=8'],
    ],
  );
  assert.equal(said[0].err?.type, 'OTLPExporterError');
  assert.deepEqual(bench.failures, []);
});

test('what a receiver says that does not speak HTTP is an error in the log, without all of its bytes', async (context) => {
  const server = createNetServer((socket) =>
    socket.on('error', () => {}).once('data', () => socket.end('no HTTP'.repeat(500))),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const bench = new Bench(OTLP, { OTEL_EXPORTER_OTLP_ENDPOINT: url });
  context.after(() => bench.exports.stop());
  await bench.exports.start();
  bench.close(7);
  const { err } = await waitFor(() => bench.lines.find(({ msg }) => msg === 'export failed'), 'the export to fail');
  assert.match(String(err?.message), /Parse Error/);
  assert.ok(JSON.stringify(err).length < 2_000, JSON.stringify(err));
});

for (const [name, options] of [
  ['OTLP', OTLP],
  ['a Prometheus', { prometheus: { address: { host: '127.0.0.1', port: 0 }, insecure: false } }],
] as const) {
  test(`no window is to be closed while the thread of ${name} has not taken the last ones, counted`, async (context) => {
    const bench = new Bench(options, await startReceiver(context, [400]));
    context.after(() => bench.exports.stop());
    const address = await bench.exports.start();
    const push = (count: number): void => {
      for (let window = 0; window < count; window++) bench.close(7 + window);
    };
    // Before this returns to the event loop it hears nothing from the thread.
    push(POSTED_WINDOWS_MAX - 1);
    assert.deepEqual(bench.holds, []);
    bench.exports.expect();
    assert.deepEqual(bench.holds, [true], 'one that is still being packed');
    bench.exports.push({ window: 11, windowNs: 1e9, incarnation: 1n, outputs: [Uint8Array.from(OUTPUT)] }, LEVELS);
    push(2);
    assert.deepEqual(bench.holds, [true]);
    assert.equal(bench.exports.queueLength, POSTED_WINDOWS_MAX + 2);
    await waitFor(() => bench.holds.length === 2 || undefined, 'the thread to take them');
    assert.deepEqual(bench.holds, [true, false]);
    bench.exports.tellSelf([]);
    if (address !== undefined) {
      const url = `http://127.0.0.1:${address.port}/metrics`;
      await waitFor(
        async () => (await (await fetch(url)).text()).includes('\ntributary_export_hold_count_total{') || undefined,
        'the count',
      );
    }
  });
}

test('an address that must not be used is a usage error, and an error in the thread is told once', async (context) => {
  const forbidden = new Bench({ prometheus: { address: { host: '0.0.0.0', port: 0 }, insecure: false } });
  context.after(() => forbidden.exports.stop());
  await assert.rejects(forbidden.exports.start(), { name: 'Error', code: 'TRB_INSECURE' });
  assert.deepEqual(forbidden.failures, []);

  const bench = new Bench({ prometheus: { address: { host: '127.0.0.1', port: 0 }, insecure: false } });
  context.after(() => bench.exports.stop());
  assert.notEqual((await bench.exports.start())?.port, 0);
  bench.close(7, new Uint8Array(3));
  await waitFor(() => bench.failures.length > 0 || undefined, 'the thread to fail');
  await bench.exports.stop();
  assert.deepEqual(
    bench.failures.map(({ name }) => name),
    ['RangeError'],
  );
  assert.deepEqual(
    bench.lines.map(({ level, msg }) => [level, msg]),
    [['fatal', 'the export thread failed']],
  );
});

// The export thread with a receiver over HTTP, as the reducer runs it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { pino } from 'pino';
import { waitFor } from '../../test/lab/wait.ts';
import { Level } from '../wire/gen/records-layout.ts';
import type { ExportThreadOptions } from './export-thread.ts';
import { Exports } from './exports.ts';
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
        fail: (error) => this.failures.push(error),
      },
    );
  }

  close(window: number): void {
    this.exports.push({ window, windowNs: 1e9, incarnation: 1n, outputs: [OUTPUT] }, LEVELS);
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

test('a window is exported once the agents were told of the one before, and its bytes stay the caller’s', async (context) => {
  const bench = new Bench(OTLP, await startReceiver(context, [400, 200]));
  context.after(() => bench.exports.stop());
  const before = Buffer.from(OUTPUT);
  assert.equal(await bench.exports.start(), undefined);
  bench.close(7);
  bench.close(8);
  await waitFor(() => bench.exported.length === 1 || undefined, 'window 7 to be exported');
  assert.deepEqual(bench.exported, [7]);
  assert.equal(bench.exports.queueLength, 1);
  bench.exports.committed(7);
  await waitFor(() => bench.exported.length === 2 || undefined, 'window 8 to be exported');
  assert.equal(bench.exports.queueLength, 0);
  await bench.exports.stop();
  assert.deepEqual(bench.exported, [7, 8]);
  assert.deepEqual(Buffer.from(OUTPUT), before);
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

test('an address that must not be used is a usage error, and an error in the thread is told once', async (context) => {
  const forbidden = new Bench({ prometheus: { address: { host: '0.0.0.0', port: 0 }, insecure: false } });
  context.after(() => forbidden.exports.stop());
  await assert.rejects(forbidden.exports.start(), { name: 'Error', code: 'TRB_INSECURE' });
  assert.deepEqual(forbidden.failures, []);

  const bench = new Bench({ prometheus: { address: { host: '127.0.0.1', port: 0 }, insecure: false } });
  context.after(() => bench.exports.stop());
  assert.notEqual((await bench.exports.start())?.port, 0);
  bench.exports.push({ window: 7, windowNs: 1e9, incarnation: 1n, outputs: [new Uint8Array(3)] }, LEVELS);
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

// From the frame of an agent, through reducer.wasm, to the metric that is exported: each part reads the schema by itself.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyResource } from '@opentelemetry/resources';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import {
  announceFrame,
  once,
  onceFrame,
  openFrame,
  tally,
  tallyFrame,
} from '../../wasm-modules/testing/agent-frames.ts';
import { compileModule } from '../../wasm-modules/testing/compile-module.ts';
import { clientEnd, FIRST_WINDOW, serverEnd, TwoHosts } from '../../wasm-modules/testing/two-hosts.ts';
import { Level } from '../wire/gen/records-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { mergeRows, sortedRows } from './edge-rows.ts';
import { toResourceMetrics } from './otlp-metrics.ts';
import { decodeHosts, decodeWindow } from './window-rows.ts';

const OF_TALLIES = /^dns|handshake|connection\.duration|overflow|drop/;

for (const workers of [1, 2]) {
  test(`tallies that agents tell are metrics of their edge and of their host (${workers} workers)`, () => {
    const world = new TwoHosts(compileModule('reducer/index.ts', 'release'), undefined, { workers });
    const [client, server] = [world.agent(1, 'shop', { zone: 'z1' }), world.agent(2, 'db', { zone: 'z2' })];
    world.say(client, announceFrame({ labels: [{ handle: 1, text: 'db.example' }] }));
    world.say(client, openFrame([clientEnd({ handle: 1, joinKey: 7n })]));
    const lookup = { handle: 1, code: (28 << 16) | 3, label: 1, count: 2n, sum: 6_000_000n };
    world.say(client, tallyFrame([tally(TallyKind.DnsLookup, lookup)]));
    const short = { joinKey: 9n, startTimeNs: 1_000_000_000n };
    world.say(server, onceFrame([once({ open: serverEnd(short), endTimeNs: 3_000_000_000n, handshakeUs: 250 })]));
    world.say(server, tallyFrame([tally(TallyKind.AcceptOverflow, { code: 5432, count: 4n })]));
    for (const agent of [client, server]) world.end(agent);
    const outputs = world.fleet.close(FIRST_WINDOW);
    const rows = mergeRows(decodeWindow(outputs, new Set([Level.AzAz])), decodeHosts(outputs).values());
    const times = { startNs: () => 0n, endNs: 0n, processStartNs: 0n, temporality: AggregationTemporality.DELTA };
    const { scopeMetrics } = toResourceMetrics({ ...times, rows: sortedRows(rows), self: [] }, emptyResource(), 'otel');
    const told = scopeMetrics[0].metrics
      .filter(({ descriptor }) => OF_TALLIES.test(descriptor.name))
      .map(({ descriptor, dataPoints }) => {
        const [{ value, attributes }] = dataPoints;
        const histogram = typeof value === 'object' && 'positive' in value ? value : undefined;
        const numbers = histogram === undefined ? value : [histogram.count, histogram.sum];
        const end = attributes['tributary.source.role'] ?? attributes['host.name'];
        return [descriptor.name, numbers, end, attributes['tributary.side'], attributes['error.type']];
      });
    assert.deepEqual(told, [
      ['tributary.tcp.handshake.client.duration', [1, 0.00025], '(private)', 'server', undefined],
      ['tributary.tcp.connection.duration', [1, 2], '(private)', 'server', undefined],
      ['tributary.tcp.accept_queue.overflow.count', 4, 'host-2', undefined, undefined],
      ['dns.lookup.duration', [2, 0.006], 'shop', 'client', 'NXDOMAIN'],
    ]);
  });
}

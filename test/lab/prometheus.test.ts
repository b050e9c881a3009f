// Two watched hosts, a reducer that is scraped by a real Prometheus and pushes cumulative sums to a collector at the same time. Truth is the access
// log of nginx, the exit codes of curl, and the kernel's count of segments.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { requirePart } from '../parts/go-program.ts';
import { type OtelCollector, startOtelCollector } from '../parts/otelcol.ts';
import { checkMetrics, Prometheus } from '../parts/prometheus.ts';
import { Lab } from './lab.ts';
import { Nginx } from './nginx.ts';
import { readSumPoints } from './otlp-sums.ts';
import { waitFor } from './wait.ts';

const PORT = 8080;
const CLOSED_PORT = 8081;
const REQUESTS = 200;
const FAILURES = 7;
const METRICS_PORT = 9464;
const OTLP_PORT = 4318;
const METRICS = `http://127.0.0.1:${METRICS_PORT}/metrics`;

const parts = await Promise.all([requirePart('prometheus'), requirePart('otelcol')]);
const skip = parts.map((part) => part.skip).find((reason) => reason !== undefined);

describe('a reducer that is scraped and pushes at the same time', { skip, concurrency: false }, () => {
  const lab = new Lab({
    hosts: ['cli', 'srv'],
    reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`, '--level', 'az_az', '--level', 'role_role'],
    reducerEnvironment: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${OTLP_PORT}` },
  });
  let prometheus: Prometheus;
  let collector: OtelCollector;
  let nginx: Nginx;

  before(async () => {
    const island = await lab.prepare();
    const spawn = island.spawn.bind(island);
    collector = await startOtelCollector({ directory: lab.directory, port: OTLP_PORT, spawn });
    await lab.begin();
    prometheus = await Prometheus.start({
      ...{ directory: lab.directory, port: 9090, targets: [METRICS, METRICS], spawn },
      get: (url) => island.exec('curl', '-sS', '--fail-with-body', url),
    });
    nginx = new Nginx(lab, 'srv', PORT);
    const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
    const url = `http://${server.v4}:${PORT}/`;
    await waitFor(async () => ((await server.exec('ss', '-Hltn')).includes(`:${PORT} `) ? true : undefined), 'nginx');
    await client.exec(
      'curl',
      '-sS',
      '-H',
      'Connection: close',
      ...new Array(REQUESTS).fill(['-o', '/dev/null', url]).flat(),
    );
    for (let count = 0; count < FAILURES; count++) {
      const { code } = await client.attempt('curl', '-sS', `http://${server.v4}:${CLOSED_PORT}/`);
      assert.equal(code, 7, 'curl: failed to connect to host');
    }
  });
  after(async () => {
    await prometheus?.stop();
    await collector?.stop();
    await lab.stop();
  });

  const atPort = (metric: string, port: number, more = ''): string =>
    `sum by (job, tributary_level) (${metric}{server_port="${port}"${more}})`;
  /** Both scrapers, both levels. */
  const everywhere = async (promql: string, truth: number | (() => Promise<number>)): Promise<void> => {
    let expected = 0;
    await waitFor(
      async () => {
        expected = typeof truth === 'number' ? truth : await truth();
        const samples = await prometheus.query(promql);
        return samples.length === 4 && samples.every(({ value }) => value === expected) ? true : undefined;
      },
      `${promql} to be what is true`,
      { detail: () => `${expected}\n${prometheus.log.slice(-2_000)}` },
    );
  };

  test("bytes and connections of nginx's log, on every level, for two scrapers", async () => {
    const log = await nginx.logged(REQUESTS);
    assert.equal(log.requests, REQUESTS);
    const direction = (name: string): string => `,tributary_flow_direction="${name}"`;
    await everywhere(atPort('tributary_flow_io_bytes_total', PORT, direction('forward')), log.requestBytes);
    await everywhere(atPort('tributary_flow_io_bytes_total', PORT, direction('reverse')), log.responseBytes);
    await everywhere(atPort('tributary_tcp_connection_count_total', PORT, ',error_type=""'), REQUESTS);
    await everywhere(atPort('tributary_flow_active', PORT), 0);
    const judged = await prometheus.value('max(tributary_flow_match_judged_bytes_total)');
    assert.ok(judged !== undefined && judged > 0);
  });

  test('each refused connect with its reason', async () => {
    await everywhere(atPort('tributary_tcp_connection_count_total', CLOSED_PORT, ',error_type="refused"'), FAILURES);
  });

  test('as many round-trip times in the buckets as there are samples', async () => {
    await everywhere(atPort('tributary_tcp_rtt_duration_seconds_bucket', PORT, ',le="+Inf"'), rttCount);
    const seconds = await prometheus.value(
      'histogram_quantile(0.5, sum by (le) (tributary_tcp_rtt_duration_seconds_bucket{tributary_level="az_az"}))',
    );
    // Two namespaces of one machine: more than nothing, less than what a person would wait for.
    assert.ok(seconds !== undefined && seconds > 0 && seconds < 1, `median ${seconds}`);
  });

  async function rttCount(): Promise<number> {
    const { edges } = await lab.edges('role_role');
    return edges.filter(({ serverPort }) => serverPort === PORT).reduce((sum, { rtt }) => sum + (rtt?.count ?? 0), 0);
  }

  test('the collector received the same sums, while the reducer was scraped', async () => {
    const sums = await waitFor(
      () => {
        const points = readSumPoints(collector.file).filter(
          ({ metric, attributes }) =>
            metric === 'tributary.flow.io' &&
            attributes['server.port'] === String(PORT) &&
            attributes['tributary.level'] === 'role_role',
        );
        // Cumulative: the last export says all, edge by edge.
        const last = points.filter(({ endNs }) => endNs === points.at(-1)?.endNs);
        const byDirection = { forward: 0, reverse: 0 };
        for (const { attributes, value } of last)
          byDirection[attributes['tributary.flow.direction'] as 'forward' | 'reverse'] += value;
        const { requestBytes, responseBytes } = nginx.accessLog();
        return byDirection.forward === requestBytes && byDirection.reverse === responseBytes ? byDirection : undefined;
      },
      'the sums at the collector',
      { detail: () => lab.reducer.log.slice(-2_000) },
    );
    assert.ok(sums.forward > 0);
  });

  test('own counters tell of frames, windows, exports and scrapes', async () => {
    for (const promql of [
      'tributary_reducer_frame_count_total{tributary_reason="accepted",job="tributary"} > 0',
      'tributary_reducer_window_count_total{tributary_reason="complete",job="tributary"} > 0',
      'tributary_export_window_count_total{tributary_reason="success",job="tributary"} > 0',
      'tributary_prometheus_scrape_count_total{tributary_reason="complete",job="tributary"} > 0',
      'tributary_reducer_agent_active{job="tributary"} == 2',
      'tributary_events_lost_total{tributary_reason="ring_full",job="tributary"} == 0',
      'up{job="tributary-1"} == 1',
    ])
      await waitFor(() => prometheus.value(promql), promql, { detail: () => prometheus.log });
  });

  test('promtool has nothing to say about the page', async () => {
    assert.equal(await checkMetrics(await lab.island.exec('curl', '-sS', METRICS)), '');
  });
});

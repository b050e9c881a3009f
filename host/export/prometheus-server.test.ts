// The listener against a real Prometheus. What it has to find is what the windows were made of.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { waitFor } from '../../test/lab/wait.ts';
import { onFreePort } from '../../test/parts/free-port.ts';
import { requirePart } from '../../test/parts/go-program.ts';
import { checkMetrics, Prometheus, type PrometheusOptions } from '../../test/parts/prometheus.ts';
import { createAuthority, issueCertificate, type KeyPair } from '../tls/authority.ts';
import type { Credentials } from '../tls/credentials.ts';
import { Level, NodeKind } from '../wire/gen/records-layout.ts';
import { CumulativeSums, type CumulativeSumsOptions } from './cumulative-sums.ts';
import { PrometheusServer, type PrometheusServerOptions, SCRAPERS_MAX, SCRAPES_MAX } from './prometheus-server.ts';
import { reducerResource } from './resource.ts';
import { encodeWindowOutput, type PointSpec } from './testing/window-output.ts';
import { decodeWindow } from './window-rows.ts';

const part = await requirePart('prometheus');
const FIRST = 1_700_000_000;
const LEVELS = new Set([Level.AzAz, Level.RoleRole]);
const NGINX = { role: 'nginx', zone: 'b' };

class Bench {
  readonly sums: CumulativeSums;
  readonly server: PrometheusServer;
  readonly logged: string[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), 'tributary-prometheus-'));
  #window = FIRST;

  constructor(options: Partial<PrometheusServerOptions> & CumulativeSumsOptions) {
    this.sums = new CumulativeSums(options);
    this.server = new PrometheusServer(
      { address: { host: '127.0.0.1', port: 0 }, insecure: false, ...options },
      {
        log: pino({ base: undefined }, { write: (line) => void this.logged.push(JSON.parse(line).msg) }),
        snapshot: () => ({
          rows: [...this.sums.snapshot().values()],
          self: [
            { metric: 'agents', attributes: {}, value: 3 },
            { metric: 'agentBlind', attributes: {}, value: 1.5 },
            ...this.sums.readings(),
            ...this.server.readings(),
          ],
          resource: reducerResource(0xabn),
        }),
      },
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.server.address.port}/metrics`;
  }

  /** A window of one second with edges to nginx, by the role of the client. */
  close(points: Record<string, PointSpec> = {}): void {
    const nodes = [...Object.keys(points).map((role) => ({ role, zone: 'a', kind: NodeKind.Process })), NGINX];
    const told = Object.values(points).map((point, clientNode) => ({
      ...{ level: Level.AzAz, clientNode, serverNode: nodes.length - 1 },
      ...point,
    }));
    this.sums.add(this.#window, 1e9, decodeWindow([encodeWindowOutput(this.#window, nodes, told)], LEVELS));
    this.sums.committed(this.#window);
    this.#window++;
  }

  scrapes(reason: string): number | undefined {
    return this.server.readings().find(({ attributes }) => attributes.reason === reason)?.value;
  }
}

async function startBench(
  context: TestContext,
  options: Partial<PrometheusServerOptions> & CumulativeSumsOptions = {},
  credentials?: Credentials,
): Promise<Bench> {
  const bench = new Bench(options);
  await bench.server.start(credentials);
  context.after(async () => {
    await bench.server.stop();
    rmSync(bench.folder, { recursive: true });
  });
  return bench;
}

async function startPrometheus(
  context: TestContext,
  { folder: directory, url }: Bench,
  options: Partial<PrometheusOptions> = {},
): Promise<Prometheus> {
  const prometheus = await onFreePort((port) => Prometheus.start({ directory, port, targets: [url], ...options }));
  context.after(() => prometheus.stop());
  return prometheus;
}

async function scrape(url: string): Promise<string> {
  const response = await fetch(url);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  return response.text();
}

const BUSY: PointSpec = {
  ...{ forwardBytes: 2n ** 50n, reverseBytes: 7n, forwardPackets: 3n, forwardRetransmits: 1n, active: 2n },
  ...{ connections: 4n, refused: 1, timedOut: 2, resetsServer: 1, flowsBoth: 4, residualBytes: 1n, judgedBytes: 9n },
  // 2^(-90/8) s to 2^(-88/8) s: four samples of at most 488 µs, three of more.
  ...{ rttCount: 7, rttSumUs: 3_000n, histogram: { scale: 3, offset: -90, counts: [1, 3, 3] } },
};

test('a Prometheus reads sums, levels, histograms, own counters and the resource', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  bench.close({ curl: BUSY, 'we"ird\\\n': { forwardBytes: 5n } });
  bench.close({ curl: { ...BUSY, active: 1n } });
  const prometheus = await startPrometheus(context, bench);
  await prometheus.until('tributary_flow_io_bytes_total{tributary_flow_direction="reverse"}', 14);
  const curl =
    'tributary_source_role="curl",tributary_level="az_az",source_cloud_availability_zone="a",server_port="443"';
  // A scrape that a busy machine delays beyond its second fails, and until the next one there is no value.
  for (const [promql, expected] of [
    [`tributary_flow_io_bytes_total{${curl},tributary_flow_direction="forward"}`, 2 ** 51],
    ['tributary_flow_io_bytes_total{tributary_source_role="we\\"ird\\\\\\n"}', 5],
    [`tributary_flow_packet_count_total{${curl}}`, 6],
    [`tributary_flow_active{${curl}}`, 1],
    [`tributary_tcp_connection_count_total{${curl},error_type=""}`, 8],
    [`tributary_tcp_connection_count_total{${curl},error_type="timed_out"}`, 4],
    [`tributary_tcp_reset_count_total{${curl},tributary_tcp_reset_sender="server"}`, 2],
    [`tributary_flow_match_residual_bytes_total{${curl}}`, 2],
    [`tributary_tcp_rtt_duration_seconds_count{${curl}}`, 14],
    [`tributary_tcp_rtt_duration_seconds_sum{${curl}}`, 0.006],
    [`tributary_tcp_rtt_duration_seconds_bucket{${curl},le="0.00048828125"}`, 8],
    [`tributary_tcp_rtt_duration_seconds_bucket{${curl},le="0.0009765625"}`, 14],
    [`tributary_tcp_rtt_duration_seconds_bucket{${curl},le="+Inf"}`, 14],
    ['count(tributary_flow_io_bytes_total{otel_scope_name="tributary"})', 3],
    ['tributary_reducer_agent_active', 3],
    ['tributary_agent_blind_duration_seconds_total', 1.5],
    ['target_info{service_name="tributary-reducer",service_instance_id="00000000000000ab"}', 1],
  ] as const)
    await prometheus.until(promql, expected);
  const median = await waitFor(
    () => prometheus.value('histogram_quantile(0.5, tributary_tcp_rtt_duration_seconds_bucket)'),
    'a median',
  );
  assert.ok(median > 2 ** -12 && median <= 2 ** -11, `median ${median}`);
});

test('promtool has nothing to say about a scrape', { skip: part.skip }, async (context) => {
  const bench = await startBench(context);
  assert.equal(await checkMetrics(await scrape(bench.url)), '', 'before the first window');
  bench.close({ curl: BUSY, wget: { ...BUSY, unreachable: 1, lateBytes: 3n, reverseRetransmits: 1n, flowsClient: 1 } });
  const text = await scrape(bench.url);
  assert.equal(await checkMetrics(text), '');
  assert.match(await checkMetrics(text.replace(/^# HELP .*\n/m, '')), /exit code 3/, 'it does judge');
});

test('two Prometheus see the same increase, and how often they ask changes nothing', {
  skip: part.skip,
}, async (context) => {
  const bench = await startBench(context);
  bench.close({ curl: { forwardBytes: 1_000n } });
  const prometheus = await startPrometheus(context, bench, { targets: [bench.url, bench.url] });
  const series = (job: string): string => `tributary_flow_io_bytes_total{job="${job}"}`;
  for (const job of ['tributary', 'tributary-1']) await prometheus.until(series(job), 1_000);
  const rows = [...bench.sums.snapshot().values()];
  await Promise.all(Array.from({ length: 5 }, () => scrape(bench.url)));
  assert.deepEqual([...bench.sums.snapshot().values()], rows);
  bench.close({ curl: { forwardBytes: 234n } });
  for (const job of ['tributary', 'tributary-1']) {
    await prometheus.until(series(job), 1_234);
    assert.equal(await prometheus.value(`max_over_time(${series(job)}[5m]) - min_over_time(${series(job)}[5m])`), 234);
  }
});

test('an edge that is gone leaves the scrape in time, and its series ends', { skip: part.skip }, async (context) => {
  const bench = await startBench(context, { staleNs: 2_000_000_000n });
  bench.close({ gone: { forwardBytes: 8n }, stays: { forwardBytes: 1n } });
  const prometheus = await startPrometheus(context, bench);
  await prometheus.until('tributary_flow_io_bytes_total{tributary_source_role="gone"}', 8);
  for (let count = 0; count < 2; count++) bench.close({ stays: { forwardBytes: 1n } });
  await prometheus.until('tributary_flow_io_bytes_total{tributary_source_role="gone"}', undefined);
  await prometheus.until('tributary_flow_io_bytes_total{tributary_source_role="stays"}', 3);
  await prometheus.until('tributary_series_expired_total', 1);
});

test('pieces of a long answer are one group of lines for each metric, compressed or not', async (context) => {
  const bench = await startBench(context);
  const clients = Array.from({ length: 300 }, (_, index) => [`client-${index}`, { forwardBytes: BigInt(index + 1) }]);
  bench.close(Object.fromEntries(clients));
  const plain = await scrapeRaw(bench.url, 'identity');
  const heads = plain.match(/^# TYPE .*$/gm) ?? [];
  assert.equal(new Set(heads).size, heads.length);
  assert.deepEqual(
    [...plain.matchAll(/^tributary_flow_io_bytes_total\{.*tributary_source_role="client-(\d+)".* (\d+)$/gm)]
      .map(([, client, value]) => Number(value) - Number(client))
      .filter((difference) => difference === 1).length,
    300,
  );
  // Values of the listener's own counters differ; fetch unpacks.
  const withoutScrapes = (text: string): string => text.replace(/^tributary_prometheus_scrape.*$/gm, '');
  assert.equal(withoutScrapes(await scrape(bench.url)), withoutScrapes(plain));
});

/** Some megabytes: more than the kernel takes off the listener's hands. */
function closeManyEdges(bench: Bench): void {
  for (let window = 0; window < 100; window++) {
    const roles = Array.from({ length: 20 }, (_, index) => `${window}-${index}-${'x'.repeat(200)}`);
    bench.close(Object.fromEntries(roles.map((role) => [role, BUSY])));
  }
}

test('a scraper that takes its answer drop by drop loses its place in time', async (context) => {
  const bench = await startBench(context, { scrapeMsMax: 200 });
  closeManyEdges(bench);
  const silent = connect(Number(new URL(bench.url).port), '127.0.0.1').pause();
  context.after(() => silent.destroy());
  silent.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
  await waitFor(async () => bench.scrapes('aborted') || undefined, 'the end of its time');
});

test('who is connected beyond the limit is refused and counted', async (context) => {
  const bench = await startBench(context);
  const port = Number(new URL(bench.url).port);
  const sockets = Array.from({ length: SCRAPERS_MAX + 1 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  context.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  await waitFor(async () => bench.scrapes('refused') || undefined, 'a refusal');
  assert.equal(bench.scrapes('refused'), 1);
  for (const socket of sockets) socket.destroy();
  await waitFor(async () => {
    const answer = await scrape(bench.url).catch(() => '');
    return answer.includes('tributary_') || undefined;
  }, 'an answer');
});

test('a scraper that reads nothing keeps no other waiting, and too many at once are refused and counted', async (context) => {
  const bench = await startBench(context);
  closeManyEdges(bench);
  const { port } = new URL(bench.url);
  const silent = Array.from({ length: SCRAPES_MAX }, () => connect(Number(port), '127.0.0.1').pause());
  context.after(() => {
    for (const socket of silent) socket.destroy();
  });
  for (const socket of silent) socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
  const statusOf = async (): Promise<number> => {
    const response = await fetch(bench.url);
    await response.text();
    return response.status;
  };
  await waitFor(async () => ((await statusOf()) === 503 ? true : undefined), 'a refusal');
  assert.ok((bench.scrapes('busy') ?? 0) >= 1);
  silent[0].destroy();
  await waitFor(async () => ((await statusOf()) === 200 ? true : undefined), 'an answer');
  // On a machine so busy that they were silent for too long the others have lost their places as well.
  const aborted = bench.scrapes('aborted') ?? 0;
  assert.ok(aborted >= 1 && aborted <= SCRAPES_MAX, `${aborted} were aborted`);
});

test('beyond loopback it takes a certificate of the authority or --insecure', { skip: part.skip }, async (context) => {
  const address = { host: '0.0.0.0', port: 0 };
  await assert.rejects(new Bench({ address }).server.start(), { code: 'TRB_INSECURE' });
  const now = new Date();
  const authority = await createAuthority({ name: 'test', days: 1, now });
  const issue = (purpose: 'client' | 'server') =>
    issueCertificate(authority, { name: '127.0.0.1', alternativeNames: [], purposes: [purpose], days: 1, now });
  const [own, scraper] = [await issue('server'), await issue('client')];
  const credentials = { ca: authority.certificate, cert: own.certificate, key: own.key };
  const bench = await startBench(context, { address }, credentials);
  bench.close({ curl: BUSY });
  const url = bench.url.replace('http', 'https');
  await assert.rejects(requestOnce(requestSecure(url, { ca: authority.certificate })));
  await assert.rejects(requestOnce(requestPlain(url.replace('https', 'http'))));
  assert.equal(bench.scrapes('refused'), 2);
  const files = { ca: authority.certificate, cert: scraper.certificate, key: scraper.key };
  const path = (name: string): string => join(bench.folder, name);
  for (const [name, pem] of Object.entries(files)) writeFileSync(path(name), pem);
  const tls = { ca: path('ca'), cert: path('cert'), key: path('key') };
  const prometheus = await startPrometheus(context, bench, { targets: [url], tls });
  await prometheus.until('tributary_flow_active', 2);

  const other = await createAuthority({ name: 'other', days: 1, now });
  bench.server.renew({ ...credentials, ca: other.certificate });
  const stranger = { ca: authority.certificate, cert: scraper.certificate, key: scraper.key };
  await assert.rejects(requestOnce(requestSecure(url, { ...stranger, agent: false })));
});

test('who is refused by TLS is counted, and the log says why, once for a flood', async (context) => {
  const now = new Date();
  const [authority, other] = await Promise.all(
    ['tributary', 'other'].map((name) => createAuthority({ name, days: 1, now })),
  );
  const issue = (by: KeyPair, date: Date): Promise<KeyPair> =>
    issueCertificate(by, {
      name: 'localhost',
      alternativeNames: [],
      purposes: ['client', 'server'],
      days: 1,
      now: date,
    });
  const own = await issue(authority, now);
  const bench = new Bench({});
  context.after(() => bench.server.stop());
  await bench.server.start({ ca: authority.certificate, cert: own.certificate, key: own.key });
  const url = bench.url.replace('http', 'https').replace('127.0.0.1', 'localhost');
  const ask = async (options: object): Promise<void> =>
    assert.rejects(requestOnce(requestSecure(url, { ca: authority.certificate, agent: false, family: 4, ...options })));
  const stranger = await issue(other, now);
  const expired = await issue(authority, new Date(now.getTime() - 3 * 86_400_000));
  const cases: [RegExp, () => Promise<void>][] = [
    [/showed no certificate/, () => ask({})],
    [/not from an authority in tls.ca/, () => ask({ cert: stranger.certificate, key: stranger.key })],
    [/has expired/, () => ask({ cert: expired.certificate, key: expired.key })],
    [/no TLS 1.3/, () => ask({ maxVersion: 'TLSv1.2', cert: own.certificate, key: own.key })],
    [/HTTP to a port for HTTPS/, () => assert.rejects(requestOnce(requestPlain(bench.url)))],
  ];
  for (const [index, [words, refusedOne]] of cases.entries()) {
    for (let count = 0; count < 3; count++) await refusedOne();
    await waitFor(async () => bench.scrapes('refused') === 3 * (index + 1) || undefined, 'three refusals');
    assert.equal(bench.logged.length, index + 1, bench.logged.join('\n'));
    assert.match(bench.logged[index], /^the listener for Prometheus refused 127\.0\.0\.1:\d+: /);
    assert.match(bench.logged[index], words);
  }
  assert.deepEqual([bench.scrapes('complete'), bench.scrapes('aborted')], [0, 0]);
});

async function requestOnce(call: ReturnType<typeof requestPlain>): Promise<void> {
  call.end();
  const [response] = await once(call, 'response');
  response.resume();
}

async function scrapeRaw(url: string, encoding: string): Promise<string> {
  const response = await fetch(url, { headers: { 'accept-encoding': encoding } });
  assert.equal(response.headers.get('content-encoding'), null);
  return response.text();
}

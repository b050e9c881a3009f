// How long connections take, over a link that holds every packet back for a known time. Truth is what the kernel says of each socket (ss -ti), and
// its counters.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Lab } from './lab.ts';
import type { LabHost } from './network.ts';
import { readCounter } from './protocol-counters.ts';
import { describeSamples, type Sample, scrape, sumOf } from './scrape.ts';
import { type Connected, connect, Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const PROGRAM = fileURLToPath(new URL('./delayed_link.py', import.meta.url));
const METRICS_PORT = 9464;
/** Of each packet, one way. */
const DELAY_MS = 25;
const ROUND_TRIP_MS = 2 * DELAY_MS;
const CONNECTIONS = 5;

/** Of one socket, ms. */
interface Timing {
  srtt: number;
  variation: number;
  least: number;
}

describe('latency over a link that takes its time', { concurrency: false }, () => {
  const lab = new Lab({
    hosts: ['cli', 'srv', 'mid'],
    unwatched: ['mid'],
    reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`, '--level', 'role_role'],
  });
  let client: LabHost;
  let server: LabHost;
  let samples: Sample[] = [];

  before(async () => {
    await lab.start();
    client = lab.network.host('cli');
    server = lab.network.host('srv');
    const middle = lab.network.host('mid');
    const link = middle.spawn('python3', [PROGRAM, String(DELAY_MS)], { stdio: ['ignore', 'pipe', 'inherit'] });
    lab.others.push(link);
    assert(link.stdout !== null);
    await once(link.stdout, 'data');
    for (const [host, peer] of [
      [client, server],
      [server, client],
    ]) {
      await host.exec('sysctl', '-q', '-w', 'net.ipv4.conf.eth0.accept_redirects=0');
      await host.exec('ip', 'route', 'add', `${peer.v4}/32`, 'via', middle.v4);
    }
    await server.nft('table inet loss {\n chain i {\n type filter hook input priority 0;\n }\n }');
  });
  after(() => lab.stop());

  async function open(port: number): Promise<{ from: Sockets; to: Sockets; connections: Connected[] }> {
    const [from, to] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
    await to.order('listen', port);
    const connections: Connected[] = [];
    for (let count = 0; count < CONNECTIONS; count++) connections.push(await connect(from, to, server.v4, port));
    return { from, to, connections };
  }

  /** As the kernel times the sockets of a host that are connected at `port`. */
  async function readTimings(host: LabHost, port: number): Promise<Timing[]> {
    const text = await host.exec('ss', '-Htni', 'state', 'established', `( sport = :${port} or dport = :${port} )`);
    return [...text.matchAll(/ rtt:([\d.]+)\/([\d.]+) .*? minrtt:([\d.]+)/g)].map(([, srtt, variation, least]) => ({
      ...{ srtt: Number(srtt), variation: Number(variation), least: Number(least) },
    }));
  }

  async function untilSum(name: string, labels: Record<string, string>, expected: number): Promise<void> {
    await waitFor(
      async () => {
        samples = await scrape(lab.island, METRICS_PORT);
        return sumOf(samples, name, labels) === expected ? true : undefined;
      },
      `${name}${JSON.stringify(labels)} to be ${expected}`,
      { detail: () => describeSamples(samples, /^tributary_tcp/) },
    );
  }

  /** The sum of `count` samples of a histogram, once they are there, ms. */
  async function sumMs(metric: string, labels: Record<string, string>, count: number): Promise<number> {
    await untilSum(`${metric}_count`, labels, count);
    return sumOf(samples, `${metric}_sum`, labels) * 1000;
  }

  function assertWithin(found: number, least: number, most: number, what: string): void {
    assert.ok(least <= found && found <= most, `${what}: exported ${found}, by the kernel ${least} to ${most}`);
  }

  test("handshakes and round trips are those of the kernel's own clock, for each end", async () => {
    const PORT = 7501;
    const { from, to, connections } = await open(PORT);
    // Until data moves, the only sample of the round trip is the handshake.
    const sides = [
      { side: 'client', share: 'server', timings: await readTimings(client, PORT) },
      { side: 'server', share: 'client', timings: await readTimings(server, PORT) },
    ];
    const at = { server_port: String(PORT) };
    for (const { side, share, timings } of sides) {
      assert.equal(timings.length, CONNECTIONS);
      for (const { srtt } of timings) assert.ok(srtt >= ROUND_TRIP_MS, `${srtt} ms`);
      const truth = timings.reduce((sum, { srtt }) => sum + srtt, 0);
      const labels = { ...at, tributary_side: side };
      const found = await sumMs(`tributary_tcp_handshake_${share}_duration_seconds`, labels, CONNECTIONS);
      assertWithin(found, truth - CONNECTIONS, truth + CONNECTIONS, `handshakes at the ${side}`);
    }

    for (let round = 0; round < 20; round++) {
      for (const { client: socket, server: accepted } of connections) {
        await from.order('send', socket, 1000);
        await to.order('receive', accepted, 1000);
        await to.order('send', accepted, 1000);
        await from.order('receive', socket, 1000);
      }
    }
    await waitFor(
      async () =>
        ((await client.exec('ss', '-Htn', `dport = :${PORT}`)).match(/^ESTAB +0 +0 /gm) ?? []).length === CONNECTIONS ||
        undefined,
      'everything to be acknowledged',
    );
    const before = { client: await readTimings(client, PORT), server: await readTimings(server, PORT) };
    for (const { client: socket, server: accepted } of connections) {
      await from.order('close', socket);
      await to.order('close', accepted);
    }
    for (const side of ['client', 'server'] as const) {
      const labels = { ...at, tributary_side: side };
      const sum = (pick: (timing: Timing) => number) => before[side].reduce((total, each) => total + pick(each), 0);
      // The acknowledgement of the FIN is one sample more: it may be the least, and moves the deviation by a quarter at most.
      const least = await sumMs('tributary_tcp_rtt_min_seconds', labels, CONNECTIONS);
      const leastBefore = sum((each) => each.least);
      assertWithin(least, CONNECTIONS * ROUND_TRIP_MS, leastBefore + 1, `least round trips at the ${side}`);
      const variation = await sumMs('tributary_tcp_rtt_variation_seconds', labels, CONNECTIONS);
      const variationBefore = sum((each) => each.variation);
      assertWithin(variation, variationBefore * 0.7, variationBefore + 1000, `deviation at the ${side}`);
    }
    const name = 'tributary_tcp_rtt_duration_seconds';
    const mean = (1000 * sumOf(samples, `${name}_sum`, at)) / sumOf(samples, `${name}_count`, at);
    const seen = [...sides.flatMap(({ timings }) => timings), ...before.client, ...before.server].map(
      ({ srtt }) => srtt,
    );
    assertWithin(mean, ROUND_TRIP_MS, 2 * Math.max(...seen), 'smoothed round trips');
  });

  test('a lost tail is probed, then its timer runs out: as often as the kernel counts them', async () => {
    const PORT = 7502;
    const { from, to, connections } = await open(PORT);
    const [{ client: socket, server: accepted }] = connections;
    // The probe waits for two round trips, so there has to be a measured one.
    await from.order('send', socket, 1000);
    await to.order('receive', accepted, 1000);
    const read = async () => ({
      probes: await readCounter(client, 'TcpExt', 'TCPLossProbes'),
      timeouts: await readCounter(client, 'TcpExt', 'TCPTimeouts'),
      all: await readCounter(client, 'Tcp', 'RetransSegs'),
    });
    const before = await read();
    await server.nft(`add rule inet loss i tcp dport ${PORT} meta length > 500 drop`);
    await from.order('send', socket, 1000);
    await waitFor(
      async () => ((await readCounter(client, 'TcpExt', 'TCPTimeouts')) >= before.timeouts + 2 ? true : undefined),
      'two timeouts',
    );
    await server.nft('flush chain inet loss i');
    await to.order('receive', accepted, 1000);
    for (const { client: one, server: other } of connections) {
      await from.order('close', one);
      await to.order('close', other);
    }
    const now = await read();
    const [probes, timeouts] = [now.probes - before.probes, now.timeouts - before.timeouts];
    assert.ok(probes > 0, 'the kernel has probed');
    assert.equal(now.all - before.all, probes + timeouts, 'nothing else was sent again');
    const labels = { server_port: String(PORT), tributary_side: 'client' };
    const metric = 'tributary_tcp_retransmit_segment_count_total';
    await untilSum(metric, labels, probes + timeouts);
    const ofKind = (kind: string) => sumOf(samples, metric, { ...labels, tributary_tcp_retransmit_kind: kind });
    // One that interrupts another tracing program is counted with the next, as that one's kind.
    assert.equal(ofKind('tail_loss_probe') + ofKind('timeout'), probes + timeouts);
    assertWithin(ofKind('timeout'), timeouts, probes + timeouts, 'timeouts');
  });
});

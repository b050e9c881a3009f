// How connections end and how long they took, from the kernel to a scrape. Truth is what the kernel counts in each host's network namespace, and the
// clock beside the programs.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from './lab.ts';
import type { LabHost } from './network.ts';
import { readCounter } from './protocol-counters.ts';
import { describeSamples, type Sample, scrape, sumOf } from './scrape.ts';
import { type Connected, connect, Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const METRICS_PORT = 9464;
const DURATION = 'tributary_tcp_connection_duration_seconds';
/** Connections of each kind, all different. */
const [CLOSED, RESET, TIMED_OUT] = [5, 3, 2];

describe('the ends of connections', { concurrency: false }, () => {
  const lab = new Lab({
    hosts: ['cli', 'srv'],
    reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`, '--level', 'role_role'],
  });
  let client: LabHost;
  let server: LabHost;

  before(async () => {
    await lab.start();
    client = lab.network.host('cli');
    server = lab.network.host('srv');
    await client.exec('sysctl', '-q', '-w', 'net.ipv4.tcp_retries2=2');
  });
  after(() => lab.stop());

  async function open(port: number, count: number): Promise<{ from: Sockets; to: Sockets; opened: Connected[] }> {
    const [from, to] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
    await to.order('listen', port);
    const opened: Connected[] = [];
    for (let index = 0; index < count; index++) opened.push(await connect(from, to, server.v4, port));
    return { from, to, opened };
  }

  /** Until as many connections ended for this reason at one side as were counted, and none for another reason. */
  async function untilEnded(port: number, side: string, reason: string, count: number): Promise<Sample[]> {
    const labels = { server_port: `${port}`, tributary_side: side };
    let samples: Sample[] = [];
    await waitFor(
      async () => {
        samples = await scrape(lab.island, METRICS_PORT);
        const ended = sumOf(samples, `${DURATION}_count`, { ...labels, tributary_tcp_close_reason: reason });
        return (ended === count && sumOf(samples, `${DURATION}_count`, labels) === count) || undefined;
      },
      `${count} connections to port ${port} to end as ${reason} at the ${side}`,
      { detail: () => describeSamples(samples, /^tributary_tcp_connection_duration_seconds_count/) },
    );
    return samples;
  }

  async function untilGone(host: LabHost, port: number): Promise<void> {
    const filter = `( sport = :${port} or dport = :${port} )`;
    await waitFor(
      async () =>
        (await host.exec('ss', '-Htn', 'state', 'connected', 'exclude', 'time-wait', filter)).trim() === '' ||
        undefined,
      `every connection of port ${port} at ${host.name} to end`,
    );
  }

  test('closed: both ends, each as long as its program held it', async () => {
    const PORT = 7601;
    const before = performance.now();
    const { from, to, opened } = await open(PORT, CLOSED);
    const allOpen = performance.now();
    // A duration of which the beginning or the end is missing is shorter.
    await sleep(1000);
    const firstClose = performance.now();
    for (const { client: one, server: other } of opened) {
      await from.order('close', one);
      await to.order('close', other);
    }
    await Promise.all([untilGone(client, PORT), untilGone(server, PORT)]);
    const allGone = performance.now();
    for (const side of ['client', 'server']) {
      const samples = await untilEnded(PORT, side, 'closed', CLOSED);
      const meanMs =
        (1000 * sumOf(samples, `${DURATION}_sum`, { server_port: `${PORT}`, tributary_side: side })) / CLOSED;
      const [least, most] = [firstClose - allOpen, allGone - before];
      assert.ok(least <= meanMs && meanMs <= most, `${side}: ${meanMs} ms of ${least} to ${most}`);
    }
  });

  test('reset: sent by one end and received by the other', async () => {
    const PORT = 7602;
    const read = () =>
      Promise.all([readCounter(server, 'TcpExt', 'TCPAbortOnClose'), readCounter(client, 'Tcp', 'EstabResets')]);
    const before = await read();
    const { from, to, opened } = await open(PORT, RESET);
    for (const { client: one, server: other } of opened) {
      await from.order('send', one, 100);
      await to.order('receive', other, 1);
      await waitFor(
        async () => (await server.exec('ss', '-Htn', `sport = :${PORT}`)).includes(' 99 ') || undefined,
        'data that nobody reads',
      );
      await to.order('close', other);
    }
    await Promise.all([untilGone(client, PORT), untilGone(server, PORT)]);
    const [sent, received] = (await read()).map((value, index) => value - before[index]);
    assert.deepEqual([sent, received], [RESET, RESET]);
    await untilEnded(PORT, 'server', 'reset_sent', sent);
    await untilEnded(PORT, 'client', 'reset_received', received);
  });

  test('timed out: what was sent is not acknowledged, however often', async () => {
    const PORT = 7603;
    const read = () => readCounter(client, 'TcpExt', 'TCPAbortOnTimeout');
    const before = await read();
    const { from, opened } = await open(PORT, TIMED_OUT);
    await server.nft(`table inet loss {
      chain in { type filter hook input priority 0; tcp dport ${PORT} drop; }
    }`);
    for (const { client: one } of opened) await from.order('send', one, 100);
    await untilGone(client, PORT);
    const timedOut = (await read()) - before;
    assert.equal(timedOut, TIMED_OUT);
    await untilEnded(PORT, 'client', 'timed_out', timedOut);
  });
});

// Two watched hosts, real programs, truth from the programs and the kernel: iperf3's report, nginx's access log, /proc/net/snmp.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Edge, EdgesAnswer } from '../../host/api/edge-answer.ts';
import { Lab } from './lab.ts';
import type { LabHost } from './network.ts';
import { Nginx } from './nginx.ts';
import { waitFor } from './wait.ts';

const FAMILIES = ['IPv4', 'IPv6'] as const;

const addressOf = (host: LabHost, family: (typeof FAMILIES)[number]): string => (family === 'IPv4' ? host.v4 : host.v6);
const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address);
const atPort = (answer: EdgesAnswer, port: number): Edge[] => answer.edges.filter((edge) => edge.serverPort === port);

function assertWithin(actual: number, truth: number, share: number, what: string): void {
  assert.ok(
    Math.abs(actual - truth) <= truth * share,
    `${what}: ${actual} differs from ${truth} by more than ${share * 100} %`,
  );
}

describe('two watched hosts', { concurrency: false }, () => {
  const lab = new Lab({ hosts: ['cli', 'srv', 'rtr'], unwatched: ['rtr'] });
  before(() => lab.start());
  after(() => lab.stop());

  for (const [index, family] of FAMILIES.entries()) {
    for (const direction of ['forward', 'reverse'] as const) {
      test(`iperf3 over ${family}, ${direction}: one edge, both ends joined, bytes within 0.1 % of its report, each direction once`, async () => {
        const port = 5201 + index * 2 + (direction === 'reverse' ? 1 : 0);
        const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
        lab.run('srv', 'iperf3', '-s', '-1', '-p', String(port));
        await listening(server, port);
        await lab.earlyInWindow();
        const report = JSON.parse(
          await client.exec(
            'iperf3',
            '-J',
            '-c',
            addressOf(server, family),
            '-p',
            String(port),
            // Paced, so that little is unread when the receiver stops: only then does iperf3 know the truth.
            ...['-t', '3', '-b', '800M'],
            ...(direction === 'reverse' ? ['-R'] : []),
          ),
        ) as { end: { sum_sent: { bytes: number }; sum_received: { bytes: number } } };
        const { sum_sent: sent, sum_received: received } = report.end;
        assertWithin(sent.bytes, received.bytes, 0.001, "iperf3's own two ends");
        const edge = await lab.untilEdges('id_id', `iperf3's edge to close`, (answer) => {
          const edges = atPort(answer, port);
          return edges.length > 0 && edges.every((candidate) => candidate.active === 0 && candidate.closed === 2)
            ? single(edges)
            : undefined;
        });
        assertWithin(edge.bytes[direction], received.bytes, 0.001, `${direction} bytes`);
        const other = direction === 'forward' ? 'reverse' : 'forward';
        assert.ok(
          edge.bytes[other] < 10_000,
          `the other direction carries only iperf3's control messages, not ${edge.bytes[other]} bytes`,
        );
        assert.equal(edge.connections, 2, 'the control and the data connection');
        assert.ok(edge.match.both > 0);
        assert.equal(edge.match.client + edge.match.server, 0, 'both ends were seen in every window');
        assert.ok(
          edge.residualBytes <= sent.bytes - received.bytes,
          'the ends differ by no more than what the server left unread',
        );
        assert.equal(edge.client.host, 'cli');
        assert.equal(edge.server.host, 'srv');
        assert.equal(edge.server.role, 'iperf3');
      });
    }

    test(`500 short requests to nginx over ${family}: 500 connections, bytes equal to nginx's log`, async () => {
      const port = 8080 + index;
      const nginx = new Nginx(lab, 'srv', port);
      const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
      await listening(server, port);
      await client.exec('curl', '-sSg', '-H', 'Connection: close', ...requests(addressOf(server, family), port, 500));
      const log = await nginx.logged(500);
      assert.equal(log.requests, 500);
      const edges = await lab.untilEdges('id_id', '500 closed connections', (answer) => {
        const found = atPort(answer, port);
        return sum(found, (edge) => edge.closed) >= 500 ? found : undefined;
      });
      assert.equal(
        sum(edges, (edge) => edge.connections),
        500,
      );
      assert.equal(
        sum(edges, (edge) => edge.bytes.forward),
        log.requestBytes,
      );
      assert.equal(
        sum(edges, (edge) => edge.bytes.reverse),
        log.responseBytes,
      );
      assert.equal(
        sum(edges, (edge) => edge.active),
        0,
      );
      assert.equal(
        sum(edges, (edge) => edge.residualBytes),
        0,
      );
    });

    test(`forced loss over ${family}: retransmits equal the namespace's own RetransSegs`, async () => {
      const port = 5180 + index;
      const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
      lab.run('srv', 'iperf3', '-s', '-1', '-p', String(port));
      await listening(server, port);
      await server.nft(`table inet loss {
        chain in { type filter hook prerouting priority 0; tcp dport ${port} meta length > 500 numgen inc mod 30 == 7 drop; }
      }`);
      await lab.earlyInWindow();
      const before = await retransSegs(client);
      await client.exec('iperf3', '-c', addressOf(server, family), '-p', String(port), '-n', '20M');
      const truth = (await retransSegs(client)) - before;
      await server.nft('delete table inet loss');
      assert.ok(truth > 0, 'the rule made loss');
      const edges = await lab.untilEdges('id_id', 'the transfer to close', (answer) => {
        const found = atPort(answer, port);
        return sum(found, (edge) => edge.closed) >= 2 ? found : undefined;
      });
      assert.equal(
        sum(edges, (edge) => edge.retransmits.forward),
        truth,
      );
    });

    test(`connects that are refused, time out and are abandoned over ${family} are told apart`, async () => {
      const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
      const [refused, silent, abandoned] = [9001 + index * 10, 9002 + index * 10, 9003 + index * 10];
      await server.nft(
        `table inet silent { chain in { type filter hook prerouting priority 0; tcp dport { ${silent}, ${abandoned} } drop; }; }`,
      );
      const target = bracketed(addressOf(server, family));
      await client.exec('sysctl', '-qw', 'net.ipv4.tcp_syn_retries=1');
      assert.notEqual((await client.attempt('curl', '-sS', `http://${target}:${refused}/`)).code, 0);
      assert.notEqual((await client.attempt('curl', '-sS', `http://${target}:${silent}/`)).code, 0);
      await client.exec('sysctl', '-qw', 'net.ipv4.tcp_syn_retries=6');
      assert.notEqual(
        (await client.attempt('curl', '-sS', '--connect-timeout', '1', `http://${target}:${abandoned}/`)).code,
        0,
      );
      await server.nft('delete table inet silent');
      const answer = await lab.untilEdges('id_id', 'three failures', (candidate) => {
        const failed = [refused, silent, abandoned].map((port) => sum(atPort(candidate, port), failureCount));
        return failed.every((count) => count > 0) ? candidate : undefined;
      });
      const failures = (port: number): Edge['failures'] => single(atPort(answer, port)).failures;
      assert.deepEqual(failures(refused), { refused: 1, timedOut: 0, abandoned: 0, unreachable: 0, other: 0 });
      assert.deepEqual(failures(silent), { refused: 0, timedOut: 1, abandoned: 0, unreachable: 0, other: 0 });
      assert.deepEqual(failures(abandoned), { refused: 0, timedOut: 0, abandoned: 1, unreachable: 0, other: 0 });
      for (const port of [refused, silent, abandoned]) assert.equal(single(atPort(answer, port)).connections, 0);
    });
  }

  test('through a router with DNAT and masquerade: one flow, joined, without conntrack in the agents', async () => {
    const [client, server, router] = ['cli', 'srv', 'rtr'].map((name) => lab.network.host(name));
    const nginx = new Nginx(lab, 'srv', 8090);
    await listening(server, 8090);
    await router.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1');
    await router.nft(`table ip nat {
      chain pre { type nat hook prerouting priority -100; tcp dport 9999 dnat to ${server.v4}:8090; }
      chain post { type nat hook postrouting priority 100; tcp dport 8090 masquerade; }
    }`);
    await lab.earlyInWindow();
    await client.exec('curl', '-sS', '-o', '/dev/null', `http://${router.v4}:9999/`);
    const log = await nginx.logged(1);
    const edge = await lab.untilEdges('id_id', 'the translated flow', (answer) => {
      const found = answer.edges.filter((candidate) => candidate.serverPort === 9999 || candidate.serverPort === 8090);
      return sum(found, (candidate) => candidate.closed) > 0 ? single(found) : undefined;
    });
    assert.equal(edge.bytes.forward, log.requestBytes);
    assert.equal(edge.bytes.reverse, log.responseBytes);
    assert.equal(edge.client.host, 'cli');
    assert.equal(edge.server.host, 'srv');
    assert.equal(edge.connections, 1);
    assert.ok(edge.match.both > 0);
    assert.equal(edge.residualBytes, 0);
  });
});

for (const stopped of ['cli', 'srv'] as const) {
  test(`stopping the agent of ${stopped} turns the edge one-sided, changes no sum, and active returns to 0`, async (t) => {
    const lab = new Lab({ hosts: ['cli', 'srv'] });
    t.after(() => lab.stop());
    await lab.start();
    const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
    lab.run('srv', 'iperf3', '-s', '-1', '-p', '5300');
    await listening(server, 5300);
    const running = client.exec('iperf3', '-J', '-c', server.v4, '-p', '5300', '-t', '12', '-b', '40M');
    await lab.untilEdges('id_id', 'the edge to be seen from both ends', (answer) =>
      sum(atPort(answer, 5300), (edge) => edge.match.both) > 2 ? true : undefined,
    );
    assert.equal(await lab.agents.get(stopped)?.kill('SIGTERM'), 0);
    const report = JSON.parse(await running) as { end: { sum_received: { bytes: number } } };
    const edges = await lab.untilEdges('role_role', 'all sockets to close', (answer) => {
      const found = atPort(answer, 5300);
      return found.length > 0 && sum(found, (edge) => edge.active) === 0 ? found : undefined;
    });
    assertWithin(
      sum(edges, (edge) => edge.bytes.forward),
      report.end.sum_received.bytes,
      0.001,
      'forward bytes',
    );
    assert.equal(
      sum(edges, (edge) => edge.connections),
      2,
    );
    assert.ok(
      sum(edges, (edge) => (stopped === 'cli' ? edge.match.server : edge.match.client)) > 2,
      'later windows were seen by the other end alone',
    );
  });
}

function requests(address: string, port: number, count: number): string[] {
  const url = `http://${bracketed(address)}:${port}/`;
  return Array.from({ length: count }, () => ['-o', '/dev/null', url]).flat();
}

function single(edges: Edge[]): Edge {
  assert.equal(edges.length, 1, `one edge, not ${JSON.stringify(edges)}`);
  return edges[0];
}

function sum(edges: Edge[], value: (edge: Edge) => number): number {
  return edges.reduce((total, edge) => total + value(edge), 0);
}

function failureCount(edge: Edge): number {
  const { refused, timedOut, abandoned, unreachable, other } = edge.failures;
  return refused + timedOut + abandoned + unreachable + other;
}

async function listening(host: LabHost, port: number): Promise<void> {
  await waitFor(
    async () => ((await host.exec('ss', '-Hltn', `sport = :${port}`)).trim() !== '' ? true : undefined),
    `a listener on port ${port} of ${host.name}`,
  );
}

async function retransSegs(host: LabHost): Promise<number> {
  const lines = (await host.exec('cat', '/proc/net/snmp')).split('\n').filter((line) => line.startsWith('Tcp:'));
  const [names, values] = lines.map((line) => line.split(' '));
  return Number(values[names.indexOf('RetransSegs')]);
}

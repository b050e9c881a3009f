// Two watched hosts, real programs, truth from the programs and the kernel: iperf3's report, nginx's access log, /proc/net/snmp.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Edge } from '../../host/api/edge-answer.ts';
import { atPort, closedAtBothEnds, joinedEdge, sumOf, sumsOf } from './edge-sums.ts';
import { assertBooked, runIperf, startIperfServer } from './iperf.ts';
import { Lab, listening } from './lab.ts';
import type { LabHost } from './network.ts';
import { Nginx } from './nginx.ts';
import { readCounter } from './protocol-counters.ts';
import { connect, Sockets } from './sockets.ts';

const FAMILIES = ['IPv4', 'IPv6'] as const;
const STREAM_PORT = 5300;

const addressOf = (host: LabHost, family: (typeof FAMILIES)[number]): string => (family === 'IPv4' ? host.v4 : host.v6);
const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address);

describe('two watched hosts', { concurrency: false }, () => {
  const lab = new Lab({ hosts: ['cli', 'srv', 'rtr'], unwatched: ['rtr'] });
  before(() => lab.start());
  after(() => lab.stop());

  for (const [index, family] of FAMILIES.entries()) {
    for (const direction of ['forward', 'reverse'] as const) {
      test(`iperf3 over ${family}, ${direction}: one edge, both ends joined, bytes within 0.1 % of its report, each direction once`, async (t) => {
        const port = 5201 + index * 2 + (direction === 'reverse' ? 1 : 0);
        const address = addressOf(lab.network.host('srv'), family);
        await startIperfServer(lab, 'srv', port);
        const reversed = direction === 'reverse' ? ['-R'] : [];
        const report = await runIperf(lab, 'cli', address, port, '-t', '3', '-b', '800M', ...reversed);
        const edges = await lab.untilEdges('id_id', 'its control and its data connection', closedAtBothEnds(port, 2));
        const sums = sumsOf(edges);
        const other = direction === 'forward' ? 'reverse' : 'forward';
        t.diagnostic(JSON.stringify({ booked: sums[direction], ...report }));
        assertBooked(sums[direction], report);
        assert.ok(sums[other] < 10_000, `only control messages go the other way, not ${sums[other]} bytes`);
        assert.deepEqual([sums.connections, sums.closed], [2, 2], 'the control and the data connection');
        assert.ok(
          sums.residualBytes <= report.sent - report.received,
          'the ends differ by no more than what the server left unread',
        );
        const edge = joinedEdge(edges);
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
      const edges = await lab.untilEdges('id_id', '500 closed connections', closedAtBothEnds(port, 500));
      const { connections, closed, forward, reverse, residualBytes } = sumsOf(edges);
      assert.deepEqual(
        { connections, closed, forward, reverse, residualBytes },
        { connections: 500, closed: 500, forward: log.requestBytes, reverse: log.responseBytes, residualBytes: 0 },
      );
    });

    test(`forced loss over ${family}: retransmits equal the namespace's own RetransSegs`, async () => {
      const port = 5180 + index;
      const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
      await startIperfServer(lab, 'srv', port);
      await server.nft(`table inet loss {
        chain in { type filter hook prerouting priority 0; tcp dport ${port} meta length > 500 numgen inc mod 30 == 7 drop; }
      }`);
      const before = await readCounter(client, 'Tcp', 'RetransSegs');
      await client.exec('iperf3', '-c', addressOf(server, family), '-p', String(port), '-n', '20M');
      await server.nft('delete table inet loss');
      const edges = await lab.untilEdges('id_id', 'the transfer to close', closedAtBothEnds(port, 2));
      const truth = (await readCounter(client, 'Tcp', 'RetransSegs')) - before;
      assert.ok(truth > 0, 'the rule made loss');
      assert.equal(sumsOf(edges).forwardRetransmits, truth);
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
        (await client.attempt('curl', '-sS', '--connect-timeout', '2', `http://${target}:${abandoned}/`)).code,
        0,
      );
      await server.nft('delete table inet silent');
      const answer = await lab.untilEdges('id_id', 'three failures', (candidate) => {
        const failed = [refused, silent, abandoned].map((port) => sumOf(atPort(candidate, port), failureCount));
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
    await client.exec('curl', '-sS', '-o', '/dev/null', `http://${router.v4}:9999/`);
    const log = await nginx.logged(1);
    const edges = await lab.untilEdges('id_id', 'the translated flow', (answer) => {
      const found = atPort(answer, 9999, 8090);
      const { both, closed, active } = sumsOf(found);
      return both > 0 && closed > 0 && active === 0 ? found : undefined;
    });
    const { connections, closed, active, forward, reverse, residualBytes } = sumsOf(edges);
    assert.deepEqual(
      { connections, closed, active, forward, reverse, residualBytes },
      {
        ...{ connections: 1, closed: 1, active: 0, residualBytes: 0 },
        ...{ forward: log.requestBytes, reverse: log.responseBytes },
      },
    );
    const edge = joinedEdge(edges);
    assert.deepEqual([edge.client.host, edge.server.host], ['cli', 'srv']);
  });
});

for (const stopped of ['cli', 'srv'] as const) {
  test(`stopping the agent of ${stopped} turns the edge one-sided, changes no sum, and active returns to 0`, async (t) => {
    const lab = new Lab({ hosts: ['cli', 'srv'] });
    t.after(() => lab.stop());
    await lab.start();
    const [client, server] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
    await server.order('listen', STREAM_PORT);
    const stream = await connect(client, server, lab.network.host('srv').v4, STREAM_PORT);
    const drained = server.order('receive', stream.server, 1 << 30);
    await client.order('stream', stream.client, 1_000);
    const untilWindows = (what: string, seenFrom: 'both' | 'client' | 'server'): Promise<true> =>
      lab.untilEdges('role_role', what, (answer) =>
        sumsOf(atPort(answer, STREAM_PORT))[seenFrom] > 2 ? true : undefined,
      );
    await untilWindows('windows in which both ends were seen', 'both');
    assert.equal(await lab.agents.get(stopped)?.kill('SIGTERM'), 0);
    await untilWindows('windows in which the other end alone was seen', stopped === 'cli' ? 'server' : 'client');
    const total = await client.order('rest', stream.client);
    await client.order('close', stream.client);
    assert.equal(await drained, total);
    await server.order('close', stream.server);
    const edges = await lab.untilEdges('role_role', 'the stream to close', (answer) => {
      const found = atPort(answer, STREAM_PORT);
      const { closed, active } = sumsOf(found);
      return closed > 0 && active === 0 ? found : undefined;
    });
    const { forward, reverse, connections, closed } = sumsOf(edges);
    assert.deepEqual(
      { forward, reverse, connections, closed },
      { forward: total, reverse: 0, connections: 1, closed: 1 },
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

function failureCount(edge: Edge): number {
  const { refused, timedOut, abandoned, unreachable, other } = edge.failures;
  return refused + timedOut + abandoned + unreachable + other;
}

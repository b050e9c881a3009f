// UDP between two watched hosts: edges beside what the programs counted, rules of nft and iperf3's report.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DATAGRAM_PROGRAM, Datagrams } from '../../bpf/programs/testing/datagrams.ts';
import type { Edge } from '../../host/api/edge-answer.ts';
import { atPort, joinedEdge, sumOf, sumsOf } from './edge-sums.ts';
import { startIperfServer } from './iperf.ts';
import { Lab } from './lab.ts';
import { waitFor } from './wait.ts';

const FAMILIES = ['IPv4', 'IPv6'] as const;

/** What the edges of a port add up to, one of which is joined. */
function addUp(edges: readonly Edge[]) {
  joinedEdge(edges);
  const { forward, reverse, residualBytes, judgedBytes, connections, closed, active } = sumsOf(edges);
  return {
    bytes: { forward, reverse },
    packets: {
      forward: sumOf(edges, ({ packets }) => packets.forward),
      reverse: sumOf(edges, ({ packets }) => packets.reverse),
    },
    ...{ residualBytes, judgedBytes, connections, closed, active },
  };
}

describe('UDP', { concurrency: false }, () => {
  const lab = new Lab({ hosts: ['cli', 'srv'], agentArgs: () => ['--udp-idle', '3s'] });
  before(() => lab.start());
  after(() => lab.stop());

  const datagrams = (host: string): Datagrams => {
    const child = lab.network.host(host).spawn('python3', [DATAGRAM_PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    lab.others.push(child);
    return new Datagrams(child);
  };

  /**
   * The edges of a port once every flow there is over, `flows` in all. A flow closes with the first of its ends; the second may be told a window
   * later, and then `judged` bytes are judged.
   */
  const ended = (port: number, flows: number, judged: number): Promise<Edge[]> =>
    lab.untilEdges('id_id', `the end of ${flows} flows at port ${port}`, (answer) => {
      const found = atPort(answer, port).filter(({ transport }) => transport === 'udp');
      const { closed, active, judgedBytes } = sumsOf(found);
      return closed >= flows && active === 0 && judgedBytes >= judged ? found : undefined;
    });

  for (const [index, family] of FAMILIES.entries()) {
    const addressOf = (name: string): string => {
      const host = lab.network.host(name);
      return family === 'IPv4' ? host.v4 : host.v6;
    };

    test(`an exchange over ${family}: one joined edge, bytes and datagrams each way as the programs counted`, async () => {
      const port = 7000 + index;
      const [client, server] = [datagrams('cli'), datagrams('srv')];
      const s = await server.open(addressOf('srv'), port);
      const c = await client.open(addressOf('cli'));
      const peer: [string, number] = [addressOf('srv'), port];
      let forward = await client.send(c, 50, 300, peer);
      forward += await client.split(c, 30_200, 1000, peer);
      assert.deepEqual(await server.receive(s, forward), [forward, 81]);
      const reverse = await server.send(s, 7, 900, [addressOf('cli'), await client.port(c)]);
      assert.deepEqual(await client.receive(c, reverse), [reverse, 7]);
      await client.close(c);
      await server.close(s);

      const edges = await ended(port, 1, forward + reverse);
      const edge = joinedEdge(edges);
      assert.deepEqual(addUp(edges), {
        ...{ bytes: { forward, reverse }, packets: { forward: 81, reverse: 7 } },
        ...{ residualBytes: 0, judgedBytes: forward + reverse, connections: 1, closed: 1, active: 0 },
      });
      assert.deepEqual([edge.client.host, edge.server.host], ['cli', 'srv']);
      assert.match(`${edge.client.role} ${edge.server.role}`, /^python3\S* python3\S*$/);
      assert.deepEqual(edge.failures, { refused: 0, timedOut: 0, abandoned: 0, unreachable: 0, other: 0 });
    });

    test(`datagrams that a rule drops over ${family}: what was sent is booked, the residual is the loss`, async () => {
      const port = 7010 + index;
      const [client, server] = [datagrams('cli'), datagrams('srv')];
      const s = await server.open(addressOf('srv'), port);
      const c = await client.open(addressOf('cli'));
      const host = lab.network.host('srv');
      await host.nft(`table inet loss {
        chain in { type filter hook prerouting priority 0; udp dport ${port} numgen inc mod 7 == 2 counter drop; }
      }`);
      const sent = await client.send(c, 100, 400, [addressOf('srv'), port]);
      let received = 0;
      const dropped = await waitFor(async () => {
        received += (await server.drain(s))[1];
        const rules = await host.exec('nft', 'list', 'table', 'inet', 'loss');
        const count = Number(rules.match(/counter packets (\d+)/)?.[1]);
        return received + count === 100 ? count : undefined;
      }, 'every datagram to arrive or be dropped');
      await host.nft('delete table inet loss');
      const lost = dropped * 400;
      assert.ok(lost > 0, 'the rule made loss');
      await client.close(c);
      await server.close(s);

      const edges = await ended(port, 1, sent);
      const { bytes, packets, residualBytes, judgedBytes } = addUp(edges);
      assert.deepEqual([bytes.forward, packets.forward], [sent, 100]);
      assert.deepEqual([residualBytes, judgedBytes], [lost, sent]);
      assert.deepEqual(
        [
          sumOf(edges, ({ own }) => own.client?.bytes.sent ?? 0),
          sumOf(edges, ({ own }) => own.server?.bytes.received ?? 0),
          sumOf(edges, ({ own }) => own.server?.packets.received ?? 0),
        ],
        [sent, sent - lost, 100 - dropped],
      );
    });

    test(`datagrams that find no room in their socket over ${family} are loss`, async () => {
      const port = 7020 + index;
      const [client, server] = [datagrams('cli'), datagrams('srv')];
      const s = await server.open(addressOf('srv'), port, 4096);
      const c = await client.open(addressOf('cli'));
      const sent = await client.send(c, 200, 500, [addressOf('srv'), port]);
      await client.close(c);
      // Until the flow has been told by both agents, nothing more can be under way.
      await lab.untilEdges('id_id', 'the flow', (answer) => (sumsOf(atPort(answer, port)).both > 0 ? true : undefined));
      const [received] = await server.drain(s);
      await server.close(s);
      assert.ok(received > 0 && received < sent, `${received} of ${sent} bytes`);
      const { bytes, residualBytes } = addUp(await ended(port, 1, sent));
      assert.deepEqual([bytes.forward, residualBytes], [sent, sent - received]);
    });

    test(`what nobody receives over ${family} is an edge with one end, without a failure`, async () => {
      const port = 7030 + index;
      const client = datagrams('cli');
      const c = await client.open(addressOf('cli'));
      await client.connect(c, addressOf('srv'), port);
      const sent = await client.send(c, 5, 100);
      await client.close(c);
      const edges = await ended(port, 1, 0);
      assert.equal(edges.length, 1);
      const [edge] = edges;
      assert.deepEqual([edge.bytes, edge.judgedBytes], [{ forward: sent, reverse: 0 }, 0]);
      assert.deepEqual(edge.failures, { refused: 0, timedOut: 0, abandoned: 0, unreachable: 0, other: 0 });
      assert.deepEqual([edge.match.both, edge.match.server], [0, 0]);
    });
  }

  test('both ends on one host, over loopback: one joined edge', async () => {
    const port = 7040;
    const [client, server] = [datagrams('cli'), datagrams('cli')];
    const s = await server.open('127.0.0.1', port);
    const c = await client.open('127.0.0.1');
    const own = await client.connect(c, '127.0.0.1', port);
    const forward = await client.send(c, 20, 150);
    assert.equal((await server.receive(s, forward))[0], forward);
    const reverse = await server.send(s, 4, 25, ['127.0.0.1', own]);
    assert.equal((await client.receive(c, reverse))[0], reverse);
    await client.close(c);
    await server.close(s);
    const edges = await ended(port, 1, forward + reverse);
    const edge = joinedEdge(edges);
    const { bytes, residualBytes } = addUp(edges);
    assert.deepEqual([bytes, residualBytes], [{ forward, reverse }, 0]);
    assert.deepEqual([edge.client.host, edge.server.host], ['cli', 'cli']);
  });

  test('a flow that is idle ends at both ends, and goes on as another one', async () => {
    const port = 7050;
    const [client, server] = [datagrams('cli'), datagrams('srv')];
    const host = lab.network.host('srv');
    const s = await server.open(host.v4, port);
    const c = await client.open(lab.network.host('cli').v4);
    for (const flows of [1, 2]) {
      const sent = await client.send(c, 10, 100, [host.v4, port]);
      assert.equal((await server.receive(s, sent))[0], sent);
      const { bytes, packets, connections, residualBytes } = addUp(await ended(port, flows, sent * flows));
      assert.deepEqual([bytes.forward, packets.forward], [sent * flows, 10 * flows]);
      assert.deepEqual([connections, residualBytes], [flows, 0]);
    }
  });

  test('an agent that is killed and started again goes on in the flow: what the other end saw is booked once', async () => {
    const port = 7070;
    const [client, server] = [datagrams('cli'), datagrams('srv')];
    const host = lab.network.host('srv');
    const s = await server.open(host.v4, port);
    const c = await client.open(lab.network.host('cli').v4);
    let sent = 0;
    const exchange = async (): Promise<void> => {
      const bytes = await client.send(c, 10, 100, [host.v4, port]);
      assert.equal((await server.receive(s, bytes))[0], bytes);
      sent += bytes;
    };
    await exchange();
    await lab.untilEdges('id_id', `${sent} bytes at port ${port} from both ends`, (answer) => {
      const { forward, both } = sumsOf(atPort(answer, port));
      return forward >= sent && both > 0 ? true : undefined;
    });
    await lab.agents.get('cli')?.kill('SIGKILL');
    await exchange();
    await lab.startAgent('cli').logged(/connected/);
    await exchange();
    await client.close(c);
    await server.close(s);
    const edges = await ended(port, 1, 0);
    const { forward, connections, active } = sumsOf(edges);
    assert.deepEqual([forward, connections, active], [sent, 1, 0]);
  });

  test('iperf3 -u: bytes and datagrams equal its report', async (t) => {
    const port = 7060;
    await startIperfServer(lab, 'srv', port);
    const output = await lab.network
      .host('cli')
      .exec('iperf3', '-J', '-u', '-c', lab.network.host('srv').v4, '-p', String(port), '-t', '3', '-b', '40M');
    const { end } = JSON.parse(output) as { end: { sum_sent: { bytes: number; packets: number } } };
    const { bytes, packets } = addUp(await ended(port, 1, end.sum_sent.bytes));
    t.diagnostic(JSON.stringify({ bytes, packets, iperf: end.sum_sent }));
    // Each side begins with a datagram of four bytes, which the report leaves out.
    assert.deepEqual(bytes, { forward: end.sum_sent.bytes + 4, reverse: 4 });
    assert.deepEqual(packets, { forward: end.sum_sent.packets + 1, reverse: 1 });
  });
});

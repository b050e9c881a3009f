// Two networks with the same addresses: the tuples of their connections are equal, down to the ports. Only the join key, made of each connection's own
// sequence numbers, tells them apart.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closedAtBothEnds, joinedEdge, sumsOf } from './edge-sums.ts';
import { Lab } from './lab.ts';
import { Sockets } from './sockets.ts';

const PORT = 7100;
const CLIENT_PORT = 40_123;
/** What each pair's client and server send, bytes. */
const PAIRS = [
  { client: 'ca', server: 'sa', forward: 30_000_001, reverse: 1_000_003 },
  { client: 'cb', server: 'sb', forward: 9_000_007, reverse: 20_000_009 },
] as const;

test('equal addresses and ports on two networks are two edges, each with its own bytes', async (t) => {
  const lab = new Lab({ hosts: ['ca', 'sa'], twinHosts: ['cb', 'sb'] });
  t.after(() => lab.stop());
  await lab.start();
  const pairs = await Promise.all(
    PAIRS.map(async ({ client, server, ...bytes }) => {
      const [from, to] = [new Sockets(lab, client), new Sockets(lab, server)];
      await to.order('listen', PORT);
      return { from, to, address: lab.network.host(server).v4, source: lab.network.host(client).v4, ...bytes };
    }),
  );
  assert.equal(pairs[0].address, pairs[1].address, 'the servers have one address');
  assert.equal(pairs[0].source, pairs[1].source, 'the clients have one address');

  await Promise.all(
    pairs.map(async ({ from, to, address, forward, reverse }) => {
      const client = await from.order('connect', address, PORT, CLIENT_PORT);
      const server = await to.order('accept');
      await Promise.all([from.order('send', client, forward), to.order('receive', server, forward)]);
      await Promise.all([to.order('send', server, reverse), from.order('receive', client, reverse)]);
      await from.order('close', client);
      await to.order('close', server);
    }),
  );

  const edges = await lab.untilEdges('id_id', 'both connections', closedAtBothEnds(PORT, PAIRS.length));
  for (const { client, server, forward, reverse } of PAIRS) {
    const ofPair = edges.filter((edge) => edge.client.host === client || edge.server.host === server);
    const joined = joinedEdge(ofPair);
    assert.deepEqual([joined.client.host, joined.server.host], [client, server]);
    const { both: _, client: __, server: ___, judgedBytes: ____, ...sums } = sumsOf(ofPair);
    assert.deepEqual(sums, {
      ...{ forward, reverse, residualBytes: 0, forwardRetransmits: sums.forwardRetransmits },
      ...{ connections: 1, closed: 1, active: 0, refused: 0 },
    });
  }
  const ofNobody = edges.filter(
    (edge) => !PAIRS.some(({ client, server }) => edge.client.host === client || edge.server.host === server),
  );
  assert.deepEqual(ofNobody, []);
});

// What each end reports by itself, under loss on the way to the server. Truth, on each side of its own: the kernel's counters of the socket (`ss`), the
// bytes that the programs moved, and the packets that the firewall dropped between the two.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Edge, EdgesAnswer, OwnNumbers } from '../../host/api/edge-answer.ts';
import { atPort } from './edge-sums.ts';
import { Lab } from './lab.ts';
import type { LabHost } from './network.ts';
import { connect, Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const PORT = 7100;
const FORWARD = 3_000_000;
const REVERSE = 200_000;

test("each end's own numbers are those of its own kernel, and loss lies between them", async (t) => {
  const lab = new Lab({ hosts: ['cli', 'srv'] });
  t.after(() => lab.stop());
  await lab.start();
  const [clientHost, serverHost] = [lab.network.host('cli'), lab.network.host('srv')];
  const [client, server] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
  await server.order('listen', PORT);
  const connected = await connect(client, server, serverHost.v4, PORT);
  // So that a packet of the firewall is a segment.
  await clientHost.exec('ip', 'link', 'set', 'dev', 'eth0', 'gso_max_segs', '1');
  await serverHost.nft(`table inet loss {
    counter dropped { }
    chain in { type filter hook prerouting priority 0;
      tcp dport ${PORT} meta length > 500 numgen inc mod 30 == 7 counter name dropped drop; }
  }`);
  const received = server.order('receive', connected.server, FORWARD);
  await client.order('send', connected.client, FORWARD);
  assert.equal(await received, FORWARD);
  await server.order('send', connected.server, REVERSE);
  await client.order('receive', connected.client, REVERSE);

  // The last acknowledgements are under way for some time after the last byte.
  let last = '';
  const settled = await waitFor(
    async () => {
      const truth = { client: await socketOf(clientHost, 1), server: await socketOf(serverHost, 0) };
      const told = ownOf(await lab.edges('id_id'));
      last = JSON.stringify({ truth, told });
      return JSON.stringify(truth) === JSON.stringify(told) ? told : undefined;
    },
    'the ends to say what their kernels say',
    { detail: () => last },
  );
  t.diagnostic(JSON.stringify(settled));
  assert.deepEqual(
    [settled.client.bytes, settled.server.bytes],
    [
      { sent: FORWARD, received: REVERSE },
      { sent: REVERSE, received: FORWARD },
    ],
  );
  const dropped = Number(
    (await serverHost.exec('nft', 'list', 'counter', 'inet', 'loss', 'dropped')).match(/packets (\d+)/)?.[1],
  );
  assert.ok(dropped > 50, `${dropped} packets were dropped`);
  assert.ok(settled.client.retransmits >= dropped);
  assert.equal(settled.client.packets.sent - settled.server.packets.received, dropped);
});

/** Sums over the edges of the port: an end that is told a window before the other stands on an edge of its own until then. */
function ownOf(answer: EdgesAnswer): Record<'client' | 'server', OwnNumbers> {
  const edges = atPort(answer, PORT);
  return { client: sumOwn(edges, 'client'), server: sumOwn(edges, 'server') };
}

function sumOwn(edges: readonly Edge[], side: 'client' | 'server'): OwnNumbers {
  const sum = { bytes: { sent: 0, received: 0 }, packets: { sent: 0, received: 0 }, retransmits: 0 };
  for (const { own } of edges) {
    const end = own[side];
    if (end === null) continue;
    sum.bytes.sent += end.bytes.sent;
    sum.bytes.received += end.bytes.received;
    sum.packets.sent += end.packets.sent;
    sum.packets.received += end.packets.received;
    sum.retransmits += end.retransmits;
  }
  return sum;
}

/** The kernel's own counters of the one connection at this host; `bytes_acked` of the end that connected begins with its SYN. */
async function socketOf(host: LabHost, synBytes: number): Promise<OwnNumbers> {
  const output = await host.exec('ss', '-HtniO', 'state', 'established', `( sport = :${PORT} or dport = :${PORT} )`);
  const counter = (name: string): number => Number(output.match(new RegExp(`\\b${name}:(?:\\d+/)?(\\d+)`))?.[1] ?? 0);
  return {
    bytes: { sent: counter('bytes_acked') - synBytes, received: counter('bytes_received') },
    packets: { sent: counter('segs_out'), received: counter('segs_in') },
    retransmits: counter('retrans'),
  };
}

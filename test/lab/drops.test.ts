// Drops from the kernel to a scrape. Truth is the counter of the rule that drops, and the kernel's own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab } from './lab.ts';
import { describeSamples, type Sample, scrape, sumOf } from './scrape.ts';
import { connect, Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const METRICS_PORT = 9464;
const PORT = 7200;
const DATAGRAMS = 40;
const DROPS = 'tributary_packet_drop_count_total';

test('a drop has its reason and its function, and its edge when its socket is known', async (t) => {
  const lab = new Lab({
    hosts: ['cli', 'srv'],
    reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`, '--level', 'role_role'],
  });
  t.after(() => lab.stop());
  await lab.start();
  const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];

  // To no socket.
  const send = `import socket
s = socket.socket(type=socket.SOCK_DGRAM)
for i in range(${DATAGRAMS}): s.sendto(b"x", ("${server.v4}", 7201))`;
  await client.exec('python3', '-c', send);

  // On the way out of a connection: these segments have a socket.
  const [sender, receiver] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
  await receiver.order('listen', PORT);
  const connected = await connect(sender, receiver, server.v4, PORT);
  await client.nft(`table inet loss {
    counter dropped { }
    chain out { type filter hook output priority 0;
      tcp dport ${PORT} meta length > 500 numgen inc mod 4 == 3 counter name dropped drop; }
  }`);
  const received = receiver.order('receive', connected.server, 2_000_000);
  await sender.order('send', connected.client, 2_000_000);
  await received;
  const ruled = async (): Promise<number> =>
    Number((await client.exec('nft', 'list', 'counters')).match(/packets (\d+)/)?.[1]);

  let samples: Sample[] = [];
  let rule = 0;
  const filtered = { tributary_drop_reason: 'NETFILTER_DROP', server_port: `${PORT}`, tributary_side: 'client' };
  await waitFor(
    async () => {
      samples = await scrape(lab.island, METRICS_PORT);
      rule = await ruled();
      const toNobody = sumOf(samples, DROPS, { tributary_drop_reason: 'NO_SOCKET', host_name: 'srv' });
      return (sumOf(samples, DROPS, filtered) === rule && toNobody === DATAGRAMS) || undefined;
    },
    'as many drops as were made',
    { detail: () => `${rule} by the rule\n${describeSamples(samples, /^tributary_packet_drop/)}` },
  );
  assert.ok(rule > 5, `${rule} segments were dropped`);
  // Which of the firewall's functions it is depends on the kernel, and whether it has a name on kernel.kptr_restrict.
  for (const { labels } of samples.filter(({ labels }) => labels.tributary_drop_reason === 'NETFILTER_DROP'))
    assert.match(labels.code_function_name ?? 'nf', /^nf/);
});

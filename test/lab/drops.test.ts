// Drops from the kernel to a scrape. Truth is the counter of the rule that drops, and the kernel's own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATAGRAM_PROGRAM, Datagrams } from '../../bpf/programs/testing/datagrams.ts';
import { Lab } from './lab.ts';
import { readCounter } from './protocol-counters.ts';
import { describeSamples, type Sample, scrape, sumOf } from './scrape.ts';
import { connect, Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const METRICS_PORT = 9464;
const PORT = 7200;
const DATAGRAMS = 40;
const DROPS = 'tributary_packet_drop_count_total';
const DATAGRAM_DROPS = 'tributary_udp_drop_count_total';
const FULL = { tributary_drop_reason: 'SOCKET_RCVBUFF', tributary_side: 'server' };

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

test("datagrams that find no room in their socket are told on the edge of their sender, those that a rule drops are the host's", async (t) => {
  const lab = new Lab({
    hosts: ['cli', 'oth', 'srv'],
    reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`, '--level', 'id_id'],
  });
  t.after(() => lab.stop());
  await lab.start();
  const server = lab.network.host('srv');
  const datagrams = (host: string): Datagrams => {
    const child = lab.network.host(host).spawn('python3', [DATAGRAM_PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    lab.others.push(child);
    return new Datagrams(child);
  };
  const receiver = datagrams('srv');

  /** By series of the metric: what it has to be. */
  const expected: { name: string; labels: Record<string, string>; value: number }[] = [];
  for (const [protocol, address, any, port] of [
    ['Udp', server.v4, '0.0.0.0', 7210],
    ['Udp6', server.v6, '::', 7211],
  ] as const) {
    const before = await readCounter(server, protocol, 'RcvbufErrors');
    // Room for a few datagrams.
    const socket = await receiver.open(address, port, 4096);
    let lost = 0;
    for (const [name, count] of [
      ['cli', 200],
      ['oth', 120],
    ] as const) {
      const sender = datagrams(name);
      const own = await sender.open(any);
      // The first one finds the neighbour: until then the sender's kernel would queue what it can, and drop the rest.
      await receiver.receive(socket, await sender.send(own, 1, 500, [address, port]));
      await sender.send(own, count, 500, [address, port]);
      let delivered = 0;
      const dropped = await waitFor(async () => {
        delivered += (await receiver.drain(socket))[1];
        const found = (await readCounter(server, protocol, 'RcvbufErrors')) - before - lost;
        return delivered + found === count ? found : undefined;
      }, `${count} datagrams of ${name} to arrive`);
      lost += dropped;
      assert.ok(dropped > 0 && delivered > 0, `${dropped} of ${count} found no room`);
      const edge = { server_port: `${port}`, source_host_name: name };
      expected.push({ name: DATAGRAM_DROPS, labels: { ...edge, tributary_side: 'server' }, value: dropped });
      expected.push({ name: DATAGRAM_DROPS, labels: edge, value: dropped });
      expected.push({ name: DROPS, labels: { ...edge, ...FULL }, value: dropped });
    }
  }

  const [sender, ruledPort] = [datagrams('cli'), 7212];
  const socket = await receiver.open(server.v4, ruledPort);
  await server.nft(`table inet loss {
    chain in { type filter hook input priority 0; udp dport ${ruledPort} numgen inc mod 3 == 1 counter drop; }
  }`);
  await sender.send(await sender.open('0.0.0.0'), DATAGRAMS, 100, [server.v4, ruledPort]);
  let delivered = 0;
  const ruled = await waitFor(async () => {
    delivered += (await receiver.drain(socket))[1];
    const rules = await server.exec('nft', 'list', 'table', 'inet', 'loss');
    const dropped = Number(rules.match(/counter packets (\d+)/)?.[1]);
    return delivered + dropped === DATAGRAMS ? dropped : undefined;
  }, 'every datagram to arrive or be dropped');
  assert.ok(ruled > 0, 'the rule made loss');
  expected.push({ name: DROPS, labels: { tributary_drop_reason: 'NETFILTER_DROP', host_name: 'srv' }, value: ruled });
  expected.push({ name: DATAGRAM_DROPS, labels: { server_port: `${ruledPort}` }, value: 0 });

  let samples: Sample[] = [];
  await waitFor(
    async () => {
      samples = await scrape(lab.island, METRICS_PORT);
      return expected.every(({ name, labels, value }) => sumOf(samples, name, labels) === value) || undefined;
    },
    `drops: ${JSON.stringify(expected)}`,
    { detail: () => describeSamples(samples, /^tributary_(packet|udp)_drop/) },
  );
});

// Drops, counted by the kernel's own counters beside: rules of nft, /proc/net/snmp.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  DROP_COUNT_SIZE,
  type DropCount,
  readDropCount,
  readSocketEvent,
  SOCKET_EVENT_SIZE,
} from '../../host/wire/gen/kernel-events-layout.ts';
import { type Collector, type CollectorOptions, load, readKernelEnum } from '../addon/index.ts';
import { type Host, Lab, waitFor } from './testing/lab.ts';

const HOST = '10.82.1.2';
const reasons = readKernelEnum('skb_drop_reason');
const lab = new Lab();
let client: Host;
let server: Host;

before(() => {
  client = lab.host('c');
  server = lab.host('s');
  // Its neighbour discovery meets nobody, which are drops.
  for (const host of [client, server]) host.sysctl('net.ipv6.conf.default.disable_ipv6', 1);
  lab.connect(client, server, ['10.82.1.1/24', `${HOST}/24`]);
});

after(() => lab.close());

/** What was dropped in one host, whatever else the machine does. */
class Drops {
  readonly #collector: Collector;
  readonly #target = new Uint8Array(DROP_COUNT_SIZE * 512);
  readonly counts: DropCount[] = [];

  constructor(host: Host, options: CollectorOptions = {}) {
    this.#collector = load({ scopeNetns: host.netns, ...options });
    this.#collector.attach();
  }

  /** Packets with this reason so far. */
  count(reason: string, matches: (drop: DropCount) => boolean = () => true): number {
    const view = new DataView(this.#target.buffer);
    for (;;) {
      const bytes = this.#collector.iterate('drops', this.#target);
      if (bytes === 0) break;
      for (let at = 0; at < bytes; at += DROP_COUNT_SIZE) this.counts.push(readDropCount(view, at));
    }
    return this.counts
      .filter((drop) => drop.reason === reasons[`SKB_DROP_REASON_${reason}`] && matches(drop))
      .reduce((sum, { count }) => sum + Number(count), 0);
  }

  /** What the flow of a UDP port is called in the events of sockets. */
  flowCookie(port: number): bigint | undefined {
    const target = new Uint8Array(SOCKET_EVENT_SIZE * 64);
    const bytes = this.#collector.iterate('totals', target);
    const view = new DataView(target.buffer);
    return Array.from({ length: bytes / SOCKET_EVENT_SIZE }, (_, index) =>
      readSocketEvent(view, index * SOCKET_EVENT_SIZE),
    ).find(({ protocol, localPort }) => protocol === 17 && localPort === port)?.cookie;
  }

  get stats(): { dropsLost: number; dropsWithoutSocket: number } {
    return this.#collector.stats();
  }

  close(): void {
    this.#collector.close();
  }
}

/** Sends datagrams of `bytes` from one socket, as a process of the host. */
function sendDatagrams(host: Host, address: string, port: number, count: number, bytes: number): void {
  host.run(
    'python3',
    '-c',
    `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(${count}): s.sendto(b"x" * ${bytes}, ("${address}", ${port}))`,
  );
}

test('what a rule drops is counted with the reason NETFILTER_DROP, as often as the rule counts', async () => {
  server.nft(
    'table inet filter {\n chain i {\n type filter hook input priority 0;\n udp dport 7001 counter drop\n }\n }',
  );
  const drops = new Drops(server);
  sendDatagrams(client, HOST, 7001, 137, 10);
  await waitFor('137 drops', () => drops.count('NETFILTER_DROP') >= 137);
  const ruled = Number(server.run('nft', 'list', 'table', 'inet', 'filter').match(/counter packets (\d+)/)?.[1]);
  assert.deepEqual([ruled, drops.count('NETFILTER_DROP')], [137, 137]);
  drops.close();
});

test('a datagram to a port without a socket is counted with the reason NO_SOCKET', async () => {
  const drops = new Drops(server);
  const before = server.counter('Udp', 'NoPorts');
  sendDatagrams(client, HOST, 7002, 25, 10);
  await waitFor('25 datagrams', () => server.counter('Udp', 'NoPorts') - before === 25);
  assert.equal(drops.count('NO_SOCKET'), 25);
  drops.close();
});

test('a full receive buffer is counted with the reason SOCKET_RCVBUFF and its flow, or its socket', async () => {
  const drops = new Drops(server);
  const dropsOfSockets = new Drops(server, { datagrams: false });
  const before = server.counter('Udp', 'RcvbufErrors');
  const receiver = server.start(
    'python3',
    '-c',
    `import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.bind(("${HOST}", 7003))
print(struct.unpack("Q", s.getsockopt(socket.SOL_SOCKET, 57, 8))[0], flush=True)
time.sleep(600)`,
  );
  const cookie = BigInt(await receiver.firstLine());
  sendDatagrams(client, HOST, 7003, 300, 500);
  await waitFor('datagrams that find no room', () => server.counter('Udp', 'RcvbufErrors') > before);
  const lost = () => server.counter('Udp', 'RcvbufErrors') - before;
  await waitFor('all of them', () => drops.count('SOCKET_RCVBUFF') === lost());
  assert.ok(lost() > 200);
  const flow = drops.flowCookie(7003);
  assert.equal(
    drops.count('SOCKET_RCVBUFF', (drop) => drop.cookie === flow),
    lost(),
  );
  assert.equal(
    dropsOfSockets.count('SOCKET_RCVBUFF', (drop) => drop.cookie === cookie),
    lost(),
  );
  dropsOfSockets.close();
  receiver.kill();
  drops.close();
});

test('a segment that is dropped on its way out belongs to the connection that sent it', async () => {
  client.nft('table inet out {\n chain o {\n type filter hook output priority 0;\n }\n }');
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST });
  const drops = new Drops(client);
  const socket = await a.connect({ host: HOST, port });
  await b.accept();
  client.nft(`add rule inet out o tcp dport ${port} counter drop`);
  await a.sendInBackground(socket, 1000);
  await waitFor('a drop', () => drops.count('NETFILTER_DROP') > 0);
  const cookies = new Set(drops.counts.map(({ cookie }) => cookie));
  assert.equal(cookies.size, 1);
  assert.ok(!cookies.has(0n));
  drops.close();
});

test('what is delivered is no drop', async () => {
  const drops = new Drops(server);
  const repeated = () =>
    client.counter('Tcp', 'RetransSegs') +
    client.counter('TcpExt', 'TCPWinProbe') +
    client.counter('TcpExt', 'TCPLossProbes');
  const before = repeated();
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST });
  const socket = await a.connect({ host: HOST, port });
  const accepted = await b.accept();
  await a.send(socket, 1_000_000);
  await b.receive(accepted, 1_000_000);
  // Neither is the FIN, which waits in the queue of a socket that closes without reading it.
  await a.close(socket);
  await b.untilEnded(accepted);
  await b.close(accepted);
  // What the receiver had already is dropped: probes of a full window, and what was sent again for want of patience.
  const known = drops.count('TCP_OLD_SEQUENCE') + drops.count('TCP_OLD_DATA');
  assert.ok(known <= repeated() - before, `${known} segments were known, ${repeated() - before} sent again`);
  assert.equal(
    drops.counts.reduce((sum, { count }) => sum + Number(count), 0),
    known,
  );
  assert.deepEqual([drops.stats.dropsLost, drops.stats.dropsWithoutSocket], [0, 0]);
  drops.close();
});

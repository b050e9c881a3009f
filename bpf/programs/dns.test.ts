// DNS messages as the ring has them, beside the bytes that a client sent and received, and the log of dnsmasq.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import {
  DNS_MESSAGE_SIZE,
  type DnsMessage,
  KernelEventType,
  readDnsMessage,
} from '../../host/wire/gen/kernel-events-layout.ts';
import { EVENT_BYTES_MAX, load } from '../addon/index.ts';
import type { Exchange } from './testing/dns-client.ts';
import { ask, DnsServer, RecordType } from './testing/dns-lab.ts';
import { type Host, Lab, waitFor } from './testing/lab.ts';
import { formatAddress, Observer } from './testing/observer.ts';

const SERVER = '10.83.1.2';
const SERVER6 = 'fd83::2';
const lab = new Lab();
let observer: Observer;
let client: Host;
let server: Host;
let dnsmasq: DnsServer;
/** The ends of the cable, the client's first. */
let cable: [string, string];

before(async () => {
  client = lab.host('c');
  server = lab.host('s');
  cable = lab.connect(client, server, ['10.83.1.1/24', `${SERVER}/24`]);
  client.address(cable[0], 'fd83::1/64');
  server.address(cable[1], `${SERVER6}/64`);
  observer = new Observer();
  dnsmasq = await DnsServer.start(server);
});

beforeEach(() => {
  observer.drain();
  observer.others.length = 0;
});

after(() => {
  dnsmasq?.stop();
  observer?.close();
  lab.close();
});

type Message = DnsMessage & { hex: string };

/** What one host sent and received, in order. */
function messagesOf(host: Host): Message[] {
  observer.drain();
  return observer.others
    .filter(({ type }) => type === KernelEventType.DnsMessage)
    .map(({ bytes }) => {
      const message = readDnsMessage(new DataView(bytes.buffer), 0);
      const text = Buffer.from(bytes.subarray(DNS_MESSAGE_SIZE, DNS_MESSAGE_SIZE + message.copiedBytes));
      return { ...message, hex: text.toString('hex') };
    })
    .filter(({ netns }) => netns === host.netns);
}

/** Both ends have both messages of each exchange, byte for byte. */
async function assertSeen(exchanges: readonly Exchange[]): Promise<void> {
  await waitFor('messages of both ends', () =>
    [client, server].every((host) => messagesOf(host).length >= 2 * exchanges.length),
  );
  for (const host of [client, server]) {
    const seen = messagesOf(host).map(({ isSent, hex }) => [isSent, hex]);
    const asks = host === client ? 1 : 0;
    assert.deepEqual(
      seen,
      exchanges.flatMap(({ query, answer }) => [
        [asks, query],
        [1 - asks, answer],
      ]),
    );
  }
}

test('queries and answers over UDP, of every size, are seen at both ends', async () => {
  const exchanges = ask(client, SERVER, [
    { name: 'a.test', type: RecordType.A },
    { name: 'a.test', type: RecordType.Aaaa },
    { name: 'alias.test', type: RecordType.A },
    { name: 'none.test', type: RecordType.A },
    { name: 'medium.test', type: RecordType.Txt },
    { name: 'large.test', type: RecordType.Txt },
    { name: 'large.test', type: RecordType.Txt, ednsBytes: 4096 },
  ]);
  await assertSeen(exchanges);
  const bytes = exchanges.map(({ answer }) => answer.length / 2);
  assert.ok(bytes[4] > 250 && bytes[4] <= 512, `${bytes}`);
  assert.ok(bytes[5] <= 512, `truncated: ${bytes}`);
  assert.ok(bytes[6] > 3500 && bytes[6] <= 4096, `${bytes}`);
  await waitFor('the log', () => dnsmasq.countQueries('TXT', 'large.test') === 2);
  assert.equal(dnsmasq.countQueries('A', 'a.test'), 1);
});

test('a message says its socket, its addresses and its ports', async () => {
  const [exchange] = ask(client, SERVER6, [{ name: 'a.test', type: RecordType.Aaaa }]);
  await assertSeen([exchange]);
  const [query] = messagesOf(client);
  const [received] = messagesOf(server);
  assert.deepEqual([query.localPort, query.remotePort, query.protocol], [exchange.localPort, 53, 17]);
  assert.deepEqual([received.localPort, received.remotePort], [53, exchange.localPort]);
  assert.equal(formatAddress(query.remoteAddress), 'fd83:0000:0000:0000:0000:0000:0000:0002');
  assert.deepEqual(received.localAddress, query.remoteAddress);
  assert.deepEqual(received.remoteAddress, query.localAddress);
  const [, answer] = messagesOf(client);
  assert.equal(answer.cookie, query.cookie);
  assert.notEqual(received.cookie, query.cookie);
  assert.ok(answer.timeNs > query.timeNs);
});

test('over TCP a message has no prefix', async () => {
  const exchanges = ask(client, SERVER, [
    { name: 'a.test', type: RecordType.A, transport: 'tcp' },
    { name: 'large.test', type: RecordType.Txt, transport: 'tcp' },
  ]);
  assert.ok(exchanges[1].answer.length / 2 > 3500);
  await assertSeen(exchanges);
  assert.ok(messagesOf(client).every(({ protocol }) => protocol === 6));
});

const QUERIES = [
  '1234010000010000000000000161047465737400001c0001',
  '123501000001000000000000016104746573740000010001',
];

/** A program in the server that asks its own dnsmasq over TCP: sends each part by itself, and reads `answers` answers. */
function askInParts(parts: readonly string[], answers: number): void {
  server.run(
    'python3',
    '-c',
    `import socket, struct, time
s = socket.create_connection(("127.0.0.1", 53))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for part in ${JSON.stringify(parts)}: s.send(bytes.fromhex(part)); time.sleep(0.1)
f = s.makefile("rb")
for _ in range(${answers}): f.read(struct.unpack(">H", f.read(2))[0])`,
  );
}

test('messages that share a segment are told one by one', async () => {
  askInParts([QUERIES.map((query) => `0018${query}`).join('')], 2);
  await waitFor('queries and answers at both ends', () => messagesOf(server).length === 8);
  for (const isSent of [1, 0]) {
    const queries = messagesOf(server).filter((message) => message.isSent === isSent && QUERIES.includes(message.hex));
    assert.deepEqual(
      queries.map(({ hex }) => hex),
      QUERIES,
    );
  }
});

test('of a message that goes on in another segment the beginning is told', async () => {
  const [, device] = cable;
  server.ip('link', 'set', device, 'gso_max_size', '2000');
  const [{ answer }] = ask(client, SERVER, [{ name: 'large.test', type: RecordType.Txt, transport: 'tcp' }]);
  await waitFor('the answer', () => messagesOf(client).length === 2);
  const [, received] = messagesOf(client);
  assert.equal(received.messageBytes, answer.length / 2);
  assert.ok(received.copiedBytes < received.messageBytes && received.copiedBytes >= 1000, `${received.copiedBytes}`);
  assert.equal(received.hex, answer.slice(0, received.copiedBytes * 2));
  server.ip('link', 'set', device, 'gso_max_size', '65536');
});

test('what begins no message is counted', async () => {
  const scoped = new Observer({ scopeNetns: server.netns });
  askInParts(['0018', QUERIES[0]], 1);
  // Both parts at both ends; the answer is whole.
  await waitFor('four parts', () => scoped.collector.stats().dnsUnparsed === 4);
  scoped.close();
  await waitFor('the whole messages', () => messagesOf(server).length >= 2);
  assert.deepEqual(
    messagesOf(server).map(({ isSent }) => isSent),
    [1, 0],
  );
});

test('other ports are left alone', async () => {
  server.nft(
    'table ip other {\n chain p {\n type nat hook prerouting priority -100;\n udp dport 54 redirect to :53\n }\n }',
  );
  observer.drain();
  client.run(
    'python3',
    '-c',
    `import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b"x" * 30, ("${SERVER}", 54))`,
  );
  await waitFor('the end at port 53', () => messagesOf(server).length > 0);
  assert.deepEqual(
    messagesOf(client).filter(({ isSent }) => isSent === 1),
    [],
  );
});

test('messages that nobody reads leave half of the ring to sockets, and are counted', async () => {
  const ringBytes = 64 * 1024;
  const collector = load({ scopeNetns: client.netns, ringBytes });
  try {
    collector.attach();
    const large = { name: 'large.test', type: RecordType.Txt, ednsBytes: 4096 };
    ask(
      client,
      SERVER,
      Array.from({ length: 20 }, () => large),
    );
    const { eventsLost, pendingBytes } = collector.stats();
    assert.ok(eventsLost.dnsMessage > 0, 'the ring was too large for this test');
    assert.ok(pendingBytes >= ringBytes / 2 && pendingBytes < ringBytes / 2 + EVENT_BYTES_MAX, String(pendingBytes));
    const questions = Array.from({ length: 10 }, () => ({ ...large, transport: 'tcp' }) as const);
    ask(client, SERVER, questions);
    const after = collector.stats();
    assert.equal(after.eventsLost.socketOpen, 0);
    assert.equal(after.endsDeferred, 0);
  } finally {
    collector.close();
  }
});

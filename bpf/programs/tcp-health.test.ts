// How well connections do, besides their retransmits: what the kernel counts for its namespace, or shows of the socket, says what has to come.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { ConnectionPhase, KernelEventType, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, type Peer, waitFor } from './testing/lab.ts';
import { Observer } from './testing/observer.ts';

const HOST = '10.88.1.2';
const lab = new Lab();
let observer: Observer;
let client: Host;
let server: Host;
let a: Peer;
let b: Peer;

before(() => {
  client = lab.host('c');
  server = lab.host('s');
  lab.connect(client, server, ['10.88.1.1/24', `${HOST}/24`]);
  client.ip('link', 'set', 'e0', 'gso_max_segs', '1');
  for (const host of [client, server])
    host.nft('table inet loss {\n chain i {\n type filter hook input priority 0;\n }\n }');
  observer = new Observer();
  a = client.peer();
  b = server.peer();
});

beforeEach(() => {
  observer.drain().length = 0;
});

after(() => {
  observer?.close();
  lab.close();
});

function isOf(event: SocketEvent, host: Host, port: number): boolean {
  return event.netns === host.netns && (event.localPort === port || event.remotePort === port);
}

function find(type: KernelEventType, host: Host, port: number): Promise<SocketEvent> {
  return observer.find(`type ${type} with port ${port}`, (event) => event.type === type && isOf(event, host, port));
}

/** As `ss` shows it, in microseconds: smoothed RTT and its mean deviation. */
function roundTrip(host: Host, port: number): { rtt: number; variation: number } {
  const [, rtt, variation] =
    host.run('ss', '-Htni', `( sport = :${port} or dport = :${port} )`).match(/ rtt:([\d.]+)\/([\d.]+)/) ?? [];
  return { rtt: Math.round(Number(rtt) * 1000), variation: Math.round(Number(variation) * 1000) };
}

test('the window that an end shuts is counted once, whether or not it opens again', async () => {
  const port = await b.listen({ host: HOST, neverRead: true });
  const before = server.counter('TcpExt', 'TCPToZeroWindowAdv');
  const countShut = () => server.counter('TcpExt', 'TCPToZeroWindowAdv') - before;
  const socket = await a.connect({ host: HOST, port });
  const accepted = await b.accept();
  const bytes = 40_000_000;
  await a.sendInBackground(socket, bytes);
  await waitFor('a window of 0', () => countShut() > 0);

  const countTold = () => observer.walk('live').find((event) => isOf(event, server, port))?.zeroWindows;
  assert.equal(countTold(), 1);
  assert.equal(countTold(), 1, 'still the same one');

  await b.read(accepted);
  await b.receive(accepted, bytes);
  await a.close(socket);
  await b.close(accepted);
  assert.equal((await find(KernelEventType.SocketClose, server, port)).zeroWindows, countShut());
  assert.equal((await find(KernelEventType.SocketClose, client, port)).zeroWindows, 0);
});

test('segments behind a hole arrive out of order', async () => {
  const port = await b.listen({ host: HOST });
  const socket = await a.connect({ host: HOST, port });
  const accepted = await b.accept();
  const before = server.counter('TcpExt', 'TCPOFOQueue');
  server.nft(`add rule inet loss i tcp dport ${port} meta length > 1000 numgen inc mod 40 == 17 drop`);
  await a.send(socket, 1_000_000);
  await b.receive(accepted, 1_000_000);
  server.nft('flush chain inet loss i');
  await a.close(socket);
  await b.close(accepted);
  const expected = server.counter('TcpExt', 'TCPOFOQueue') - before;
  assert.ok(expected > 0, 'the rule has cut holes');
  assert.equal((await find(KernelEventType.SocketClose, server, port)).outOfOrder, expected);
});

test('a handshake takes the server until its SYN-ACK is acknowledged, the client from connect() on', async () => {
  const port = await b.listen({ host: HOST });
  const begin = performance.now();
  const socket = await a.connect({ host: HOST, port });
  const elapsedUs = (performance.now() - begin) * 1000;
  const accepted = await b.accept();
  const opens = {
    client: await find(KernelEventType.SocketOpen, client, port),
    server: await find(KernelEventType.SocketOpen, server, port),
  };
  assert.equal(opens.server.handshakeUs, roundTrip(server, port).rtt);
  assert.ok(opens.client.handshakeUs >= roundTrip(client, port).rtt, 'with the way through its own kernel');
  assert.ok(opens.client.handshakeUs <= elapsedUs);

  await a.send(socket, 100_000);
  await b.receive(accepted, 100_000);
  await waitFor('an empty queue', () => client.sockets('established', port).every(({ send }) => send === 0));
  const live = observer.walk('live').find((event) => isOf(event, client, port));
  const { rtt, variation } = roundTrip(client, port);
  assert.deepEqual([live?.srttUs, live?.rttVariationUs], [rtt, variation]);
  await a.close(socket);
  await b.close(accepted);
});

test('a SYN that is lost belongs to the wait of the client', async () => {
  const port = await b.listen({ host: HOST });
  server.nft(`add rule inet loss i tcp dport ${port} drop`);
  const before = client.counter('TcpExt', 'TCPSynRetrans');
  const socket = await a.connect({ host: HOST, port, inBackground: true });
  await waitFor('a SYN', () => client.sockets('syn-sent', port).length === 1);
  server.nft('flush chain inet loss i');
  const accepted = await b.accept();
  const opens = {
    client: await find(KernelEventType.SocketOpen, client, port),
    server: await find(KernelEventType.SocketOpen, server, port),
  };
  if (client.counter('TcpExt', 'TCPSynRetrans') > before)
    assert.ok(opens.client.handshakeUs >= 900_000, 'the first repetition comes after a second');
  assert.equal(opens.server.handshakeUs, roundTrip(server, port).rtt);
  await a.close(socket);
  await b.close(accepted);
});

test('a connect is reset while it is established; an ICMP message that refuses it is no reset', async () => {
  const port = await b.listen({ host: HOST });
  server.nft(`add rule inet loss i tcp dport ${port} reject with icmp port-unreachable`);
  assert.equal(await a.connectError({ host: HOST, port }), 'ECONNREFUSED');
  assert.equal((await find(KernelEventType.ConnectFailed, client, port)).phase, ConnectionPhase.None);
  server.nft('flush chain inet loss i');
  assert.equal(await a.connectError({ host: HOST, port: 9 }), 'ECONNREFUSED');
  assert.equal((await find(KernelEventType.ConnectFailed, client, 9)).phase, ConnectionPhase.Establish);
});

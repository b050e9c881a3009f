// The two ends of a connection compute one key although a router translates both addresses, and whatever the handshake.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { KernelEventType, Role, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, waitFor } from './testing/lab.ts';
import { formatAddress, Observer } from './testing/observer.ts';

const lab = new Lab();
let observer: Observer;
let client: Host;
let router: Host;
let server: Host;

before(() => {
  client = lab.host('c');
  router = lab.host('r');
  server = lab.host('s');
  const [, left] = lab.connect(client, router, ['10.80.1.2/24', '10.80.1.1/24']);
  const [right] = lab.connect(router, server, ['10.80.2.1/24', '10.80.2.2/24']);
  client.address('e0', 'fd80:1::2/64');
  router.address(left, 'fd80:1::1/64');
  router.address(right, 'fd80:2::1/64');
  server.address('e0', 'fd80:2::2/64');
  client.ip('route', 'add', 'default', 'via', '10.80.1.1');
  client.ip('-6', 'route', 'add', 'default', 'via', 'fd80:1::1');
  // The server knows no way to the client's network: only masquerading lets it answer.
  router.sysctl('net.ipv4.ip_forward', 1);
  router.sysctl('net.ipv6.conf.all.forwarding', 1);
  router.nft(`table inet nat {
    chain pre { type nat hook prerouting priority -100;
      ip daddr 10.96.0.1 tcp dport 8080 dnat ip to 10.80.2.2:9090
      ip6 daddr fd96::1 tcp dport 8080 dnat ip6 to [fd80:2::2]:9090
    }
    chain post { type nat hook postrouting priority 100;
      oifname "${right}" masquerade
    }
  }`);
  observer = new Observer();
});

after(() => {
  observer?.close();
  lab.close();
});

/** The opens of one connection, after which both programs have moved bytes and closed. */
async function connectThrough(host: string, listenOn: string): Promise<{ client: SocketEvent; server: SocketEvent }> {
  observer.drain().length = 0;
  const ends = { client: client.peer(), server: server.peer() };
  await ends.server.listen({ host: listenOn, port: 9090 });
  const socket = await ends.client.connect({ host, port: 8080 });
  const accepted = await ends.server.accept();
  await ends.client.send(socket, 3_000_005);
  await ends.server.receive(accepted, 3_000_005);
  await ends.client.close(socket);
  await ends.server.untilEnded(accepted);
  await ends.server.close(accepted);
  const find = (type: number, inside: Host) =>
    observer.find(`type ${type} in ${inside.name}`, (event) => event.type === type && event.netns === inside.netns);
  const opened = {
    client: await find(KernelEventType.SocketOpen, client),
    server: await find(KernelEventType.SocketOpen, server),
  };
  const closed = {
    client: await find(KernelEventType.SocketClose, client),
    server: await find(KernelEventType.SocketClose, server),
  };
  for (const end of ['client', 'server'] as const) assert.equal(closed[end].joinKey, opened[end].joinKey);
  assert.equal(closed.client.bytesSent, 3_000_005n);
  assert.equal(closed.server.bytesReceived, 3_000_005n);
  for (const peer of [ends.client, ends.server]) peer.process.kill('SIGKILL');
  return opened;
}

function assertJoined(ends: { client: SocketEvent; server: SocketEvent }): void {
  assert.notEqual(ends.client.joinKey, 0n);
  assert.equal(ends.client.joinKey, ends.server.joinKey);
  assert.deepEqual([ends.client.role, ends.server.role], [Role.Client, Role.Server]);
  const addresses = [ends.client, ends.server].map((end) => [end.localAddress, end.remoteAddress].map(formatAddress));
  assert.equal(addresses[0].filter((address) => addresses[1].includes(address)).length, 0, 'the ends share no address');
  assert.deepEqual([ends.client.remotePort, ends.server.localPort], [8080, 9090]);
}

describe('through a router that translates destination and source', () => {
  test('IPv4', async () => assertJoined(await connectThrough('10.96.0.1', '10.80.2.2')));
  test('IPv6', async () => assertJoined(await connectThrough('fd96::1', 'fd80:2::2')));

  test('answered by SYN cookies', async () => {
    server.sysctl('net.ipv4.tcp_syncookies', 2);
    const before = cookiesReceived();
    assertJoined(await connectThrough('10.96.0.1', '10.80.2.2'));
    assertJoined(await connectThrough('fd96::1', 'fd80:2::2'));
    server.sysctl('net.ipv4.tcp_syncookies', 1);
    assert.equal(cookiesReceived() - before, 2, 'the server did use them');
  });

  test('two connections have two keys', async () => {
    const first = await connectThrough('10.96.0.1', '10.80.2.2');
    const second = await connectThrough('10.96.0.1', '10.80.2.2');
    assert.notEqual(first.client.joinKey, second.client.joinKey);
  });
});

function cookiesReceived(): number {
  const [names, values] = server
    .run('cat', '/proc/net/netstat')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt'))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf('SyncookiesRecv')]);
}

test('fast open: data in the SYN belongs to the payload', async () => {
  // 1 + 2: both sides; 4: a client needs no cookie; 0x200: a server accepts data without one; 0x400: for every listener.
  for (const host of [client, server]) host.sysctl('net.ipv4.tcp_fastopen', 0x607);
  observer.drain().length = 0;
  const peer = server.peer();
  await peer.listen({ host: '10.80.2.2', port: 9090 });
  const url = 'http://10.96.0.1:8080/';
  const curl = spawn('ip', ['netns', 'exec', client.name, 'curl', '--tcp-fastopen', '-s', url], { stdio: 'ignore' });
  const accepted = await peer.accept();
  const received = await peer.receive(accepted, 1);
  curl.kill();
  await peer.untilEnded(accepted);
  await peer.close(accepted);
  const find = (type: number, inside: Host) =>
    observer.find(`type ${type} in ${inside.name}`, (event) => event.type === type && event.netns === inside.netns);
  const opened = {
    client: await find(KernelEventType.SocketOpen, client),
    server: await find(KernelEventType.SocketOpen, server),
  };
  const closed = {
    client: await find(KernelEventType.SocketClose, client),
    server: await find(KernelEventType.SocketClose, server),
  };
  assertJoined(opened);
  assert.ok(opened.server.bytesReceived > 0n, 'the request came with the SYN');
  assert.deepEqual([closed.client.bytesSent, closed.server.bytesReceived], [BigInt(received), BigInt(received)]);
});

test('opened from both sides: one key, one client, one server, and no byte of a SYN', async () => {
  observer.drain().length = 0;
  const [low, high] = [client.peer(), server.peer()];
  router.nft('delete table inet nat');
  server.ip('route', 'add', '10.80.1.0/24', 'via', '10.80.2.1');
  // As behind a firewall that lets answers in: the server's SYN never arrives, the client's finds a socket that is connecting.
  router.nft(`table ip cross {
    chain f {
      type filter hook forward priority 0;
      ip saddr 10.80.2.2 tcp flags & (syn | ack) == syn drop
    }
  }`);
  const ports = { low: 7001, high: 7002 };
  const highSocket = await high.connect({
    host: '10.80.1.2',
    port: ports.low,
    localPort: ports.high,
    inBackground: true,
  });
  await waitFor('SYN-SENT', () => server.sockets('syn-sent', ports.low).length === 1);
  const lowSocket = await low.connect({ host: '10.80.2.2', port: ports.high, localPort: ports.low });
  await low.send(lowSocket, 1000);
  await high.receive(highSocket, 1000);
  await high.send(highSocket, 500);
  await low.receive(lowSocket, 500);
  await low.close(lowSocket);
  await high.untilEnded(highSocket);
  await high.close(highSocket);
  const closes = await Promise.all(
    [client, server].map((inside) =>
      observer.find('close', (event) => event.type === KernelEventType.SocketClose && event.netns === inside.netns),
    ),
  );
  assert.equal(closes[0].joinKey, closes[1].joinKey);
  assert.deepEqual(
    closes.map((close) => close.role),
    [Role.Client, Role.Server],
  );
  assert.deepEqual(
    closes.map((close) => [close.bytesSent, close.bytesReceived]),
    [
      [1000n, 500n],
      [500n, 1000n],
    ],
  );
});

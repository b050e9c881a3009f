// Openings that wait: what a short connection of a known process is told by is its close alone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { KernelEventType, type SocketEvent, SocketFlag } from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, type Peer, waitFor } from './testing/lab.ts';
import { Observer } from './testing/observer.ts';

const HOST = '127.0.0.1';
const lab = new Lab();
let observer: Observer;
let host: Host;

before(() => {
  host = lab.host('h');
  // Far longer than a test: a process that was told once stays known.
  observer = new Observer({ scopeNetns: host.netns, processKnownMs: 60_000 });
});

after(() => {
  observer?.close();
  lab.close();
});

interface Connection {
  clientSocket: number;
  serverSocket: number;
  /** Told of the client's end: by its local port it is found. */
  clientPort: number;
}

const told = (type: number, port: number): SocketEvent[] =>
  observer.drain().filter((event) => event.type === type && event.localPort === port);

/** 100 bytes there, 3000 back. */
async function exchange(client: Peer, server: Peer, port: number): Promise<Connection> {
  const clientSocket = await client.connect({ host: HOST, port });
  const serverSocket = await server.accept();
  const clientPort = await client.localPort(clientSocket);
  await client.send(clientSocket, 100);
  await server.receive(serverSocket, 100);
  await server.send(serverSocket, 3000);
  await client.receive(clientSocket, 3000);
  return { clientSocket, serverSocket, clientPort };
}

async function close(client: Peer, server: Peer, { clientSocket, serverSocket }: Connection): Promise<void> {
  await client.close(clientSocket);
  await server.untilEnded(serverSocket);
  await server.close(serverSocket);
}

async function closeOf(matches: (event: SocketEvent) => boolean): Promise<SocketEvent> {
  return observer.find('close', (event) => event.type === KernelEventType.SocketClose && matches(event));
}

test('the first connection of a process is told as it opens, a short one that follows by its closes alone', async () => {
  const [client, server] = [host.peer(), host.peer()];
  const port = await server.listen({ host: HOST });
  const first = await exchange(client, server, port);
  const opened = await observer.find(
    'open',
    (event) => event.type === KernelEventType.SocketOpen && event.remotePort === port,
  );
  assert.deepEqual([opened.ownerPid, opened.localPort], [client.process.pid, first.clientPort]);
  const served = told(KernelEventType.SocketOpen, port);
  assert.deepEqual(
    served.map(({ ownerPid, flags }) => [ownerPid, flags & SocketFlag.OwnerProvisional]),
    [[server.process.pid, 0]],
    'an accepted socket is told with the process that uses it',
  );

  const second = await exchange(client, server, port);
  await close(client, server, second);
  const atClient = await closeOf(({ localPort }) => localPort === second.clientPort);
  const atServer = await closeOf(({ remotePort }) => remotePort === second.clientPort);
  for (const [event, pid, sent, received] of [
    [atClient, client.process.pid, 100n, 3000n],
    [atServer, server.process.pid, 3000n, 100n],
  ] as const) {
    assert.equal(event.flags, SocketFlag.Opens);
    assert.deepEqual([event.ownerPid, event.bytesSent, event.bytesReceived], [pid, sent, received]);
    assert.notEqual(event.startTimeNs, 0n);
  }
  assert.notEqual(atClient.joinKey, 0n);
  assert.equal(atClient.joinKey, atServer.joinKey);
  const others = observer
    .drain()
    .filter(({ localPort, remotePort }) => [localPort, remotePort].includes(second.clientPort));
  assert.deepEqual(
    others.map(({ type }) => type),
    [KernelEventType.SocketClose, KernelEventType.SocketClose],
  );

  await close(client, server, first);
  assert.equal((await closeOf(({ localPort }) => localPort === first.clientPort)).flags, 0);
  assert.equal((await closeOf(({ remotePort }) => remotePort === first.clientPort)).flags, 0);
});

test('a connection that lasts is told once, with the totals', async () => {
  const [client, server] = [host.peer(), host.peer()];
  const port = await server.listen({ host: HOST });
  await exchange(client, server, port);
  const second = await exchange(client, server, port);
  await waitFor('acknowledgement', () => host.sockets('established', port).every(({ send }) => send === 0));
  const ofSecond = (events: SocketEvent[]): SocketEvent[] =>
    events.filter(({ localPort, remotePort }) => [localPort, remotePort].includes(second.clientPort));
  const walked = ofSecond(observer.walk('totals')).toSorted((a, b) => Number(a.bytesSent - b.bytesSent));
  assert.deepEqual(
    walked.map(({ type, ownerPid, bytesSent, bytesReceived }) => [type, ownerPid, bytesSent, bytesReceived]),
    [
      [KernelEventType.SocketOpen, client.process.pid, 100n, 3000n],
      [KernelEventType.SocketOpen, server.process.pid, 3000n, 100n],
    ],
  );
  const again = ofSecond(observer.walk('live'));
  assert.deepEqual([...new Set(again.map(({ type }) => type))], [KernelEventType.SocketTotals]);
  await close(client, server, second);
  assert.equal((await closeOf(({ localPort }) => localPort === second.clientPort)).flags, 0);
  assert.equal((await closeOf(({ remotePort }) => remotePort === second.clientPort)).flags, 0);
});

test('a connection that carries DNS does not wait', async () => {
  const [client, server] = [host.peer(), host.peer()];
  const port = await server.listen({ host: HOST, port: 53 });
  assert.equal(port, 53);
  for (let count = 1; count <= 3; count++) {
    const { clientPort } = await exchange(client, server, port);
    assert.equal(told(KernelEventType.SocketOpen, clientPort).length, 1);
  }
  assert.equal(told(KernelEventType.SocketOpen, port).length, 3);
});

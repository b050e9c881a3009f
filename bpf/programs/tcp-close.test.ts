// Both ends report exactly the payload of the application, whoever closes first and however.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  CloseReason,
  KernelEventType,
  Role,
  RoleSource,
  type SocketEvent,
} from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, type Peer, waitFor } from './testing/lab.ts';
import { formatAddress, Observer } from './testing/observer.ts';

const lab = new Lab();
let observer: Observer;
let client: Host;
let server: Host;

before(() => {
  client = lab.host('c');
  server = lab.host('s');
  lab.connect(client, server, ['10.77.1.1/24', '10.77.1.2/24']);
  client.address('e0', 'fd77::1/64');
  server.address('e0', 'fd77::2/64');
  observer = new Observer();
});

after(() => {
  observer?.close();
  lab.close();
});

interface Connection {
  client: Peer;
  server: Peer;
  /** Socket numbers within each peer. */
  clientSocket: number;
  serverSocket: number;
  serverPort: number;
}

async function open(version: 4 | 6, neverRead?: 'client' | 'server'): Promise<Connection> {
  const connection = { client: client.peer(), server: server.peer() };
  const host = version === 4 ? '10.77.1.2' : 'fd77::2';
  const serverPort = await connection.server.listen({ host, neverRead: neverRead === 'server' });
  const clientSocket = await connection.client.connect({ host, port: serverPort });
  const serverSocket = await connection.server.accept();
  return { ...connection, clientSocket, serverSocket, serverPort };
}

/** Payload both ways, of sizes that no correction could hide, read to the last byte and acknowledged. */
async function exchange({ client: a, server: b, clientSocket, serverSocket }: Connection): Promise<void> {
  await a.send(clientSocket, 1_000_003);
  await b.receive(serverSocket, 1_000_003);
  await b.send(serverSocket, 300_001);
  await a.receive(clientSocket, 300_001);
  await a.send(clientSocket, 17);
  await b.receive(serverSocket, 1_000_020);
}

/** A reset tells nothing about what arrived before it, so what is sent counts only once acknowledged. */
async function untilAcknowledged(host: Host, port: number): Promise<void> {
  await waitFor('acknowledgement', () => host.sockets('established', port).every(({ send }) => send === 0));
}

/** The event of that type at each end. */
async function bothEnds(type: number, port: number): Promise<{ client: SocketEvent; server: SocketEvent }> {
  const at = (host: Host, isServer: boolean) =>
    observer.find(`type ${type} in ${host.name}`, (event) => {
      return (
        event.type === type && event.netns === host.netns && (isServer ? event.localPort : event.remotePort) === port
      );
    });
  return { client: await at(client, false), server: await at(server, true) };
}

async function assertEnds(connection: Connection, reasons: { client: number; server: number }): Promise<void> {
  const opened = await bothEnds(KernelEventType.SocketOpen, connection.serverPort);
  const closed = await bothEnds(KernelEventType.SocketClose, connection.serverPort);
  const truth = await connection.client.counts(connection.clientSocket);
  const serverTruth = await connection.server.counts(connection.serverSocket);
  assert.deepEqual(truth, { sent: serverTruth.received, received: serverTruth.sent }, 'the programs agree');
  for (const [name, event, sent, received] of [
    ['client', closed.client, truth.sent, truth.received],
    ['server', closed.server, truth.received, truth.sent],
  ] as const) {
    assert.equal(event.bytesSent, BigInt(sent), `${name} sent`);
    assert.equal(event.bytesReceived, BigInt(received), `${name} received`);
  }
  assert.deepEqual([closed.client.closeReason, closed.server.closeReason], [reasons.client, reasons.server], 'reasons');
  assert.deepEqual([opened.client.role, opened.server.role], [Role.Client, Role.Server]);
  assert.deepEqual([closed.client.roleSource, closed.server.roleSource], [RoleSource.Kernel, RoleSource.Kernel]);
  assert.notEqual(opened.client.joinKey, 0n);
  assert.equal(opened.client.joinKey, opened.server.joinKey, 'one key for both ends');
  assert.equal(closed.client.joinKey, closed.server.joinKey);
  assert.deepEqual([opened.client.cookie, opened.server.cookie], [closed.client.cookie, closed.server.cookie]);
  assert.equal(opened.client.localPort, closed.client.localPort, 'the port is known to the end');
  assert.notEqual(opened.client.localPort, 0);
  assert.equal(formatAddress(closed.client.remoteAddress), formatAddress(closed.server.localAddress));
  assert.equal(formatAddress(closed.client.localAddress), formatAddress(closed.server.remoteAddress));
  connection.client.process.kill();
  connection.server.process.kill();
}

const CLOSED = { client: CloseReason.Closed, server: CloseReason.Closed };

for (const version of [4, 6] as const) {
  describe(`IPv${version}`, () => {
    test('the client closes first', async () => {
      const connection = await open(version);
      await exchange(connection);
      await connection.client.close(connection.clientSocket);
      await connection.server.untilEnded(connection.serverSocket);
      await connection.server.close(connection.serverSocket);
      await assertEnds(connection, CLOSED);
    });

    test('the server closes first', async () => {
      const connection = await open(version);
      await exchange(connection);
      await connection.server.close(connection.serverSocket);
      await connection.client.untilEnded(connection.clientSocket);
      await connection.client.close(connection.clientSocket);
      await assertEnds(connection, CLOSED);
    });

    test('the client ends its direction and is answered before the server closes', async () => {
      const connection = await open(version);
      await exchange(connection);
      await connection.client.end(connection.clientSocket);
      await connection.server.untilEnded(connection.serverSocket);
      await connection.server.send(connection.serverSocket, 70_001);
      await connection.server.close(connection.serverSocket);
      await connection.client.receive(connection.clientSocket, 370_002);
      await connection.client.untilEnded(connection.clientSocket);
      await connection.client.close(connection.clientSocket);
      await assertEnds(connection, CLOSED);
    });

    test('both close at the same moment', async () => {
      const connection = await open(version);
      await exchange(connection);
      await Promise.all([
        connection.client.close(connection.clientSocket),
        connection.server.close(connection.serverSocket),
      ]);
      await assertEnds(connection, CLOSED);
    });

    test('the client resets', async () => {
      const connection = await open(version);
      await exchange(connection);
      await untilAcknowledged(client, connection.serverPort);
      await connection.client.reset(connection.clientSocket);
      await connection.server.untilClosed(connection.serverSocket);
      await assertEnds(connection, { client: CloseReason.ResetSent, server: CloseReason.ResetReceived });
    });

    test('the server resets', async () => {
      const connection = await open(version);
      await exchange(connection);
      await untilAcknowledged(client, connection.serverPort);
      await connection.server.reset(connection.serverSocket);
      await connection.client.untilClosed(connection.clientSocket);
      await assertEnds(connection, { client: CloseReason.ResetReceived, server: CloseReason.ResetSent });
    });
  });
}

test('losses on the way: retransmits as the host counts them, payload once', async () => {
  server.nft(`table inet loss {
    chain i {
      type filter hook input priority 0;
      tcp dport != 0 numgen inc mod 20 == 7 drop
    }
  }`);
  const retransmitsBefore = client.counter('Tcp', 'RetransSegs');
  const connection = await open(4);
  await connection.client.send(connection.clientSocket, 3_000_007);
  await connection.server.receive(connection.serverSocket, 3_000_007);
  await connection.client.close(connection.clientSocket);
  await connection.server.untilEnded(connection.serverSocket);
  await connection.server.close(connection.serverSocket);
  const closed = await bothEnds(KernelEventType.SocketClose, connection.serverPort);
  assert.ok(closed.client.retransmits > 0);
  assert.equal(closed.client.retransmits, client.counter('Tcp', 'RetransSegs') - retransmitsBefore);
  await assertEnds(connection, CLOSED);
});

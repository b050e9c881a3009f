// Connections that are older than the collector keep their role, their key and their history, wherever they are. The truth
// comes from a witness: a second collector that was there from the beginning.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import {
  CloseReason,
  KernelEventType,
  Role,
  RoleSource,
  type SocketEvent,
  SocketFlag,
} from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, type Peer, waitFor } from './testing/lab.ts';
import { Observer } from './testing/observer.ts';

const lab = new Lab();
let witness: Observer;
let client: Host;
let server: Host;

before(() => {
  client = lab.host('c');
  server = lab.host('s');
  lab.connect(client, server, ['10.79.1.1/24', '10.79.1.2/24']);
  client.address('e0', 'fd79::1/64');
  server.address('e0', 'fd79::2/64');
  witness = new Observer();
});

beforeEach(() => {
  witness.drain().length = 0;
});

after(() => {
  witness?.close();
  lab.close();
});

interface Connection {
  client: Peer;
  server: Peer;
  clientSocket: number;
  serverSocket: number;
  port: number;
}

async function open(host = '10.79.1.2', listenOn = host): Promise<Connection> {
  const ends = { client: client.peer(), server: server.peer() };
  const port = await ends.server.listen({ host: listenOn });
  const clientSocket = await ends.client.connect({ host, port });
  const serverSocket = await ends.server.accept();
  await ends.client.send(clientSocket, 100_003);
  await ends.server.receive(serverSocket, 100_003);
  await ends.server.send(serverSocket, 20_001);
  await ends.client.receive(clientSocket, 20_001);
  return { ...ends, clientSocket, serverSocket, port };
}

/** Starts a collector now and returns it with what it adopted in the two hosts, ports of this test only. */
function adopt(port: number): { observer: Observer; client?: SocketEvent; server?: SocketEvent } {
  const observer = new Observer();
  const events = observer.walk('adopt').filter((event) => event.type === KernelEventType.SocketAdopted);
  const mine = events.filter((event) => event.localPort === port || event.remotePort === port);
  const cookies = new Set(events.map((event) => event.cookie));
  const again = observer.walk('adopt').filter((event) => cookies.has(event.cookie));
  assert.deepEqual(again, [], 'what was adopted is not adopted again');
  const clients = mine.filter((event) => event.netns === client.netns);
  const servers = mine.filter((event) => event.netns === server.netns);
  assert.ok(clients.length <= 1 && servers.length <= 1, 'each socket once');
  return { observer, client: clients[0], server: servers[0] };
}

/** What the witness saw at the beginning of the same socket. */
async function assertLikeWitness(adopted: SocketEvent | undefined, role: number): Promise<SocketEvent> {
  assert.ok(adopted, 'the socket was found');
  const opened = await witness.find(
    'open',
    (event) => event.type === KernelEventType.SocketOpen && event.cookie === adopted.cookie,
  );
  assert.equal(adopted.joinKey, opened.joinKey);
  assert.deepEqual([adopted.role, adopted.roleSource], [role, RoleSource.Kernel]);
  assert.equal(opened.role, role);
  assert.deepEqual([adopted.localPort, adopted.remotePort], [opened.localPort, opened.remotePort]);
  assert.deepEqual(adopted.localAddress, opened.localAddress);
  assert.deepEqual(adopted.remoteAddress, opened.remoteAddress);
  assert.equal(adopted.ipVersion, opened.ipVersion);
  assert.equal(adopted.startTimeNs, 0n, 'its beginning was not seen');
  return adopted;
}

function assertTotals(event: SocketEvent, sent: number, received: number): void {
  assert.deepEqual([event.bytesSent, event.bytesReceived], [BigInt(sent), BigInt(received)]);
}

for (const [name, host, listenOn] of [
  ['idle, IPv4', '10.79.1.2', '10.79.1.2'],
  ['idle, IPv6', 'fd79::2', 'fd79::2'],
  ['idle, IPv4 to a socket of both families', '10.79.1.2', '::'],
] as const) {
  test(name, async () => {
    const connection = await open(host, listenOn);
    const adopted = adopt(connection.port);
    const clientEnd = await assertLikeWitness(adopted.client, Role.Client);
    const serverEnd = await assertLikeWitness(adopted.server, Role.Server);
    assertTotals(clientEnd, 100_003, 20_001);
    assertTotals(serverEnd, 20_001, 100_003);
    assert.equal(clientEnd.joinKey, serverEnd.joinKey);
    assert.deepEqual(
      [clientEnd.ownerPid, serverEnd.ownerPid],
      [connection.client.process.pid, connection.server.process.pid],
    );

    const isMine = (event: SocketEvent) => event.cookie === clientEnd.cookie || event.cookie === serverEnd.cookie;
    assert.deepEqual(adopted.observer.walk('totals').filter(isMine), [], 'history is not traffic');
    await connection.client.send(connection.clientSocket, 5);
    await connection.server.receive(connection.serverSocket, 100_008);
    const moved = adopted.observer.walk('totals').find((event) => event.cookie === serverEnd.cookie);
    assert.ok(moved);
    assertTotals(moved, 20_001, 100_008);
    await connection.client.close(connection.clientSocket);
    await connection.server.untilEnded(connection.serverSocket);
    await connection.server.close(connection.serverSocket);
    for (const end of [clientEnd, serverEnd]) {
      const closed = await adopted.observer.find(
        'close',
        (event) => event.type === KernelEventType.SocketClose && event.cookie === end.cookie,
      );
      assert.equal(closed.closeReason, CloseReason.Closed);
      assert.equal(closed.joinKey, end.joinKey);
      assertTotals(closed, end === clientEnd ? 100_008 : 20_001, end === clientEnd ? 20_001 : 100_008);
    }
    adopted.observer.close();
  });
}

test('half closed: history counts no FIN', async () => {
  const connection = await open();
  await connection.client.end(connection.clientSocket);
  await connection.server.untilEnded(connection.serverSocket);
  await waitFor('FIN-WAIT-2', () => client.sockets('fin-wait-2', connection.port).length === 1);
  const adopted = adopt(connection.port);
  assertTotals(await assertLikeWitness(adopted.client, Role.Client), 100_003, 20_001);
  assertTotals(await assertLikeWitness(adopted.server, Role.Server), 20_001, 100_003);
  adopted.observer.close();
});

test('TIME_WAIT is no socket', async () => {
  const connection = await open();
  await connection.client.close(connection.clientSocket);
  await connection.server.untilEnded(connection.serverSocket);
  await connection.server.close(connection.serverSocket);
  await waitFor('TIME-WAIT', () => client.sockets('time-wait', connection.port).length === 1);
  const adopted = adopt(connection.port);
  assert.deepEqual([adopted.client, adopted.server], [undefined, undefined]);
  adopted.observer.close();
});

test('not accepted yet: known by its namespace, owned when a process accepts it', async () => {
  const ends = { client: client.peer(), server: server.peer() };
  const port = await ends.server.listen({ host: '10.79.1.2' });
  ends.server.process.kill('SIGSTOP');
  const socket = await ends.client.connect({ host: '10.79.1.2', port });
  await ends.client.send(socket, 1000);
  const adopted = adopt(port);
  const serverEnd = await assertLikeWitness(adopted.server, Role.Server);
  assertTotals(serverEnd, 0, 1000);
  assert.equal(serverEnd.ownerPid, 0, 'no process holds it');
  assert.ok(serverEnd.flags & SocketFlag.OwnerProvisional);
  ends.server.process.kill('SIGCONT');
  const owner = await adopted.observer.find('owner', (event) => {
    return event.type === KernelEventType.SocketOwner && event.cookie === serverEnd.cookie;
  });
  assert.equal(owner.ownerPid, ends.server.process.pid);
  assert.equal(owner.flags & SocketFlag.OwnerProvisional, 0);
  adopted.observer.close();
});

test('orphaned in FIN_WAIT1, in a namespace without any process', async () => {
  const ends = { client: client.peer(), server: server.peer() };
  const port = await ends.server.listen({ host: '10.79.1.2', neverRead: true });
  const socket = await ends.client.connect({ host: '10.79.1.2', port });
  await ends.client.sendInBackground(socket, 16_000_000);
  // Its timer is that of probes once nothing is on the way any more.
  await waitFor('a closed window', () => client.sockets('established', port)[0]?.timer === 'persist');
  ends.client.process.kill('SIGKILL');
  await waitFor('an orphan', () => client.sockets('fin-wait-1', port)[0]?.timer === 'persist');
  const adopted = adopt(port);
  const clientEnd = await assertLikeWitness(adopted.client, Role.Client);
  const serverEnd = await assertLikeWitness(adopted.server, Role.Server);
  assert.equal(clientEnd.ownerPid, 0);
  assert.ok(clientEnd.bytesSent > 0n);
  assert.equal(clientEnd.bytesSent, serverEnd.bytesReceived, 'what the server holds unread is what was acknowledged');
  ends.server.process.kill('SIGKILL');
  const closed = await adopted.observer.find(
    'close',
    (event) => event.type === KernelEventType.SocketClose && event.cookie === clientEnd.cookie,
  );
  assert.equal(closed.closeReason, CloseReason.ResetReceived);
  assert.equal(closed.bytesSent, clientEnd.bytesSent);
  adopted.observer.close();
});

test('passed to another process', async () => {
  const connection = await open();
  const holder = await connection.server.pass(connection.serverSocket);
  const adopted = adopt(connection.port);
  const serverEnd = await assertLikeWitness(adopted.server, Role.Server);
  assert.equal(serverEnd.ownerPid, holder);
  assertTotals(serverEnd, 20_001, 100_003);
  adopted.observer.close();
});

test('a connect under way is not adopted, and its end is told', async () => {
  server.nft('table inet filter {\n chain i {\n type filter hook input priority 0;\n tcp dport 85 drop\n }\n }');
  const peer = client.peer();
  const socket = await peer.connect({ host: '10.79.1.2', port: 85, inBackground: true });
  await waitFor('SYN-SENT', () => client.sockets('syn-sent', 85).length === 1);
  const adopted = adopt(85);
  assert.equal(adopted.client, undefined);
  await peer.close(socket);
  const failed = await adopted.observer.find(
    'failure',
    ({ type, netns, remotePort }) =>
      type === KernelEventType.ConnectFailed && netns === client.netns && remotePort === 85,
  );
  assert.equal(failed.closeReason, CloseReason.ConnectAbandoned);
  assert.equal(failed.role, Role.Client);
  assert.equal(failed.ownerPid, peer.process.pid);
  adopted.observer.close();
});

test('a listener that is older than the collector hands its owner on', async () => {
  const ends = { client: client.peer(), server: server.peer() };
  const port = await ends.server.listen({ host: '10.79.1.2' });
  const adopted = adopt(port);
  await ends.client.connect({ host: '10.79.1.2', port });
  const opened = await adopted.observer.find('open', (event) => {
    return event.type === KernelEventType.SocketOpen && event.netns === server.netns && event.localPort === port;
  });
  assert.equal(opened.ownerPid, ends.server.process.pid);
  adopted.observer.close();
});

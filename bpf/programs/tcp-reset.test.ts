// Connections that do not end by FIN in both directions, and which end ended them.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import {
  CloseReason,
  ConnectionPhase,
  KernelEventType,
  type SocketEvent,
} from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, waitFor } from './testing/lab.ts';
import { Observer } from './testing/observer.ts';

const HOST = '10.81.1.2';
const lab = new Lab();
let observer: Observer;
let client: Host;
let server: Host;

before(() => {
  client = lab.host('c');
  server = lab.host('s');
  lab.connect(client, server, ['10.81.1.1/24', `${HOST}/24`]);
  client.nft('table inet filter {\n chain o {\n type filter hook output priority 0;\n }\n }');
  server.nft('table inet filter {\n chain i {\n type filter hook input priority 0;\n }\n }');
  observer = new Observer();
});

beforeEach(() => {
  observer.drain().length = 0;
});

after(() => {
  observer?.close();
  lab.close();
});

async function findCloses(port: number): Promise<{ client: SocketEvent; server: SocketEvent }> {
  const find = (isServer: boolean) =>
    observer.find(`close of the ${isServer ? 'server' : 'client'}`, ({ type, netns, localPort, remotePort }) => {
      const isOfHost = netns === (isServer ? server : client).netns;
      return type === KernelEventType.SocketClose && isOfHost && (isServer ? localPort : remotePort) === port;
    });
  return { client: await find(false), server: await find(true) };
}

async function assertReasons(
  port: number,
  reasons: [client: number, server: number],
  phases: [client: number, server: number] = [ConnectionPhase.Transfer, ConnectionPhase.Transfer],
): Promise<void> {
  const closes = await findCloses(port);
  assert.deepEqual([closes.client.closeReason, closes.server.closeReason], reasons);
  assert.deepEqual([closes.client.phase, closes.server.phase], phases);
}

test('close() with unread data resets', async () => {
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST, neverRead: true });
  const socket = await a.connect({ host: HOST, port });
  await a.send(socket, 100);
  const accepted = await b.accept();
  await waitFor('unread data', () => server.sockets('established', port).some(({ receive }) => receive === 100));
  await b.close(accepted);
  await a.untilClosed(socket);
  await assertReasons(port, [CloseReason.ResetReceived, CloseReason.ResetSent]);
});

test('a process that is killed with unread data resets', async () => {
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST, neverRead: true });
  const socket = await a.connect({ host: HOST, port });
  await a.send(socket, 100);
  await b.accept();
  await waitFor('unread data', () => server.sockets('established', port).some(({ receive }) => receive === 100));
  b.process.kill('SIGKILL');
  await a.untilClosed(socket);
  await assertReasons(port, [CloseReason.ResetReceived, CloseReason.ResetSent]);
});

test('data that arrives after close() is answered with a reset by the closed end', async () => {
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST });
  const socket = await a.connect({ host: HOST, port });
  const accepted = await b.accept();
  // The client's FIN is held back, so that it stays in FIN_WAIT1 and is still a full socket when data comes.
  client.nft(`add rule inet filter o tcp dport ${port} tcp flags & fin == fin drop`);
  await a.close(socket);
  await b.send(accepted, 10);
  await b.untilClosed(accepted);
  client.nft('flush chain inet filter o');
  await assertReasons(
    port,
    [CloseReason.ResetSent, CloseReason.ResetReceived],
    [ConnectionPhase.Close, ConnectionPhase.Transfer],
  );
});

test('a reset that arrives after close() was received', async () => {
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST });
  const socket = await a.connect({ host: HOST, port });
  const accepted = await b.accept();
  client.nft(`add rule inet filter o tcp dport ${port} tcp flags & fin == fin drop`);
  await a.close(socket);
  await b.reset(accepted);
  client.nft('flush chain inet filter o');
  await assertReasons(
    port,
    [CloseReason.ResetReceived, CloseReason.ResetSent],
    [ConnectionPhase.Close, ConnectionPhase.Transfer],
  );
});

test('unread data at close() after this end ended its direction', async () => {
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST });
  const socket = await a.connect({ host: HOST, port, neverRead: true });
  const accepted = await b.accept();
  await a.end(socket);
  await b.untilEnded(accepted);
  await b.send(accepted, 100);
  await waitFor('unread data', () => client.sockets('fin-wait-2', port).some(({ receive }) => receive === 100));
  await a.close(socket);
  await assertReasons(
    port,
    [CloseReason.ResetSent, CloseReason.ResetReceived],
    [ConnectionPhase.Close, ConnectionPhase.Close],
  );
});

test('an unaccepted connection whose listener closes', async () => {
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST });
  b.process.kill('SIGSTOP');
  const socket = await a.connect({ host: HOST, port });
  b.process.kill('SIGKILL');
  await a.untilClosed(socket);
  await assertReasons(port, [CloseReason.ResetReceived, CloseReason.ResetSent]);
});

test('retransmissions that run out: timed out, with the retransmits that the host counts', async () => {
  client.sysctl('net.ipv4.tcp_retries2', 2);
  const [a, b] = [client.peer(), server.peer()];
  const port = await b.listen({ host: HOST });
  const socket = await a.connect({ host: HOST, port });
  await b.accept();
  await a.send(socket, 5);
  const retransmitsBefore = client.counter('Tcp', 'RetransSegs');
  server.nft(`add rule inet filter i tcp dport ${port} drop`);
  await a.sendInBackground(socket, 10);
  await a.untilClosed(socket);
  const closed = await observer.find(
    'close',
    ({ type, netns, remotePort }) =>
      type === KernelEventType.SocketClose && netns === client.netns && remotePort === port,
  );
  assert.equal(closed.closeReason, CloseReason.TimedOut);
  assert.equal(closed.bytesSent, 5n, 'what was never acknowledged is not counted');
  assert.ok(closed.retransmits > 0);
  assert.equal(closed.retransmits, client.counter('Tcp', 'RetransSegs') - retransmitsBefore);
});

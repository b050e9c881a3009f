// Listening sockets, and what finds no room there.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  KernelEventType,
  LISTENER_EVENT_SIZE,
  type ListenerEvent,
  readListenerEvent,
} from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, type Peer, waitFor } from './testing/lab.ts';
import { formatAddress, Observer } from './testing/observer.ts';

const HOST = '10.89.1.2';
const lab = new Lab();
let observer: Observer;
let client: Host;
let server: Host;
let a: Peer;
let older: Peer;
let olderPort: number;

before(async () => {
  client = lab.host('c');
  server = lab.host('s');
  lab.connect(client, server, ['10.89.1.1/24', `${HOST}/24`]);
  server.address('e0', 'fd89::2/64');
  a = client.peer();
  older = server.peer();
  olderPort = await older.listen({ host: HOST, backlog: 1 });
  await overflow(older, olderPort);
  observer = new Observer();
  observer.walk('owners');
});

after(() => {
  observer?.close();
  lab.close();
});

const counted = () => server.counter('TcpExt', 'ListenDrops');

/** What a backlog of 1 has room for. */
const ROOM = 2;

/**
 * While the program is stopped, connects fill the queue and more. Returns what the kernel counted and what was `told` of it: SYNs alone, since an
 * acknowledgement that finds no room is counted twice for the socket (bpf/README.md).
 */
async function overflow(peer: Peer, port: number, told = () => 0): Promise<{ expected: number; found: number }> {
  peer.process.kill('SIGSTOP');
  const others = server.sockets('established', port).length;
  for (let i = 0; i < ROOM; i += 1) await a.connect({ host: HOST, port });
  await waitFor('a full queue', () => server.sockets('established', port).length === others + ROOM);
  const before = counted();
  let [expected, found] = [0, 0];
  for (let i = 0; i < 6; i += 1) await a.connect({ host: HOST, port, inBackground: true });
  await waitFor('an overflow that stands still', () => {
    expected = counted() - before;
    found += told();
    return expected >= 3 && counted() - before === expected;
  });
  peer.process.kill('SIGCONT');
  await waitFor('all connects to succeed', () => client.sockets('syn-sent', port).length === 0);
  // A client is connected before its last segment is accepted, which the server may drop and count until then.
  await waitFor('the server to have them', () => server.sockets('syn-recv', port).length === 0);
  return { expected, found };
}

function walk(): ListenerEvent[] {
  observer.others.length = 0;
  observer.walk('listeners');
  return observer.others
    .map(({ type, bytes }) => {
      assert.deepEqual([type, bytes.length], [KernelEventType.Listener, LISTENER_EVENT_SIZE]);
      return readListenerEvent(new DataView(bytes.buffer, bytes.byteOffset), 0);
    })
    .filter(({ netns }) => netns === server.netns);
}

test('each listener tells how many connects found it full, since the last time', async () => {
  const peer = server.peer();
  const port = await peer.listen({ host: HOST, backlog: 1 });
  const overflows = () => walk().find(({ localPort }) => localPort === port)?.overflows;
  assert.equal(overflows(), 0);
  const { expected, found } = await overflow(peer, port, () => overflows() ?? 0);
  assert.equal(found, expected);
  overflows();
  assert.equal(overflows(), 0, 'told once');
});

test('a listener that is older than the collector tells what comes from now on', async () => {
  const find = () => walk().find(({ localPort }) => localPort === olderPort);
  assert.equal(find()?.overflows, 0, 'history');
  assert.equal(find()?.ownerPid, older.process.pid);
  const { expected, found } = await overflow(older, olderPort, () => find()?.overflows ?? 0);
  assert.equal(found, expected);
});

test('the listeners of a host are those that it lists itself, with their owners', async () => {
  const peer = server.peer();
  const ports = [
    await peer.listen({ host: HOST }),
    await peer.listen({ host: 'fd89::2' }),
    await peer.listen({ host: '::' }),
  ];
  const listed = server
    .run('ss', '-Htln')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number(line.trim().split(/ +/)[3].split(':').at(-1)));
  const told = walk();
  assert.deepEqual(told.map(({ localPort }) => localPort).sort(), listed.sort());
  const [v4, v6, any] = ports.map((port) => told.find(({ localPort }) => localPort === port));
  assert.deepEqual([v4?.ipVersion, v6?.ipVersion, any?.ipVersion], [4, 6, 6]);
  assert.equal(v4 && formatAddress(v4.localAddress), HOST);
  assert.match(v6 ? formatAddress(v6.localAddress) : '', /^fd89:.*:0002$/);
  assert.match(any ? formatAddress(any.localAddress) : '', /^[0:]+$/);
  assert.deepEqual(new Set([v4, v6, any].map((listener) => listener?.ownerPid)), new Set([peer.process.pid]));

  peer.process.kill('SIGKILL');
  await waitFor('its listeners to close', () => server.run('ss', '-Htln', `sport = :${ports[0]}`).trim() === '');
  assert.equal(
    walk().some(({ localPort }) => ports.includes(localPort)),
    false,
  );
});

// Why segments were sent again. The kernel's own counters of the namespace say how many of each kind there were. A segment that the kernel
// ran no program for is told with the next one, as that one's kind (bpf/README.md): by kind where all are of one, and the sum always.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { KernelEventType, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, type Peer, waitFor } from './testing/lab.ts';
import { Observer } from './testing/observer.ts';

const HOST = '10.87.1.2';
const lab = new Lab();
let observer: Observer;
let client: Host;
let server: Host;
let a: Peer;
let b: Peer;

before(() => {
  client = lab.host('c');
  server = lab.host('s');
  lab.connect(client, server, ['10.87.1.1/24', `${HOST}/24`]);
  // A packet is a segment, so that counters of packets and of segments agree.
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

interface Kinds {
  all: number;
  fast: number;
  syn: number;
  probe: number;
}

/** Of a namespace. Probes may carry new data, which is no retransmit; in these tests there is none. */
function countKinds(host: Host): Kinds {
  return {
    all: host.counter('Tcp', 'RetransSegs'),
    fast: host.counter('TcpExt', 'TCPFastRetrans'),
    syn: host.counter('TcpExt', 'TCPSynRetrans'),
    probe: host.counter('TcpExt', 'TCPLossProbes'),
  };
}

/** What has no counter of its own are the timeout's. */
function difference(now: Kinds, before: Kinds): { fast: number; timeout: number; syn: number; probe: number } {
  const { all, fast, syn, probe } = {
    all: now.all - before.all,
    fast: now.fast - before.fast,
    syn: now.syn - before.syn,
    probe: now.probe - before.probe,
  };
  return { fast, timeout: all - fast - syn - probe, syn, probe };
}

function kindsOf(event: SocketEvent) {
  const { retransmitsFast, retransmitsTimeout, retransmitsSyn, retransmitsProbe } = event;
  return { fast: retransmitsFast, timeout: retransmitsTimeout, syn: retransmitsSyn, probe: retransmitsProbe };
}

function find(type: KernelEventType, host: Host, port: number): Promise<SocketEvent> {
  return observer.find(
    `type ${type} with port ${port}`,
    (event) =>
      event.type === type && event.netns === host.netns && (event.localPort === port || event.remotePort === port),
  );
}

test('holes in a stream are filled by fast retransmits', async () => {
  // No probes.
  client.sysctl('net.ipv4.tcp_early_retrans', 0);
  const port = await b.listen({ host: HOST });
  const socket = await a.connect({ host: HOST, port });
  const accepted = await b.accept();
  const before = countKinds(client);
  server.nft(`add rule inet loss i tcp dport ${port} meta length > 1000 numgen inc mod 40 == 17 drop`);
  await a.send(socket, 2_000_000);
  await b.receive(accepted, 2_000_000);
  server.nft('flush chain inet loss i');
  await waitFor('an empty queue', () => client.sockets('established', port).every(({ send }) => send === 0));
  const expected = difference(countKinds(client), before);
  await a.close(socket);
  await b.close(accepted);
  client.sysctl('net.ipv4.tcp_early_retrans', 3);

  const event = await find(KernelEventType.SocketClose, client, port);
  assert.ok(expected.fast > 0, 'the rule has cut holes');
  // A busy machine may make a timer run out.
  if (expected.timeout === 0 && event.retransmitsTimeout === 0) assert.equal(event.retransmitsFast, expected.fast);
  assert.deepEqual([event.retransmitsSyn, event.retransmitsProbe], [0, 0]);
  assert.equal(event.retransmitsFast + event.retransmitsTimeout, event.retransmits);
});

test('a lost tail is probed, then its timer runs out', async () => {
  client.sysctl('net.ipv4.tcp_retries2', 2);
  const port = await b.listen({ host: HOST });
  const socket = await a.connect({ host: HOST, port });
  await b.accept();
  await a.send(socket, 5);
  const before = countKinds(client);
  server.nft(`add rule inet loss i tcp dport ${port} drop`);
  await a.sendInBackground(socket, 10);
  await a.untilClosed(socket);
  server.nft('flush chain inet loss i');

  const event = await find(KernelEventType.SocketClose, client, port);
  const expected = difference(countKinds(client), before);
  assert.ok(expected.probe > 0 && expected.timeout > 0, JSON.stringify(expected));
  const { probe, timeout, ...others } = kindsOf(event);
  assert.deepEqual(others, { fast: 0, syn: 0 });
  assert.equal(probe + timeout, expected.probe + expected.timeout);
  assert.ok(probe > 0 && probe <= expected.probe, `${probe} of ${expected.probe} probes`);
});

test('a connect that is not answered repeats its SYN', async () => {
  client.sysctl('net.ipv4.tcp_syn_retries', 1);
  server.nft('add rule inet loss i tcp dport 81 drop');
  const before = countKinds(client);
  assert.equal(await a.connectError({ host: HOST, port: 81 }), 'ETIMEDOUT');
  const event = await find(KernelEventType.ConnectFailed, client, 81);
  const expected = difference(countKinds(client), before);
  assert.ok(expected.syn > 0);
  assert.deepEqual(kindsOf(event), expected);
});

test('a server repeats its SYN-ACK, and its client the SYN', async () => {
  client.sysctl('net.ipv4.tcp_syn_retries', 4);
  const port = await b.listen({ host: HOST });
  const before = { client: countKinds(client), server: countKinds(server) };
  client.nft(`add rule inet loss i tcp sport ${port} drop`);
  const socket = await a.connect({ host: HOST, port, inBackground: true });
  await waitFor('a repeated SYN-ACK', () => countKinds(server).syn > before.server.syn);
  client.nft('flush chain inet loss i');
  const accepted = await b.accept();
  // A socket of which the kernel hid the opening is told when it is used (bpf/README.md).
  await a.send(socket, 1);
  await b.receive(accepted, 1);
  await b.send(accepted, 1);
  await a.receive(socket, 1);

  const opens = {
    client: await find(KernelEventType.SocketOpen, client, port),
    server: await find(KernelEventType.SocketOpen, server, port),
  };
  for (const end of ['client', 'server'] as const) {
    const expected = difference(countKinds(end === 'client' ? client : server), before[end]);
    assert.ok(expected.syn > 0, end);
    assert.deepEqual(kindsOf(opens[end]), expected, end);
  }
  await a.close(socket);
  await b.close(accepted);
});

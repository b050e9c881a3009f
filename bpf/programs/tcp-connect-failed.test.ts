// A connect that leads to no connection says why, and says it once.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CloseReason, KernelEventType, Role, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, type Peer, waitFor } from './testing/lab.ts';
import { formatAddress, Observer } from './testing/observer.ts';

const ETIMEDOUT = 110;
const ECONNREFUSED = 111;
const EHOSTUNREACH = 113;

const lab = new Lab();
let observer: Observer;
let client: Host;
let server: Host;
let peer: Peer;

before(() => {
  client = lab.host('c');
  server = lab.host('s');
  lab.connect(client, server, ['10.78.1.1/24', '10.78.1.2/24']);
  client.address('e0', 'fd78::1/64');
  server.address('e0', 'fd78::2/64');
  client.sysctl('net.ipv4.tcp_syn_retries', 1);
  server.nft(`table inet filter {
    chain input { type filter hook input priority 0;
    tcp dport 81 drop
    ip protocol tcp tcp dport 82 reject with icmp host-unreachable
    meta nfproto ipv6 tcp dport 82 reject with icmpv6 addr-unreachable
    }
  }`);
  observer = new Observer({ scopeNetns: client.netns });
  peer = client.peer();
});

after(() => {
  observer?.close();
  lab.close();
});

async function findFailure(port: number, ipVersion: 4 | 6): Promise<SocketEvent> {
  const event = await observer.find(`failure of a connect to port ${port}`, (candidate) => {
    return (
      candidate.type === KernelEventType.ConnectFailed &&
      candidate.remotePort === port &&
      candidate.ipVersion === ipVersion
    );
  });
  assert.equal(event.role, Role.Client);
  assert.equal(event.joinKey, 0n, 'there is no connection to join');
  assert.equal(event.bytesSent + event.bytesReceived, 0n);
  return event;
}

/** Ports are used once per address family, so each must have exactly one event, and no open or close. */
async function assertAlone(port: number, ipVersion: 4 | 6): Promise<void> {
  await sleep(20);
  const all = observer.drain().filter((event) => event.remotePort === port && event.ipVersion === ipVersion);
  assert.deepEqual(
    all.map((event) => event.type),
    [KernelEventType.ConnectFailed],
  );
}

for (const [ipVersion, host] of [
  [4, '10.78.1.2'],
  [6, 'fd78::2'],
] as const) {
  describe(`IPv${ipVersion}`, () => {
    test('refused: nobody listens', async () => {
      assert.equal(await peer.connectError({ host, port: 80 }), 'ECONNREFUSED');
      const event = await findFailure(80, ipVersion);
      assert.deepEqual([event.closeReason, event.error], [CloseReason.ConnectRefused, ECONNREFUSED]);
      assert.notEqual(event.localPort, 0, 'the port it had is told although the kernel has taken it back');
      assert.match(formatAddress(event.localAddress), ipVersion === 4 ? /^10\.78\.1\.1$/ : /^fd78:0000.*:0001$/);
      await assertAlone(80, ipVersion);
    });

    test('timed out: no answer to SYN and its repetitions', async () => {
      const retransmitsBefore = client.counter('Tcp', 'RetransSegs');
      assert.equal(await peer.connectError({ host, port: 81 }), 'ETIMEDOUT');
      const event = await findFailure(81, ipVersion);
      assert.deepEqual([event.closeReason, event.error], [CloseReason.ConnectTimedOut, ETIMEDOUT]);
      assert.equal(event.retransmits, client.counter('Tcp', 'RetransSegs') - retransmitsBefore);
      assert.ok(event.retransmits > 0);
      await assertAlone(81, ipVersion);
    });

    test('unreachable: a router says so', async () => {
      assert.equal(await peer.connectError({ host, port: 82 }), 'EHOSTUNREACH');
      const event = await findFailure(82, ipVersion);
      assert.deepEqual([event.closeReason, event.error], [CloseReason.ConnectUnreachable, EHOSTUNREACH]);
      await assertAlone(82, ipVersion);
    });
  });
}

test('of many that time out each is told, also those that the kernel gives up where it runs no program', async (t) => {
  const COUNT = 250;
  server.nft('add rule inet filter input tcp dport 85 drop');
  const attempts = Array.from({ length: COUNT }, () => peer.connectError({ host: '10.78.1.2', port: 85 }));
  assert.deepEqual(new Set(await Promise.all(attempts)), new Set(['ETIMEDOUT']));
  const failures = () => observer.drain().filter(({ remotePort }) => remotePort === 85);
  await waitFor('every failure', () => failures().length >= COUNT);
  t.diagnostic(`${observer.collector.stats().endsRescued} of them told as the socket was freed`);
  const told = failures().map(({ type, closeReason, error }) => [type, closeReason, error].join());
  assert.equal(told.length, COUNT);
  assert.deepEqual(
    new Set(told),
    new Set([[KernelEventType.ConnectFailed, CloseReason.ConnectTimedOut, ETIMEDOUT].join()]),
  );
});

test('abandoned: the application closes before the answer', async () => {
  server.nft('add rule inet filter input tcp dport { 83, 84 } drop');
  const socket = await peer.connect({ host: '10.78.1.2', port: 83, inBackground: true });
  await waitFor('SYN-SENT', () => client.sockets('syn-sent', 83).length === 1);
  await peer.close(socket);
  const event = await findFailure(83, 4);
  assert.deepEqual([event.closeReason, event.error], [CloseReason.ConnectAbandoned, 0]);
  assert.equal(event.ownerPid, peer.process.pid);
  await assertAlone(83, 4);
});

test('abandoned: the application is killed before the answer', async () => {
  const doomed = client.peer();
  await doomed.connect({ host: '10.78.1.2', port: 84, inBackground: true });
  await waitFor('SYN-SENT', () => client.sockets('syn-sent', 84).length === 1);
  doomed.process.kill('SIGKILL');
  const event = await findFailure(84, 4);
  assert.deepEqual([event.closeReason, event.ownerPid], [CloseReason.ConnectAbandoned, doomed.process.pid]);
});

test('a connect that finds no free port is neither refused nor abandoned', async () => {
  const target = server.peer();
  const port = await target.listen({ host: '10.78.1.2' });
  client.sysctl('net.ipv4.ip_local_port_range', '40001 40001');
  await peer.connect({ host: '10.78.1.2', port });
  assert.equal(await peer.connectError({ host: '10.78.1.2', port }), 'EADDRNOTAVAIL');
  const event = await findFailure(port, 4);
  assert.deepEqual([event.closeReason, event.error, event.localPort], [CloseReason.ConnectOther, 0, 0]);
});

test('a failed connect says who tried', async () => {
  const event = await findFailure(80, 4);
  const fields = client.run('cat', `/proc/${peer.process.pid}/stat`).split(') ')[1].split(' ');
  assert.equal(event.ownerPid, peer.process.pid);
  assert.equal(event.ownerStartTimeNs / 10_000_000n, BigInt(fields[19]), 'clock ticks of 10 ms since boot');
  assert.equal(
    Buffer.from(event.ownerComm).toString().replace(/\0.*/, ''),
    client.run('cat', `/proc/${peer.process.pid}/comm`).trim(),
  );
  assert.equal(event.ownerUid, 0);
});

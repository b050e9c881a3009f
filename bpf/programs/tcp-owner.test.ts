// Which process owns an accepted socket: first the listening one, then the one that uses it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { KernelEventType, type SocketEvent, SocketFlag } from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab } from './testing/lab.ts';
import { Observer } from './testing/observer.ts';

const lab = new Lab();
let observer: Observer;
let host: Host;

before(() => {
  host = lab.host('h');
  observer = new Observer({ scopeNetns: host.netns });
});

beforeEach(() => {
  observer.drain().length = 0;
});

after(() => {
  observer?.close();
  lab.close();
});

function findServerEvent(type: number, port: number): Promise<SocketEvent> {
  return observer.find(`type ${type} of the server`, (event) => event.type === type && event.localPort === port);
}

/** SocketOwner events of one socket so far. */
function changesOfOwner(cookie: bigint): SocketEvent[] {
  return observer.drain().filter((event) => event.type === KernelEventType.SocketOwner && event.cookie === cookie);
}

test('the process that connects owns the client at once', async () => {
  const peer = host.peer();
  const port = await peer.listen({ host: '127.0.0.1' });
  const socket = await peer.connect({ host: '127.0.0.1', port });
  await peer.send(socket, 10);
  const opened = await observer.find(
    'open',
    (event) => event.type === KernelEventType.SocketOpen && event.remotePort === port,
  );
  assert.equal(opened.ownerPid, peer.process.pid);
  assert.equal(opened.flags & SocketFlag.OwnerProvisional, 0);
  assert.deepEqual(changesOfOwner(opened.cookie), []);
});

test('a server that accepts itself: the listening process, confirmed once by its first use', async () => {
  const peer = host.peer();
  const port = await peer.listen({ host: '127.0.0.1' });
  const socket = await peer.connect({ host: '127.0.0.1', port });
  const opened = await findServerEvent(KernelEventType.SocketOpen, port);
  assert.equal(opened.ownerPid, peer.process.pid);
  assert.ok(opened.flags & SocketFlag.OwnerProvisional);
  const accepted = await peer.accept();
  for (let i = 1; i <= 3; i += 1) {
    await peer.send(socket, 10);
    await peer.receive(accepted, 10 * i);
  }
  const changes = changesOfOwner(opened.cookie);
  assert.deepEqual(
    changes.map((event) => event.ownerPid),
    [peer.process.pid],
  );
  assert.equal(changes[0].flags & SocketFlag.OwnerProvisional, 0);
});

test('a worker that was handed the listener owns what it accepts', async () => {
  const [server, client] = [host.peer(), host.peer()];
  const port = await server.listen({ host: '127.0.0.1' });
  const worker = await server.forkAcceptor();
  assert.notEqual(worker, server.process.pid);
  const socket = await client.connect({ host: '127.0.0.1', port });
  const opened = await findServerEvent(KernelEventType.SocketOpen, port);
  assert.equal(opened.ownerPid, server.process.pid, 'inherited from the process that called listen()');
  await client.send(socket, 1000);
  await client.receive(socket, 1000);
  const owner = await findServerEvent(KernelEventType.SocketOwner, port);
  assert.equal(owner.ownerPid, worker);
  await client.close(socket);
  const closed = await findServerEvent(KernelEventType.SocketClose, port);
  assert.deepEqual([closed.ownerPid, closed.bytesSent, closed.bytesReceived], [worker, 1000n, 1000n]);
});

test('a worker that only closes what it accepted owns it too', async () => {
  const server = host.peer();
  const port = await server.listen({ host: '127.0.0.1', neverRead: true });
  const client = host.peer();
  await client.connect({ host: '127.0.0.1', port });
  await server.close(await server.accept());
  const owner = await findServerEvent(KernelEventType.SocketOwner, port);
  assert.equal(owner.ownerPid, server.process.pid);
});

test('a socket passed to another process belongs to it once that process uses it', async () => {
  const [server, client] = [host.peer(), host.peer()];
  const port = await server.listen({ host: '127.0.0.1' });
  const socket = await client.connect({ host: '127.0.0.1', port });
  const accepted = await server.accept();
  await client.send(socket, 10);
  await server.receive(accepted, 10);
  const holder = await server.pass(accepted);
  await client.send(socket, 10);
  await client.receive(socket, 10);
  const opened = await findServerEvent(KernelEventType.SocketOpen, port);
  assert.deepEqual(
    changesOfOwner(opened.cookie).map((event) => event.ownerPid),
    [server.process.pid, holder],
  );
});

/** A control group of version 2, wherever that hierarchy is mounted: a host may mount version 1 beside it. */
function makeControlGroup(): string {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const mount = mounts.find((line) => line.includes(' - cgroup2 '));
  if (mount === undefined) throw new Error('no cgroup2 file system is mounted');
  const path = join(mount.split(' ')[4], host.name);
  mkdirSync(path);
  return path;
}

test('an owner carries the start of its process, its name and its control group', async () => {
  const peer = host.peer();
  const group = makeControlGroup();
  writeFileSync(join(group, 'cgroup.procs'), String(peer.process.pid));
  const port = await peer.listen({ host: '127.0.0.1' });
  await peer.connect({ host: '127.0.0.1', port });
  const opened = await observer.find(
    'open',
    (event) => event.type === KernelEventType.SocketOpen && event.remotePort === port,
  );
  const stat = host.run('cat', `/proc/${peer.process.pid}/stat`).split(') ')[1].split(' ');
  assert.equal(opened.ownerStartTimeNs / 10_000_000n, BigInt(stat[19]), 'field 22, clock ticks of 10 ms');
  assert.equal(
    Buffer.from(opened.ownerComm).toString().replace(/\0.*/, ''),
    host.run('cat', `/proc/${peer.process.pid}/comm`).trim(),
  );
  assert.equal(opened.cgroupId, statSync(group, { bigint: true }).ino);
  peer.process.kill('SIGKILL');
  await once(peer.process, 'exit');
  rmdirSync(group);
});

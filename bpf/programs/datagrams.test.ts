// UDP flows: what each end tells, beside what the programs, rules of nft and /proc/net/snmp counted.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  KernelEventType,
  Role,
  RoleSource,
  type SocketEvent,
  SocketFlag,
} from '../../host/wire/gen/kernel-events-layout.ts';
import type { CollectorOptions } from '../addon/index.ts';
import { DATAGRAM_PROGRAM, Datagrams } from './testing/datagrams.ts';
import { type Host, Lab, waitFor } from './testing/lab.ts';
import { formatAddress, Observer } from './testing/observer.ts';

const lab = new Lab();
const programs: Datagrams[] = [];
let left: Host;
let right: Host;
let far: Host;
/** Without a cable. */
let alone: Host;

before(() => {
  left = lab.host('l');
  right = lab.host('r');
  far = lab.host('f');
  alone = lab.host('a');
  lab.connect(left, right, ['10.84.1.1/24', '10.84.1.2/24']);
  left.address('e0', 'fd84:1::1/64');
  right.address('e0', 'fd84:1::2/64');
  lab.connect(left, far, ['10.84.2.1/24', '10.84.2.2/24']);
});

after(() => {
  for (const { process } of programs) process.kill('SIGKILL');
  lab.close();
});

function program(host: Host): Datagrams {
  const child = spawn('ip', ['netns', 'exec', host.name, 'python3', DATAGRAM_PROGRAM], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const started = new Datagrams(child);
  programs.push(started);
  return started;
}

/** What an end told last of a flow. */
interface Told {
  sent: [bytes: number, datagrams: number];
  received: [bytes: number, datagrams: number];
  dropped: number;
}

const told = (event: SocketEvent): Told => ({
  sent: [Number(event.bytesSent), event.segmentsSent],
  received: [Number(event.bytesReceived), event.segmentsReceived],
  dropped: event.zeroWindows,
});

const sentOnly = (bytes: number, datagrams: number): Told => ({
  sent: [bytes, datagrams],
  received: [0, 0],
  dropped: 0,
});

const receivedOnly = (bytes: number, datagrams: number): Told => ({
  sent: [0, 0],
  received: [bytes, datagrams],
  dropped: 0,
});

const dotted = (address: string): string =>
  address.includes(':') ? address.replace('fd84:1::', 'fd84:0001:0000:0000:0000:0000:0000:000') : address;

/** The datagram flows of these hosts, whatever else the machine does. */
class Flows {
  readonly observer: Observer;
  /** In the order in which they were told. */
  readonly events: SocketEvent[] = [];
  /** Newest event by flow. */
  readonly #last = new Map<bigint, SocketEvent>();

  constructor(options: CollectorOptions = {}) {
    this.observer = new Observer(options);
  }

  walk(): SocketEvent[] {
    const namespaces = [left, right, far, alone].map(({ netns }) => netns);
    const events = this.observer.walk('totals').filter((event) => event.protocol === 17);
    const own = events.filter(({ netns }) => namespaces.includes(netns));
    for (const event of own) {
      this.#last.set(event.cookie, event);
      this.events.push(event);
    }
    return own;
  }

  /** The flows of a host between two ports, oldest first, as they were told last. */
  between(host: Host, localPort: number, remotePort: number): SocketEvent[] {
    this.walk();
    return [...this.#last.values()].filter(
      (event) => event.netns === host.netns && event.localPort === localPort && event.remotePort === remotePort,
    );
  }

  only(host: Host, localPort: number, remotePort: number): SocketEvent {
    const found = this.between(host, localPort, remotePort);
    assert.equal(found.length, 1, `one flow ${localPort} ${remotePort} in ${host.name}`);
    return found[0];
  }

  /** Of all flows so far. */
  sentDatagrams(): number {
    this.walk();
    return [...this.#last.values()].reduce((sum, { segmentsSent }) => sum + segmentsSent, 0);
  }

  openCount(): number {
    this.walk();
    return [...this.#last.values()].filter(({ type }) => type !== KernelEventType.SocketClose).length;
  }

  close(): void {
    this.observer.close();
  }
}

for (const [family, leftAddress, rightAddress] of [
  ['IPv4', '10.84.1.1', '10.84.1.2'],
  ['IPv6', 'fd84:1::1', 'fd84:1::2'],
]) {
  describe(family, () => {
    test('an unconnected client and its server: addresses, roles, owners, payload and datagrams each way', async () => {
      const flows = new Flows();
      const [client, server] = [program(left), program(right)];
      const [c, s] = [await client.open(leftAddress), await server.open(rightAddress, 7001)];
      const port = await client.port(c);
      await client.send(c, 10, 100, [rightAddress, 7001]);
      assert.deepEqual(await server.receive(s, 1000), [1000, 10]);
      await server.send(s, 3, 700, [leftAddress, port]);
      await client.send(c, 1, 0, [rightAddress, 7001]);
      assert.deepEqual(await client.receive(c, 2100), [2100, 3]);

      const [near, remote] = [flows.only(left, port, 7001), flows.only(right, 7001, port)];
      assert.deepEqual(told(near), { sent: [1000, 11], received: [2100, 3], dropped: 0 });
      assert.deepEqual(told(remote), { sent: [2100, 3], received: [1000, 11], dropped: 0 });
      assert.deepEqual(
        [near, remote].map(({ type }) => type),
        [KernelEventType.SocketOpen, KernelEventType.SocketOpen],
      );
      assert.deepEqual(
        [near, remote].map(({ role, roleSource }) => [role, roleSource]),
        [
          [Role.Client, RoleSource.FirstDatagram],
          [Role.Server, RoleSource.Listener],
        ],
      );
      assert.deepEqual([near.ownerPid, remote.ownerPid], [await client.pid, await server.pid]);
      assert.deepEqual(
        [near.localAddress, near.remoteAddress].map(formatAddress),
        [leftAddress, rightAddress].map(dotted),
      );
      assert.deepEqual([near.ipVersion, near.joinKey], [family === 'IPv4' ? 4 : 6, 0n]);

      await client.close(c);
      await server.close(s);
      assert.deepEqual(
        [flows.only(left, port, 7001), flows.only(right, 7001, port)].map(({ type }) => type),
        [KernelEventType.SocketClose, KernelEventType.SocketClose],
        'the flows end with their sockets',
      );
      flows.close();
    });

    test('what the kernel cuts, merges or fragments counts by datagrams', async () => {
      const flows = new Flows();
      const [client, server] = [program(left), program(right)];
      const c = await client.open(leftAddress);
      const port = await client.port(c);
      const plain = await server.open(rightAddress, 7002);
      const merging = await server.open(rightAddress, 7003);
      const fragmented = await server.open(rightAddress, 7004);
      await server.merge(merging);
      await client.split(c, 40_500, 1000, [rightAddress, 7002]);
      await client.split(c, 40_500, 1000, [rightAddress, 7003]);
      await client.send(c, 2, 20_000, [rightAddress, 7004]);
      assert.deepEqual(await server.receive(plain, 40_500), [40_500, 41]);
      assert.deepEqual(await server.receive(merging, 40_500), [40_500, 41]);
      assert.deepEqual(await server.receive(fragmented, 40_000), [40_000, 2]);
      for (const [serverPort, bytes, datagrams] of [
        [7002, 40_500, 41],
        [7003, 40_500, 41],
        [7004, 40_000, 2],
      ]) {
        assert.deepEqual(told(flows.only(left, port, serverPort)), sentOnly(bytes, datagrams));
        assert.deepEqual(told(flows.only(right, serverPort, port)), receivedOnly(bytes, datagrams));
      }
      flows.close();
    });

    test('what a full receive buffer drops is not received, as /proc/net/snmp and the program say', async () => {
      const flows = new Flows();
      const [client, server] = [program(left), program(right)];
      const counter = () => rcvbufErrors(right, family);
      const errors = counter();
      const s = await server.open(rightAddress, 7005, 4096);
      const c = await client.open(leftAddress);
      const port = await client.port(c);
      await client.send(c, 200, 500, [rightAddress, 7005]);
      // Loopback cables deliver in order, so behind this one nothing is under way.
      const dropped = await settled(() => counter() - errors);
      const [bytes, datagrams] = await server.drain(s);
      assert.ok(dropped > 0 && datagrams > 0, `${dropped} dropped, ${datagrams} delivered`);
      assert.equal(datagrams + dropped, 200);
      assert.deepEqual(told(flows.only(right, 7005, port)), { ...receivedOnly(bytes, datagrams), dropped });
      assert.deepEqual(told(flows.only(left, port, 7005)), sentOnly(100_000, 200));
      flows.close();
    });

    test('what a rule drops on the way is sent and not received', async () => {
      const flows = new Flows();
      const [client, server] = [program(left), program(right)];
      const s = await server.open(rightAddress, 7006);
      const c = await client.open(leftAddress);
      const port = await client.port(c);
      right.nft(`table inet loss {
        chain in { type filter hook prerouting priority 0; udp dport 7006 numgen inc mod 10 == 3 counter drop; }
      }`);
      await client.send(c, 100, 300, [rightAddress, 7006]);
      assert.deepEqual(await server.receive(s, 27_000), [27_000, 90]);
      const lost = Number(right.run('nft', 'list', 'table', 'inet', 'loss').match(/counter packets (\d+)/)?.[1]);
      right.nft('delete table inet loss');
      assert.equal(lost, 10);
      assert.deepEqual(told(flows.only(left, port, 7006)), sentOnly(30_000, 100));
      assert.deepEqual(told(flows.only(right, 7006, port)), receivedOnly(27_000, 90));
      flows.close();
    });

    test('what nobody receives is sent, and makes no flow at the other end', async () => {
      const flows = new Flows();
      const client = program(left);
      const c = await client.open(leftAddress);
      const port = await client.connect(c, rightAddress, 7007);
      await client.send(c, 5, 10);
      assert.deepEqual(told(flows.only(left, port, 7007)), sentOnly(50, 5));
      assert.deepEqual(flows.between(right, 7007, port), []);
      flows.close();
    });
  });
}

/** Of the namespace, by the family. */
function rcvbufErrors(host: Host, family: string): number {
  if (family === 'IPv4') return host.counter('Udp', 'RcvbufErrors');
  return Number(host.run('cat', '/proc/net/snmp6').match(/^Udp6RcvbufErrors\s+(\d+)/m)?.[1]);
}

/** The value once it has been the same for a while, and is not 0. */
async function settled(read: () => number): Promise<number> {
  let value = 0;
  let times = 0;
  await waitFor('a number that stays', () => {
    const next = read();
    times = next === value ? times + 1 : 0;
    value = next;
    return value > 0 && times >= 20;
  });
  return value;
}

test('one socket has a flow for each peer and each of its own addresses', async () => {
  const flows = new Flows();
  const [client, near, distant] = [program(left), program(right), program(far)];
  await near.open('0.0.0.0', 7010);
  await distant.open('0.0.0.0', 7010);
  const c = await client.open('0.0.0.0');
  const port = await client.port(c);
  await client.send(c, 4, 10, ['10.84.1.2', 7010]);
  await client.send(c, 6, 10, ['10.84.2.2', 7010]);
  const told = flows
    .between(left, port, 7010)
    .map((event) => [formatAddress(event.localAddress), formatAddress(event.remoteAddress), event.segmentsSent]);
  assert.deepEqual(
    told.sort((a, b) => Number(a[2]) - Number(b[2])),
    [
      ['10.84.1.1', '10.84.1.2', 4],
      ['10.84.2.1', '10.84.2.2', 6],
    ],
  );
  flows.close();
});

test('both ends in one namespace are two flows', async () => {
  const flows = new Flows();
  const [client, server] = [program(left), program(left)];
  const s = await server.open('127.0.0.1', 7011);
  const c = await client.open('127.0.0.1');
  const port = await client.connect(c, '127.0.0.1', 7011);
  await client.send(c, 7, 11);
  assert.deepEqual(await server.receive(s, 77), [77, 7]);
  assert.deepEqual(told(flows.only(left, port, 7011)), sentOnly(77, 7));
  assert.deepEqual(told(flows.only(left, 7011, port)), receivedOnly(77, 7));
  flows.close();
});

test('a flow that moves is told again with its totals, one that rests is not', async () => {
  const flows = new Flows();
  const [client, server] = [program(left), program(right)];
  await server.open('10.84.1.2', 7012);
  const c = await client.open('10.84.1.1');
  const port = await client.port(c);
  const moved = () => flows.walk().filter(({ netns, localPort }) => netns === left.netns && localPort === port);
  await client.send(c, 1, 10, ['10.84.1.2', 7012]);
  const [opened] = moved();
  assert.equal(opened.type, KernelEventType.SocketOpen);
  assert.deepEqual(moved(), []);
  await client.send(c, 2, 10, ['10.84.1.2', 7012]);
  const [again] = moved();
  assert.deepEqual(
    [again.type, again.cookie, told(again)],
    [KernelEventType.SocketTotals, opened.cookie, sentOnly(30, 3)],
  );
  flows.close();
});

test('an idle flow ends, and what comes later is another one', async () => {
  const flows = new Flows({ datagramIdleMs: 1000 });
  const [client, server] = [program(left), program(right)];
  await server.open('10.84.1.2', 7013);
  const c = await client.open('10.84.1.1');
  const port = await client.port(c);
  await client.send(c, 3, 10, ['10.84.1.2', 7013]);
  const first = flows.only(left, port, 7013);
  await waitFor('the end of the flow', () => {
    const [flow] = flows.between(left, port, 7013);
    return flow.type === KernelEventType.SocketClose;
  });
  const [ended] = flows.between(left, port, 7013);
  assert.deepEqual([ended.cookie, told(ended)], [first.cookie, sentOnly(30, 3)]);
  assert.ok(ended.timeNs >= ended.startTimeNs && ended.timeNs < first.timeNs, 'it ended with its last datagram');
  await client.send(c, 1, 10, ['10.84.1.2', 7013]);
  const flowsNow = flows.between(left, port, 7013);
  assert.deepEqual(
    flowsNow.map((event) => [event.type, told(event)]),
    [
      [KernelEventType.SocketClose, sentOnly(30, 3)],
      [KernelEventType.SocketOpen, sentOnly(10, 1)],
    ],
  );
  assert.notEqual(flowsNow[0].cookie, flowsNow[1].cookie);
  flows.close();
});

test('a flow whose peer comes back while it ends is two flows, one told after the other', async () => {
  const flows = new Flows({ datagramIdleMs: 1000, scopeNetns: alone.netns });
  const client = program(alone);
  const c = await client.open('127.0.0.1');
  const port = await client.port(c);
  const types = () => flows.walk().map(({ type, segmentsSent }) => [type, segmentsSent]);
  await client.send(c, 3, 10, ['127.0.0.2', 7018]);
  assert.deepEqual(types(), [[KernelEventType.SocketOpen, 3]]);
  // The walk that finds it idle only marks it: nothing is told before the next one.
  await sleep(1500);
  assert.deepEqual(types(), []);
  await client.send(c, 2, 10, ['127.0.0.2', 7018]);
  assert.deepEqual(types(), [[KernelEventType.SocketClose, 3]]);
  await waitFor('the next flow', () => flows.between(alone, port, 7018).length === 2);
  await client.send(c, 4, 10, ['127.0.0.2', 7018]);
  const [first, second] = flows.between(alone, port, 7018);
  assert.deepEqual([told(first), told(second)], [sentOnly(30, 3), sentOnly(60, 6)]);
  await client.close(c);
  await waitFor('the end of both', () => flows.openCount() === 0);
  flows.close();
});

test('a socket that is older than the collector has whoever holds it as owner', async () => {
  const server = program(right);
  await server.open('10.84.1.2', 7014);
  const flows = new Flows();
  flows.observer.walk('owners');
  const client = program(left);
  const c = await client.open('10.84.1.1');
  const port = await client.port(c);
  await client.send(c, 1, 10, ['10.84.1.2', 7014]);
  const [near, remote] = [flows.only(left, port, 7014), flows.only(right, 7014, port)];
  assert.equal(remote.ownerPid, await server.pid);
  assert.deepEqual(
    [near, remote].map(({ flags }) => (flags & SocketFlag.MayBeOlder) !== 0),
    [false, true],
    'nobody knows what its socket did before',
  );
  flows.close();
});

test('a collector of one namespace sees no other', async () => {
  const flows = new Flows({ scopeNetns: right.netns });
  const [client, server] = [program(left), program(right)];
  await server.open('10.84.1.2', 7015);
  const c = await client.open('10.84.1.1');
  await client.send(c, 1, 10, ['10.84.1.2', 7015]);
  await waitFor('the flow', () => flows.walk().length > 0 || flows.events.length > 0);
  assert.deepEqual(
    flows.events.map(({ netns, localPort }) => [netns, localPort]),
    [[right.netns, 7015]],
  );
  flows.close();
});

test('without datagrams nothing of UDP is followed', async () => {
  const flows = new Flows({ datagrams: false });
  assert.deepEqual(
    flows.observer.hooks.filter(({ hook }) => hook.startsWith('datagram')),
    [],
  );
  const client = program(left);
  const c = await client.open('10.84.1.1');
  await client.send(c, 1, 10, ['10.84.1.2', 7016]);
  assert.deepEqual(flows.walk(), []);
  flows.close();
});

test('datagrams that find no room for their flow are counted, and the flows that have ended make room', async () => {
  const flows = new Flows({ scopeNetns: alone.netns });
  const client = program(alone);
  const sockets = [await client.open('127.0.0.1'), await client.open('127.0.0.1'), await client.open('127.0.0.1')];
  for (const socket of sockets) await client.spread(socket, 60_000, ['127.0.0.2', 1024]);
  const { datagramsRefused, datagramBytesRefused } = flows.observer.collector.stats();
  assert.ok(datagramsRefused > 0);
  assert.equal(datagramBytesRefused, 0, 'they were empty');
  await waitFor('every flow', () => flows.sentDatagrams() + datagramsRefused === 180_000);
  for (const socket of sockets) await client.close(socket);
  await waitFor('the end of every flow', () => flows.openCount() === 0);
  const c = await client.open('127.0.0.1');
  const port = await client.port(c);
  await client.send(c, 5, 10, ['127.0.0.2', 7017]);
  assert.deepEqual(told(flows.only(alone, port, 7017)), sentOnly(50, 5));
  flows.close();
});

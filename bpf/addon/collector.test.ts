// The collector as a whole: scope, losses, walks in pieces, kills, and arguments that are wrong.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import {
  KernelEventType,
  readSocketEvent,
  SOCKET_EVENT_SIZE,
  type SocketEvent,
} from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, type Peer, waitFor } from '../programs/testing/lab.ts';
import { Observer } from '../programs/testing/observer.ts';
import { type Collector, EVENT_BYTES_MAX, listPrograms, load, probe } from './index.ts';

const lab = new Lab();
let hosts = 0;

/** A host of its own, so that nothing of another test still closes there. */
const newHost = (): Host => lab.host(`h${hosts++}`);

after(() => lab.close());

/** Connections of one peer to itself, all ends left open; returns the server's port. */
async function connectMany(peer: Peer, count: number): Promise<number> {
  const port = await peer.listen({ host: '127.0.0.1' });
  for (let i = 0; i < count; i += 1) {
    const socket = await peer.connect({ host: '127.0.0.1', port });
    const accepted = await peer.accept();
    await peer.send(socket, 100 + i);
    await peer.receive(accepted, 100 + i);
  }
  return port;
}

const isOf = (port: number) => (event: SocketEvent) => event.localPort === port || event.remotePort === port;

test('every backend is probed, and the one that is attached was found to work', () => {
  const { missing, backends } = probe();
  assert.equal(missing, undefined);
  const collector = load();
  for (const { hook, backend, attached, error } of collector.attach()) {
    assert.equal(error, undefined);
    assert.ok(attached, hook);
    assert.ok(backends.some((item) => item.hook === hook && item.backend === backend && item.supported));
    const first = backends.find((item) => item.hook === hook && item.supported);
    assert.equal(backend, first?.backend, 'the best that works');
  }
  collector.close();
});

describe('a collector with a scope', () => {
  test('is blind to every other namespace: events, walks and totals', async () => {
    const [inside, outside] = [newHost(), newHost()];
    const peers = { inside: inside.peer(), outside: outside.peer() };
    const old = { inside: await connectMany(peers.inside, 1), outside: await connectMany(peers.outside, 1) };
    const observer = new Observer({ scopeNetns: inside.netns });
    const everything = new Observer();
    const adopted = observer.walk('adopt');
    const young = { inside: await connectMany(peers.inside, 1), outside: await connectMany(peers.outside, 1) };
    assert.equal(await peers.outside.connectError({ host: '127.0.0.1', port: 1 }), 'ECONNREFUSED');
    assert.deepEqual([adopted.filter(isOf(old.inside)).length, adopted.filter(isOf(old.outside)).length], [2, 0]);
    await observer.find('open', isOf(young.inside));
    await everything.find('open elsewhere', isOf(young.outside));
    await everything.find(
      'failure elsewhere',
      ({ type, netns }) => type === KernelEventType.ConnectFailed && netns === outside.netns,
    );
    const all = [
      ...observer.drain(),
      ...adopted,
      ...observer.walk('totals'),
      ...observer.walk('live'),
      ...observer.walk('owners'),
    ];
    assert.ok(all.length > 4);
    assert.ok(all.every((event) => event.netns === inside.netns));
    observer.close();
    everything.close();
  });
});

describe('walks', () => {
  test('come in pieces of any size, and each socket once', async () => {
    const inside = newHost();
    const peer = inside.peer();
    const port = await connectMany(peer, 30);
    const collector = load({ scopeNetns: inside.netns });
    collector.attach();
    const pieces = new Uint8Array(SOCKET_EVENT_SIZE * 3 + 150);
    const view = new DataView(pieces.buffer);
    const seen: SocketEvent[] = [];
    for (;;) {
      const bytes = collector.iterate('adopt', pieces);
      if (bytes === 0) break;
      assert.equal(bytes % SOCKET_EVENT_SIZE, 0, 'whole records only');
      for (let offset = 0; offset < bytes; offset += SOCKET_EVENT_SIZE) seen.push(readSocketEvent(view, offset));
    }
    const mine = seen.filter((event) => event.localPort === port || event.remotePort === port);
    assert.equal(mine.length, 60);
    assert.equal(new Set(mine.map((event) => event.cookie)).size, 60);
    assert.equal(new Set(mine.map((event) => event.joinKey)).size, 30, 'two ends per key');
    assert.equal(
      mine.reduce((sum, event) => sum + Number(event.bytesSent), 0),
      30 * 100 + (29 * 30) / 2,
    );
    assert.equal(collector.iterate('totals', pieces), 0, 'nothing moved since');
    let live = 0;
    for (let bytes = 1; bytes > 0; live += bytes / SOCKET_EVENT_SIZE) bytes = collector.iterate('live', pieces);
    assert.ok(live >= 60, 'idle sockets are alive');
    collector.close();
    peer.process.kill('SIGKILL');
  });

  test('totals tell what moved and nothing else, from either end', async () => {
    const inside = newHost();
    const peer = inside.peer();
    const port = await peer.listen({ host: '127.0.0.1' });
    const observer = new Observer({ scopeNetns: inside.netns });
    const sockets = [await peer.connect({ host: '127.0.0.1', port }), await peer.connect({ host: '127.0.0.1', port })];
    const accepted = [await peer.accept(), await peer.accept()];
    observer.walk('totals');
    await peer.send(sockets[1], 12_345);
    await peer.receive(accepted[1], 12_345);
    await peer.send(accepted[1], 1);
    await peer.receive(sockets[1], 1);
    await waitFor('acknowledgement', () => inside.sockets('established', port).every(({ send }) => send === 0));
    const moved = observer.walk('totals').filter((event) => event.localPort === port || event.remotePort === port);
    assert.deepEqual(moved.map((event) => [event.bytesSent, event.bytesReceived]).sort(), [
      [1n, 12_345n],
      [12_345n, 1n],
    ]);
    const live = inside.run('ss', '-Htin', `( dport = :${port} )`);
    for (const event of moved) assert.ok(event.srttUs > 0 && event.minRttUs > 0 && event.minRttUs <= event.srttUs * 2);
    const client = moved.find((event) => event.remotePort === port);
    assert.match(live, new RegExp(`segs_out:${client?.segmentsSent}\\b`), 'as ss says');
    assert.match(live, new RegExp(`segs_in:${client?.segmentsReceived}\\b`));
    assert.deepEqual(
      observer.walk('totals').filter((event) => event.remotePort === port),
      [],
    );
    observer.close();
    peer.process.kill('SIGKILL');
  });
});

/** Every socket of `count` connections opens and closes; returns how far in the ring that went. All events are taken as they come. */
async function checkEventsComeWhole(ringBytes: number, count: number): Promise<number> {
  const inside = newHost();
  const peer = inside.peer();
  const port = await peer.listen({ host: '127.0.0.1' });
  const collector = load({ scopeNetns: inside.netns, ringBytes });
  collector.attach();
  const target = new Uint8Array(ringBytes);
  const view = new DataView(target.buffer);
  const closes: SocketEvent[] = [];
  const drain = (): void => {
    const bytes = collector.drainInto(target);
    for (let at = 0; at < bytes; at += SOCKET_EVENT_SIZE) {
      const event = readSocketEvent(view, at);
      assert.ok(isOf(port)(event), `an event of ports ${event.localPort} and ${event.remotePort}`);
      if (event.type === KernelEventType.SocketClose) closes.push(event);
    }
  };
  for (let i = 0; i < count; i += 1) {
    const socket = await peer.connect({ host: '127.0.0.1', port });
    const accepted = await peer.accept();
    await peer.send(socket, 100 + i);
    await peer.receive(accepted, 100 + i);
    await peer.close(socket);
    await peer.untilEnded(accepted);
    await peer.close(accepted);
    drain();
  }
  await waitFor('the last close', () => {
    drain();
    return closes.length === 2 * count;
  });
  const sent = closes.map((event) => Number(event.bytesSent)).filter((bytes) => bytes > 0);
  assert.deepEqual(
    sent.toSorted((a, b) => a - b),
    Array.from({ length: count }, (_, i) => 100 + i),
  );
  assert.equal(new Set(closes.map((event) => event.cookie)).size, 2 * count);
  const { drainedBytes } = collector.stats();
  collector.close();
  peer.process.kill('SIGKILL');
  return drainedBytes;
}

test('events that go over the end of the ring come whole', async () => {
  const ringBytes = 64 * 1024;
  assert.ok((await checkEventsComeWhole(ringBytes, 200)) > 2 * ringBytes, 'twice around');
});

test('events that go over the end of a mapped piece of the ring come whole', async () => {
  // A piece is 256 KiB (src/ring_reader.cc), and no multiple of an event with its header, 208 bytes.
  assert.ok((await checkEventsComeWhole(512 * 1024, 400)) > 256 * 1024, 'into the second piece');
});

describe('a ring that is full', () => {
  test('counts every lost event by type; lost opens are told by the next adoption with all their bytes', async () => {
    const inside = newHost();
    const peer = inside.peer();
    const port = await peer.listen({ host: '127.0.0.1' });
    const collector = load({ scopeNetns: inside.netns, ringBytes: 64 * 1024, wakeupBytes: 1024 });
    collector.attach();
    const pairs: [number, number][] = [];
    for (let i = 0; i < 300; i += 1) {
      const socket = await peer.connect({ host: '127.0.0.1', port });
      pairs.push([socket, await peer.accept()]);
      await peer.send(socket, 1000);
      await peer.receive(pairs[i][1], 1000);
    }
    const { eventsLost, pendingBytes } = collector.stats();
    assert.ok(pendingBytes <= 64 * 1024);
    assert.ok(eventsLost.socketOpen > 0);
    const target = new Uint8Array(SOCKET_EVENT_SIZE * 1000);
    const view = new DataView(target.buffer);
    const decode = (bytes: number) =>
      Array.from({ length: bytes / SOCKET_EVENT_SIZE }, (_, index) => readSocketEvent(view, index * SOCKET_EVENT_SIZE));
    const drained = decode(collector.drainInto(target));
    const opens = drained.filter((event) => event.type === KernelEventType.SocketOpen);
    assert.equal(opens.length + eventsLost.socketOpen, 600, 'told and lost are all');
    const later = decode(collector.iterate('adopt', target)).filter(
      (event) => event.type === KernelEventType.SocketOpen,
    );
    assert.equal(later.length, eventsLost.socketOpen);
    assert.ok(later.every((event) => event.startTimeNs > 0n && event.joinKey !== 0n));
    assert.ok(later.every((event) => event.ownerPid === peer.process.pid));
    assert.ok(later.every((event) => event.bytesSent + event.bytesReceived === 1000n));
    assert.equal(new Set([...opens, ...later].map((event) => event.cookie)).size, 600);

    for (const [socket, accepted] of pairs) {
      await peer.close(socket);
      await peer.untilEnded(accepted);
      await peer.close(accepted);
    }
    await waitFor('the last close', () => {
      const { pendingBytes, endsDeferred } = collector.stats();
      return Math.floor(pendingBytes / (SOCKET_EVENT_SIZE + 8)) + endsDeferred >= 600;
    });
    const inRing = decode(collector.drainInto(target));
    const closes = [...inRing, ...decode(collector.iterate('deferred', target))].filter(
      (event) => event.type === KernelEventType.SocketClose,
    );
    assert.equal(
      new Set(closes.map((event) => event.cookie)).size,
      600,
      'those without room in the ring waited for the walk',
    );
    assert.equal(collector.stats().eventsLost.socketClose, 0);
    const live = decode(collector.iterate('live', target)).filter((event) => isOf(port)(event));
    assert.deepEqual(live, [], 'all are gone, told or not');
    collector.close();
    peer.process.kill('SIGKILL');
  });

  test('is left empty by drains into memory of any size, WebAssembly memory included', async () => {
    const inside = newHost();
    const peer = inside.peer();
    const collector = load({ scopeNetns: inside.netns });
    collector.attach();
    await connectMany(peer, 20);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const target = new Uint8Array(memory.buffer, 4096, EVENT_BYTES_MAX + 3);
    const view = new DataView(memory.buffer);
    const cookies: bigint[] = [];
    for (;;) {
      const bytes = collector.drainInto(target);
      if (bytes === 0) break;
      assert.equal(bytes % SOCKET_EVENT_SIZE, 0);
      for (let offset = 0; offset < bytes; offset += SOCKET_EVENT_SIZE) {
        const event = readSocketEvent(view, 4096 + offset);
        if (event.type === KernelEventType.SocketOpen) cookies.push(event.cookie);
      }
    }
    assert.equal(new Set(cookies).size, 40);
    assert.equal(view.getUint8(4095), 0, 'nothing before the target');
    assert.equal(
      view.getUint8(4096 + Math.floor((EVENT_BYTES_MAX + 3) / SOCKET_EVENT_SIZE) * SOCKET_EVENT_SIZE),
      0,
      'nothing behind the last whole record',
    );
    assert.equal(collector.stats().pendingBytes, 0);
    collector.close();
    peer.process.kill('SIGKILL');
  });
});

test('wait returns false after its time in silence, and true as soon as the ring holds enough', async () => {
  const inside = newHost();
  const peer = inside.peer();
  const collector = load({ scopeNetns: inside.netns, wakeupBytes: 1 });
  collector.attach();
  const start = performance.now();
  assert.equal(collector.wait(100), false);
  assert.ok(performance.now() - start >= 95);
  await connectMany(peer, 1);
  assert.equal(collector.wait(10_000), true);
  collector.close();
  peer.process.kill('SIGKILL');
});

test('a process that is not known wakes the reader, what it does next does not', async () => {
  const inside = newHost();
  const [first, second] = [inside.peer(), inside.peer()];
  const collector = load({ scopeNetns: inside.netns, processKnownMs: 60_000 });
  let wakes = 0;
  collector.onWake(() => {
    wakes += 1;
  });
  collector.attach();
  await connectMany(first, 1);
  await waitFor('a wakeup', () => wakes > 0);
  await connectMany(first, 20);
  await connectMany(second, 1);
  await waitFor('another one', () => wakes > 1);
  assert.equal(wakes, 2);
  collector.close();
  first.process.kill('SIGKILL');
  second.process.kill('SIGKILL');
});

/** Ids of the programs that the process has descriptors of. */
function programsHeldBy(pid: number): Set<number> {
  const folder = `/proc/${pid}/fdinfo`;
  const infos = readdirSync(folder).map((fd) => readFileSync(join(folder, fd), 'utf8'));
  return new Set(infos.flatMap((info) => info.match(/(?<=^prog_id:\s*)\d+/m) ?? []).map(Number));
}

test('a collector that is killed leaves no program behind', async () => {
  const script = `import { load } from ${JSON.stringify(import.meta.resolve('./index.ts'))};
    const collector = load();
    collector.attach();
    process.send('attached');
    setInterval(() => collector.stats(), 1000);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await once(child, 'message');
  const held = programsHeldBy(child.pid ?? 0);
  const remaining = () => listPrograms().filter((program) => held.has(program.id));
  assert.equal(remaining().length, held.size);
  assert.ok(remaining().some((program) => program.name === 'tcp_state_btf'));
  child.kill('SIGKILL');
  await once(child, 'exit');
  await waitFor('the kernel to drop them', () => remaining().length === 0);
});

test('a process without the capabilities is told which it lacks', async () => {
  const script = `import { load, probe } from ${JSON.stringify(import.meta.resolve('./index.ts'))};
    try { load(); } catch (error) { process.send([error.message, probe().missing]); }`;
  const child = spawn(
    'setpriv',
    ['--inh-caps=-all', '--bounding-set=-all', process.execPath, '--input-type=module-typescript', '-e', script],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  const [[message, missing]] = await once(child, 'message');
  assert.match(message, /^loading eBPF programs needs CAP_BPF and CAP_PERFMON: run as root, or give the program/);
  assert.equal(missing, message);
});

describe('a wrong argument is answered with a sentence', () => {
  const cases: [string, () => unknown, RegExp][] = [
    [
      'a ring that is no power of two',
      () => load({ ringBytes: 100_000 }),
      /^ringBytes must be a power of two, it is 100000$/,
    ],
    [
      'a ring that is too small',
      () => load({ ringBytes: 4096 }),
      /^ringBytes must be a whole number between 65536 and 1073741824$/,
    ],
    [
      'a scope that is no inode',
      () => load({ scopeNetns: -1 }),
      /^scopeNetns must be a whole number between 0 and 4294967295$/,
    ],
    ['a scope that is no whole number', () => load({ scopeNetns: 1.5 }), /^scopeNetns must be a whole number/],
    [
      'a misspelt option',
      () => load({ ringByte: 65_536 } as object),
      /^options has no option `ringByte`; there are: ringBytes, /,
    ],
    [
      'a short hash key',
      () => load({ joinKeyHash: new Uint8Array(15) }),
      /^joinKeyHash must hold at least 16 bytes, it has 15$/,
    ],
    [
      'an object that there is not',
      () => load({ object: 'bft' as 'btf' }),
      /^object must be 'btf' or 'kprobe', it is 'bft'$/,
    ],
    ['a long hash key', () => load({ joinKeyHash: new Uint8Array(17) }), /^joinKeyHash must have 16 bytes, it has 17$/],
  ];
  for (const [name, call, message] of cases) {
    test(name, () => assert.throws(call, { name: 'TypeError', message }));
  }

  test('and so is a target, a time or a walk', () => {
    const collector = load();
    const small = new Uint8Array(199);
    assert.throws(() => collector.drainInto(new Uint8Array(EVENT_BYTES_MAX - 1)), {
      message: `target must hold at least ${EVENT_BYTES_MAX} bytes, it has ${EVENT_BYTES_MAX - 1}`,
    });
    assert.throws(() => collector.iterate('totals', small), {
      message: 'target must hold at least 200 bytes, it has 199',
    });
    const call = (name: 'drainInto' | 'iterate' | 'executableOf' | 'wait', ...args: unknown[]) =>
      Reflect.apply(Reflect.get(collector, name), collector, args);
    assert.throws(() => call('drainInto', new Uint16Array(500)), { message: 'target must be a Uint8Array' });
    assert.throws(() => call('drainInto'), { message: 'target must be a Uint8Array' });
    assert.throws(() => call('iterate', 'everything', small), {
      message:
        /^name must be 'deferred', 'totals', 'live', 'owners', 'adopt', 'drops' or 'listeners', it is 'everything'$/,
    });
    assert.throws(() => collector.executableOf(0, 1n), {
      message: 'pid must be a whole number between 1 and 4294967295',
    });
    for (const startTimeNs of [-1n, 1n << 64n, 1])
      assert.throws(() => call('executableOf', 1, startTimeNs), {
        message: 'startTimeNs must be a bigint from 0 to 2^64 - 1',
      });
    assert.throws(() => call('wait', -1), { message: 'timeoutMs must be a whole number between 0 and 60000' });
    collector.close();
    collector.close();
    assert.throws(() => collector.attach(), { message: 'the collector is closed' });
    assert.throws(() => collector.drainInto(new Uint8Array(EVENT_BYTES_MAX)), { message: 'the collector is closed' });
  });
});

test("the key of the join key is the operator's", async () => {
  const inside = newHost();
  const peer = inside.peer();
  const keys: Collector[] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)].map(
    (joinKeyHash) => {
      const collector = load({ scopeNetns: inside.netns, joinKeyHash });
      collector.attach();
      return collector;
    },
  );
  await connectMany(peer, 1);
  const target = new Uint8Array(EVENT_BYTES_MAX);
  const joinKeys = keys.map((collector) => {
    collector.drainInto(target);
    return readSocketEvent(new DataView(target.buffer), 0).joinKey;
  });
  assert.equal(joinKeys[0], joinKeys[1]);
  assert.notEqual(joinKeys[0], joinKeys[2]);
  for (const collector of keys) collector.close();
  peer.process.kill('SIGKILL');
});

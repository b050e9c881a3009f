// agent.wasm on the real kernel: what is told of real sockets, and what is made up for when the ring was full.
import { strict as assert } from 'node:assert';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Collector, load, type WalkName } from '../../bpf/addon/index.ts';
import { type Host, Lab, type Peer, waitFor } from '../../bpf/programs/testing/lab.ts';
import { AgentCore } from '../../host/agent/agent-core.ts';
import { KernelSource } from '../../host/agent/kernel-source.ts';
import { nameProcess } from '../../host/agent/processes.ts';
import { itemsOf } from '../../host/agent/testing/decode.ts';
import { encodeEvents } from '../../host/agent/testing/kernel-event.ts';
import { LedgerModel } from '../../host/agent/testing/ledger-model.ts';
import { loadModule } from '../../host/agent/testing/modules.ts';
import { KernelEventType } from '../../host/wire/gen/kernel-events-layout.ts';
import { TallyKind } from '../../host/wire/gen/wire-layout.ts';

const SMALLEST_RING_BYTES = 64 * 1024;
const CONTEXT = { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };

const lab = new Lab();
after(() => lab.close());

interface Look {
  core: AgentCore;
  source: KernelSource;
  ledger: LedgerModel;
}

function look(
  { netns }: Host,
  ringBytes?: number,
  nowMs?: () => number,
  wrap = (collector: Collector): Collector => collector,
): Look {
  const options = {
    module: loadModule('agent.wasm'),
    hashSeed: [1n, 2n] as const,
    windowNs: 1_000_000_000n,
    addressSpace: 'default',
    boot: 'boot',
  };
  const core = new AgentCore(options, { nameProcess });
  const collector = load({ scopeNetns: netns, ...(ringBytes === undefined ? {} : { ringBytes }) });
  const source = new KernelSource(wrap(collector), core, nowMs);
  source.start();
  return { core, source, ledger: new LedgerModel() };
}

async function connectMany(peer: Peer, count: number, bytes: number): Promise<number[]> {
  const port = await peer.listen({ host: '127.0.0.1' });
  const sockets: number[] = [];
  for (let index = 0; index < count; index++) {
    const client = await peer.connect({ host: '127.0.0.1', port });
    const server = await peer.accept();
    await peer.send(client, bytes);
    await peer.receive(server, bytes);
    sockets.push(client, server);
  }
  return sockets;
}

test('connections that are older than the look are not new, and their history is not traffic', async () => {
  const host = lab.host('a');
  const peer = host.peer();
  const [client] = await connectMany(peer, 2, 5_000);
  const { core, source, ledger } = look(host);
  try {
    await peer.send(client, 300);
    await waitFor('the bytes to arrive', () => {
      source.readTotals();
      ledger.receive(core.encodeWindow(core.toldWindow + 1, CONTEXT));
      ledger.commit(core.toldWindow);
      return ledger.exported.bytesReceived === 300n && ledger.exported.bytesSent === 300n;
    });
    assert.equal(ledger.exported.connections, 0);
    assert.equal(ledger.liveTwins, 4);
  } finally {
    source.stop();
    peer.process.kill();
  }
});

test('openings and closes that found the ring full are made up for', async () => {
  const COUNT = 250;
  const BYTES = 100;
  const host = lab.host('b');
  const peer = host.peer();
  await peer.listen({ host: '127.0.0.1' });
  const { core, source, ledger } = look(host, SMALLEST_RING_BYTES);
  try {
    const sockets = await connectMany(peer, COUNT, BYTES);
    assert(source.losses().events > 0, 'the ring was too large for this test');
    source.readTotals();
    assert.equal(Number(core.counters.socketsLive), COUNT * 2);
    ledger.receive(core.encodeWindow(1, CONTEXT));
    for (const socket of sockets) await peer.close(socket);
    await waitFor('every socket to end', () => {
      source.readTotals();
      return core.counters.socketsLive === 0n;
    });
    assert(source.stats().endsDeferred > 0);
    assert.equal(core.counters.closesInferred, 0n);
    ledger.receive(core.encodeWindow(2, CONTEXT));
    ledger.commit(2);
    assert.equal(ledger.exported.connections, COUNT * 2);
    assert.equal(ledger.exported.bytesSent, BigInt(COUNT * BYTES));
    assert.equal(ledger.exported.bytesReceived, BigInt(COUNT * BYTES));
  } finally {
    source.stop();
    peer.process.kill();
  }
});

/** The same collector with another way to drain it. */
function withDrain(collector: Collector, drainInto: Collector['drainInto']): Collector {
  return new Proxy(collector, {
    get: (target, name) => {
      if (name === 'drainInto') return drainInto;
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** The same collector; `happen` is called before each walk begins. */
function withWalks(collector: Collector, happen: (name: WalkName) => void): Collector {
  let walk: WalkName | undefined;
  return new Proxy(collector, {
    get: (target, name) => {
      const value = Reflect.get(target, name, target);
      if (name !== 'iterate') return typeof value === 'function' ? value.bind(target) : value;
      return (next: WalkName, piece: Uint8Array): number => {
        if (walk !== next) happen(next);
        const bytes = collector.iterate(next, piece);
        walk = bytes === 0 ? undefined : next;
        return bytes;
      };
    },
  });
}

/** Counts the types of the events that pass. */
function countTypes(collector: Collector, counts: Map<number, number>): Collector {
  return withDrain(collector, (target) => {
    const bytes = collector.drainInto(target);
    const view = new DataView(target.buffer, target.byteOffset, bytes);
    for (let at = 0; at < bytes; at += view.getUint16(at + 2, true)) {
      const type = view.getUint16(at, true);
      counts.set(type, (counts.get(type) ?? 0) + 1);
    }
    return bytes;
  });
}

test('connections that live while the ring is full lose no byte, are told at once, and what was lost is counted', async () => {
  const SECONDS = 10;
  const BYTES = 70;
  const host = lab.host('e');
  const peer = host.peer();
  const port = await peer.listen({ host: '127.0.0.1' });
  const drained = new Map<number, number>();
  const { core, source, ledger } = look(host, SMALLEST_RING_BYTES, undefined, (collector) =>
    countTypes(collector, drained),
  );
  try {
    let count = 0;
    for (const end = Date.now() + SECONDS * 1000; Date.now() < end; count++) {
      const client = await peer.connect({ host: '127.0.0.1', port });
      const server = await peer.accept();
      await peer.send(client, BYTES);
      await peer.receive(server, BYTES);
      await peer.close(client);
      await peer.close(server);
      // Fewer than there is room for.
      if (count % 20 === 0) await sleep(10);
    }
    source.drain();
    const { eventsLost, endsDeferred } = source.stats();
    assert(endsDeferred > count, `only ${endsDeferred} ends of ${count} connections found the ring full`);
    assert.equal((drained.get(KernelEventType.SocketOpen) ?? 0) + eventsLost.socketOpen, count * 2);
    assert.equal((drained.get(KernelEventType.SocketClose) ?? 0) + endsDeferred, count * 2);
    assert.equal(eventsLost.socketClose, 0);

    source.readTotals();
    assert.equal(core.counters.socketsLive, 0n);
    ledger.receive(core.encodeWindow(1, CONTEXT));
    ledger.commit(1);
    assert.equal(ledger.exported.connections, count * 2);
    assert.equal(ledger.exported.bytesSent, BigInt(count * BYTES));
    assert.equal(ledger.exported.bytesReceived, BigInt(count * BYTES));

    // Nothing is left behind: what comes now is told by the ring alone.
    const lost = source.losses().events;
    for (const socket of await connectMany(peer, 1, BYTES)) await peer.close(socket);
    source.readTotals();
    assert.equal(source.losses().events, lost);
    assert.equal(source.stats().endsDeferred, endsDeferred);
  } finally {
    source.stop();
    peer.process.kill();
  }
});

test('what a flow of datagrams drops is its own, whenever between two walks it begins', async () => {
  const [COUNT, WALKS] = [60, 12];
  const host = lab.host('f');
  const walks: WalkName[] = [];
  const before = host.counter('Udp', 'RcvbufErrors');
  // A socket of its own each time, which nobody reads.
  const flood = `import socket
a, b = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
b.bind(("127.0.0.1", 0))
for i in range(${COUNT}): a.sendto(b"x" * 500, b.getsockname())`;
  const { core, source, ledger } = look(host, undefined, undefined, (collector) =>
    withWalks(collector, (name) => {
      if (walks.length >= WALKS) return;
      walks.push(name);
      host.run('python3', '-c', flood);
    }),
  );
  try {
    const told = { ofSockets: 0n, ofHost: 0n };
    for (let window = 1; window <= WALKS; window++) {
      source.readTotals();
      const payloads = core.encodeWindow(window, CONTEXT);
      ledger.receive(payloads);
      for (const { handle, kind, count } of itemsOf(payloads, 'Tally'))
        if (kind === TallyKind.Drop) told[handle === 0 ? 'ofHost' : 'ofSockets'] += count;
    }
    assert.ok(walks.includes('totals') && walks.includes('drops'), `${walks}`);
    assert.deepEqual(told, { ofSockets: BigInt(host.counter('Udp', 'RcvbufErrors') - before), ofHost: 0n });
  } finally {
    source.stop();
  }
});

test('a socket whose close nobody saw or counted has closed after a while, and one that lives has not', async () => {
  const host = lab.host('c');
  const peer = host.peer();
  await connectMany(peer, 1, 100);
  let nowMs = 0;
  const { core, source } = look(host, undefined, () => nowMs);
  try {
    core.events(encodeEvents({ type: KernelEventType.SocketOpen, cookie: 1n << 60n, joinKey: 5n }));
    nowMs = 20_000;
    source.readTotals();
    assert.equal(core.counters.socketsLive, 3n);
    nowMs = 40_000;
    source.readTotals();
    assert.deepEqual([core.counters.socketsLive, core.counters.closesInferred], [2n, 1n]);
  } finally {
    source.stop();
    peer.process.kill();
  }
});

test('a census waits for the closes that a record in work holds up', async () => {
  const host = lab.host('d');
  const peer = host.peer();
  let nowMs = 0;
  let isHeldUp = false;
  const holdUp = (collector: Collector): Collector =>
    withDrain(collector, (target) => (isHeldUp ? 0 : collector.drainInto(target)));
  const { core, source, ledger } = look(host, undefined, () => nowMs, holdUp);
  try {
    const sockets = await connectMany(peer, 1, 100);
    source.drain();
    assert.equal(core.counters.socketsLive, 2n);
    isHeldUp = true;
    await peer.send(sockets[0], 700);
    await peer.receive(sockets[1], 800);
    for (const socket of sockets) await peer.close(socket);
    await waitFor('both closes to be told', () => source.stats().pendingBytes >= 2 * 208);
    nowMs = 40_000;
    source.readTotals();
    assert.deepEqual([core.counters.socketsLive, core.counters.closesInferred], [2n, 0n]);
    isHeldUp = false;
    source.readTotals();
    assert.deepEqual([core.counters.socketsLive, core.counters.closesInferred], [0n, 0n]);
    ledger.receive(core.encodeWindow(1, CONTEXT));
    ledger.commit(1);
    assert.equal(ledger.exported.bytesSent, 800n);
  } finally {
    source.stop();
    peer.process.kill();
  }
});

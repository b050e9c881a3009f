import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { mock, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { seededRandom } from '../lib/random.ts';
import { allocateDoorbells, Doorbells } from './doorbell.ts';
import { allocateRings, Mesh, type MeshMemory } from './mesh.ts';
import { allocateRing, RingReader, RingWriter } from './mesh-ring.ts';
import type { MeshReport, MeshTask } from './testing/mesh-peer.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

test('what is read from a ring is what was written to it, whatever the pieces', (context) => {
  context.diagnostic(`SEED=${SEED}`);
  const random = seededRandom(SEED);
  const memory = allocateRing(256);
  const [writer, reader] = [new RingWriter(memory), new RingReader(memory)];
  const written: number[] = [];
  const read: number[] = [];
  for (let step = 0; step < 5_000; step++) {
    const piece = Uint8Array.from(
      { length: Math.min(writer.freeBytes, Math.floor(random() * 100)) },
      () => random() * 256,
    );
    writer.write(piece);
    written.push(...piece);
    const target = new Uint8Array(Math.floor(random() * (reader.availableBytes + 1)));
    reader.copyInto(target);
    reader.advance(target.length);
    read.push(...target);
    assert.equal(writer.freeBytes + reader.availableBytes, 256);
  }
  assert.deepEqual(read, written.slice(0, read.length));
});

test('a writer that asked for room is to be rung once', () => {
  const memory = allocateRing(64);
  const [writer, reader] = [new RingWriter(memory), new RingReader(memory)];
  writer.write(new Uint8Array(64));
  assert.throws(() => writer.write(new Uint8Array(8)), /8 bytes into 0/);
  assert.equal(reader.advance(8), false);
  writer.awaitRoom();
  assert.equal(reader.advance(8), true);
  assert.equal(reader.advance(8), false);
});

test('a block as long as one that was refused, for its record was not whole, is read', () => {
  const memory: MeshMemory = { rings: allocateRings(2, 1_024), doorbells: allocateDoorbells(2) };
  const doorbells = new Doorbells(memory.doorbells);
  let waiting = new Uint8Array(0);
  const sender = new Mesh({
    ...{ worker: 0, memory, doorbells, wake: () => {} },
    ends: { outbox: () => waiting, sent: () => {}, inbox: (size) => new Uint8Array(size), receive: (_, size) => size },
  });
  // Records of 32 and of 24 bytes.
  const sizes = [32, 24];
  const receive = (_: number, bytes: number) => (bytes >= sizes[0] ? (sizes.shift() ?? 0) : 0);
  const receiver = new Mesh({
    ...{ worker: 1, memory, doorbells, wake: () => {} },
    ends: { outbox: () => new Uint8Array(0), sent: () => {}, inbox: (size) => new Uint8Array(size), receive },
  });
  const taken = [24, 8, 24].map((bytes) => {
    waiting = new Uint8Array(bytes);
    sender.flush();
    sender.send();
    return receiver.receive();
  });
  assert.deepEqual(taken, [false, true, true]);
});

test('a block that fits after all, for room came between two looks, leaves nothing to wake for', async (context) => {
  const memory: MeshMemory = { rings: allocateRings(2, 1_024), doorbells: allocateDoorbells(2) };
  const ring = memory.rings[0][1] ?? assert.fail();
  let waiting = new Uint8Array(1_000);
  let wakes = 0;
  const ends = {
    outbox: () => waiting,
    sent: (_: number, bytes: number) => {
      waiting = waiting.subarray(bytes);
    },
    inbox: (size: number) => new Uint8Array(size),
    receive: (_: number, size: number) => size,
  };
  const wake = (): void => {
    wakes++;
  };
  const sender = new Mesh({ worker: 0, memory, doorbells: new Doorbells(memory.doorbells), wake, ends });
  sender.flush();
  assert.equal(sender.send(), true);
  const awaitRoom = RingWriter.prototype.awaitRoom;
  const mocked = mock.method(RingWriter.prototype, 'awaitRoom', function (this: RingWriter) {
    awaitRoom.call(this);
    new RingReader(ring).advance(500);
  });
  context.after(() => mocked.mock.restore());
  waiting = new Uint8Array(104);
  sender.flush();
  assert.equal(sender.send(), true);
  assert.equal(mocked.mock.callCount(), 1);
  assert.equal(waiting.length, 0);
  new RingReader(ring).advance(604);
  sender.sleep();
  await setImmediate();
  assert.equal(wakes, 0);
});

/** Runs a mesh of real threads; the report of each. */
async function runMesh(
  workers: number,
  task: Omit<MeshTask, 'worker' | 'memory'>,
  ringBytes: number,
): Promise<MeshReport[]> {
  const memory: MeshMemory = { rings: allocateRings(workers, ringBytes), doorbells: allocateDoorbells(workers) };
  const threads = memory.rings.map((_, worker) => {
    const workerData: MeshTask = { ...task, worker, memory };
    return new Worker(new URL('./testing/mesh-peer.ts', import.meta.url), { workerData });
  });
  const reports = await Promise.all(threads.map(async (thread) => (await once(thread, 'message'))[0] as MeshReport));
  await Promise.all(threads.map((thread) => thread.terminate()));
  return reports;
}

for (const [workers, ringBytes] of [
  [2, 1_024],
  [2, 1 << 16],
  [3, 2_048],
]) {
  test(`${workers} threads with rings of ${ringBytes} bytes get every record once and in order`, {
    timeout: 240_000,
  }, async (context) => {
    context.diagnostic(`SEED=${SEED}`);
    const reports = await runMesh(workers, { seed: SEED, recordsPerPeer: 30_000, holdEvery: 0 }, ringBytes);
    for (const report of reports) {
      assert.deepEqual(report.outOfOrder, 0);
      assert.deepEqual(report.received, (workers - 1) * 30_000);
    }
    if (ringBytes < 4_096)
      assert.ok(
        reports.every((report) => report.ringsFull > 0),
        'the rings were never full',
      );
  });
}

test('rings that are full both ways drain, also when the receivers stop at windows', {
  timeout: 240_000,
}, async (context) => {
  context.diagnostic(`SEED=${SEED}`);
  const reports = await runMesh(2, { seed: SEED, recordsPerPeer: 20_000, holdEvery: 500 }, 1_024);
  assert.deepEqual(
    reports.map(({ received, outOfOrder }) => ({ received, outOfOrder })),
    [
      { received: 20_000, outOfOrder: 0 },
      { received: 20_000, outOfOrder: 0 },
    ],
  );
  assert.ok(reports.every((report) => report.ringsFull > 0 && report.holds > 0));
});

test('workers that have nothing to do use no processor time', { timeout: 240_000 }, async () => {
  const reports = await runMesh(2, { seed: SEED, recordsPerPeer: 100, holdEvery: 0, idleMs: 1_000 }, 1_024);
  for (const { idleCpuMs } of reports)
    assert.ok(idleCpuMs < 50, `${idleCpuMs} ms of processor time in one idle second`);
});

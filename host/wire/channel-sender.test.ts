import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../lib/random.ts';
import { ChannelSender } from './channel-sender.ts';
import { frameCostBytes, frameHeader } from './frame.ts';
import { FrameKind } from './gen/wire-layout.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

function makeSender(grantBytes: number, zstd = false): ChannelSender {
  const sender = new ChannelSender({ zstd });
  sender.restart(grantBytes);
  return sender;
}

function payload(byteCount: number): { kind: number; payload: Uint8Array } {
  return { kind: FrameKind.Open, payload: new Uint8Array(byteCount) };
}

function seqs(frames: readonly Uint8Array[]): number[] {
  return frames.map((bytes) => frameHeader(bytes).seq);
}

test('a frame that was sent is resent unchanged until it is received', () => {
  const sender = makeSender(1_000);
  const [frame] = sender.offer([payload(8)]);
  assert.equal(sender.resume(0, 1_000), true);
  const [again] = sender.pump();
  assert.equal(again, frame);
  assert.equal(sender.received(1), true);
  assert.equal(sender.resume(1, 1_000), true);
  assert.deepEqual(sender.pump(), []);
});

test('without credit frames wait, and a receipt gives the credit back once', () => {
  const sender = makeSender(600);
  assert.deepEqual(seqs(sender.offer([payload(240), payload(240), payload(240)])), [1, 2]);
  assert.equal(sender.isDrained, false);
  assert.equal(sender.creditBytes, 88);
  sender.received(1);
  sender.received(1);
  assert.deepEqual(seqs(sender.pump()), [3]);
  assert.equal(sender.creditBytes, 88);
  assert.equal(sender.isDrained, true);
});

test('a small frame costs as much as the receiver needs to keep it', () => {
  assert.equal(frameCostBytes(0), 256);
  assert.equal(frameCostBytes(1_000), 1_016);
  const sender = makeSender(1_000);
  assert.equal(sender.offer([payload(8), payload(8), payload(8), payload(8)]).length, 3);
});

test('a frame costs what it holds before compression', () => {
  const sender = makeSender(2_000, true);
  const [only, ...others] = sender.offer([payload(1_000), payload(1_000)]);
  assert(only.length < 100, `${only.length} bytes`);
  assert.deepEqual([others.length, sender.creditBytes], [0, 2_000 - frameCostBytes(1_000)]);
});

test('a receipt for what was never sent, and a resume from nowhere, are refused and change nothing', () => {
  const sender = makeSender(600);
  sender.offer([payload(240), payload(240), payload(240)]);
  assert.equal(sender.received(3), false, 'the third waits for credit');
  sender.received(1);
  assert.equal(sender.resume(0, 600), false, 'frame 1 was confirmed');
  assert.equal(sender.resume(4, 600), false, 'frame 4 was never made');
  assert.equal(sender.receivedSeq, 1);
  assert.equal(sender.nextSeq, 4);
});

test('a resume with less credit sends less, and what was received beyond the last receipt is not sent again', () => {
  const sender = makeSender(2_000);
  sender.offer(Array.from({ length: 5 }, () => payload(240)));
  assert.equal(sender.resume(2, 300), true);
  assert.deepEqual(seqs(sender.pump()), [3]);
  assert.equal(sender.received(4), false);
  sender.received(3);
  assert.deepEqual(seqs(sender.pump()), [4]);
});

test('under random offers, receipts and reconnects the receiver gets each frame in order and credit is kept', () => {
  console.log(`seed ${SEED}`);
  const random = seededRandom(SEED);
  const sender = makeSender(4_000);
  const inFlight: Uint8Array[] = [];
  const got: number[] = [];
  let offered = 0;
  const deliver = (count: number): void => {
    for (const bytes of inFlight.splice(0, count)) {
      const { seq } = frameHeader(bytes);
      if (seq > got.length) got.push(seq);
    }
  };
  for (let step = 0; step < 20_000; step++) {
    const choice = random();
    if (choice < 0.3) {
      const payloads = Array.from({ length: Math.floor(random() * 6) }, () => payload(8 * Math.floor(random() * 120)));
      offered += payloads.length;
      inFlight.push(...sender.offer(payloads));
    } else if (choice < 0.6) deliver(1 + Math.floor(random() * 4));
    else if (choice < 0.9) {
      assert.equal(sender.received(Math.floor(random() * (got.length + 1))), true);
      inFlight.push(...sender.pump());
    } else {
      inFlight.length = 0;
      const receivedSeq = sender.receivedSeq + Math.floor(random() * (got.length - sender.receivedSeq + 1));
      assert.equal(sender.resume(receivedSeq, 4_000), true);
      inFlight.push(...sender.pump());
    }
    assert.ok(sender.creditBytes >= 0 && sender.creditBytes <= 4_000);
  }
  for (let round = 0; round < 100_000 && got.length < offered; round++) {
    deliver(inFlight.length);
    sender.received(got.length);
    inFlight.push(...sender.pump());
  }
  assert.deepEqual(
    got,
    Array.from({ length: offered }, (_, index) => index + 1),
  );
  sender.received(got.length);
  assert.equal(sender.keptBytes, 0);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../schemas/testing/random.ts';
import { encodeFrame } from './frame.ts';
import { type Frame, FrameDecoder } from './frame-decoder.ts';
import { FrameMemory } from './frame-memory.ts';
import { FrameKind } from './gen/wire-layout.ts';
import { encodeListeners } from './listeners.ts';
import { ReducerSession } from './reducer-session.ts';
import { hello } from './testing/hello.ts';

const FRAMES = 200;
const PIECE_BYTES = 10_000;

/** Frames of many sizes, cut into equal pieces. */
function pieces(options: { zstd?: boolean } = {}): { frames: Buffer[]; pieces: Uint8Array[] } {
  const random = new Random(1);
  const frames = Array.from({ length: FRAMES }, (_, index) => {
    // Compresses to about a half, so that compressed frames span pieces too.
    const payload = new Uint8Array(8 * (1 + ((index * 7919) % 5000))).map(() => random.below(16));
    return Buffer.from(encodeFrame({ kind: FrameKind.UpdateNarrow, seq: index + 1, payload, crc: true, ...options }));
  });
  const bytes = Buffer.concat(frames);
  const cut: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) cut.push(new Uint8Array(bytes.subarray(at, at + PIECE_BYTES)));
  return { frames, pieces: cut };
}

function decodeAll(decoder: FrameDecoder, piece: Uint8Array): Frame[] {
  decoder.push(piece);
  const frames: Frame[] = [];
  for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) frames.push(frame);
  return frames;
}

for (const zstd of [false, true]) {
  test(`frames keep their bytes until they are consumed, and their memory is used again, ${zstd ? 'compressed' : 'plain'}`, () => {
    const memory = new FrameMemory();
    const decoder = new FrameDecoder(undefined, memory);
    const session = new ReducerSession({ hello: hello(), creditBytes: 1 << 20, memory });
    const told = pieces({ zstd });
    const plain = pieces().frames;
    const inbox = new Uint8Array(1 << 20);
    const buffers = new Set<ArrayBufferLike>();
    let seen = 0;
    for (const [index, piece] of told.pieces.entries()) {
      for (const frame of decodeAll(decoder, piece)) {
        assert.equal(frame.refusal, undefined);
        if (frame.memory !== undefined) buffers.add(frame.memory.buffer);
        assert.equal(session.receive(frame), undefined);
      }
      if (index % 4 !== 3 && index < told.pieces.length - 1) continue;
      const byteCount = session.copyQueuedInto(inbox);
      for (let at = 0; at < byteCount; seen++) {
        const expected = plain[seen].subarray(16);
        const found = inbox.subarray(at + 16, at + 16 + expected.length);
        assert.ok(expected.equals(found), `frame ${seen + 1} is another one`);
        at += 16 + expected.length;
      }
      session.consume(byteCount);
    }
    assert.equal(seen, FRAMES);
    assert.ok(buffers.size <= 8, `${buffers.size} buffers`);
    assert.equal(buffers.size > 0, !zstd);
  });
}

test('listeners outlive the memory of the frame that told them', () => {
  const memory = new FrameMemory();
  const decoder = new FrameDecoder(undefined, memory);
  const session = new ReducerSession({ hello: hello(), creditBytes: 1 << 20, memory });
  const listeners = Array.from({ length: 1_000 }, (_, index) => ({
    ...{ address: new Uint8Array(16).fill(index), netns: 1, pid: index, port: index + 1, ipVersion: 6 },
    comm: new Uint8Array(16),
  }));
  const payload = encodeListeners(listeners);
  const told = encodeFrame({ kind: FrameKind.Listener, seq: 1, payload });
  const other = encodeFrame({
    kind: FrameKind.UpdateNarrow,
    seq: 2,
    payload: new Uint8Array(payload.length).fill(255),
  });
  for (const frame of [told, other]) {
    for (let at = 0; at < frame.length; at += PIECE_BYTES)
      for (const one of decodeAll(decoder, frame.slice(at, at + PIECE_BYTES)))
        assert.equal(session.receive(one), undefined);
    session.consume(session.copyQueuedInto(new Uint8Array(1 << 20)));
  }
  assert.deepEqual(
    session.takeListeners()?.map(({ address, port }) => [address[0], port]),
    listeners.map(({ address, port }) => [address[0], port]),
  );
});

test('frames that wait outlive the pieces in which they came', () => {
  const memory = new FrameMemory();
  const decoder = new FrameDecoder(undefined, memory);
  const session = new ReducerSession({ hello: hello(), creditBytes: 1 << 20, memory });
  const payload = new Uint8Array(200).fill(7);
  const small = Array.from({ length: 3 }, (_, index) =>
    encodeFrame({ kind: FrameKind.UpdateNarrow, seq: index + 1, payload }),
  );
  // One that fills its piece, and two in one piece.
  for (const piece of [small[0], Buffer.concat(small.slice(1))]) {
    const own = new Uint8Array(piece);
    for (const frame of decodeAll(decoder, own)) assert.equal(session.receive(frame), undefined);
    own.buffer.transfer(0);
  }
  const inbox = new Uint8Array(1 << 20);
  assert.deepEqual(inbox.subarray(0, session.copyQueuedInto(inbox)), new Uint8Array(Buffer.concat(small)));
});

test('a frame that fills its piece is kept in memory that is used again', () => {
  const memory = new FrameMemory();
  const decoder = new FrameDecoder(undefined, memory);
  const session = new ReducerSession({ hello: hello(), creditBytes: 1 << 20, memory });
  const inbox = new Uint8Array(1 << 20);
  const payload = new Uint8Array(40_000).fill(7);
  for (let seq = 1; seq <= 8; seq++) {
    const told = new Uint8Array(encodeFrame({ kind: FrameKind.UpdateNarrow, seq, payload }));
    for (const frame of decodeAll(decoder, told)) assert.equal(session.receive(frame), undefined);
    const expected = Uint8Array.from(told);
    told.buffer.transfer(0);
    assert.deepEqual(inbox.subarray(0, session.copyQueuedInto(inbox)), expected);
    session.consume(expected.length);
  }
  const kept = memory.take(payload.length);
  assert.deepEqual(kept?.subarray(16, 16 + payload.length), payload, 'the memory of the last one');
});

test('memory beyond what is kept is freed at once', () => {
  const memory = new FrameMemory();
  const taken = Array.from({ length: 20 }, () => memory.take(1 << 20)).filter((each) => each !== undefined);
  for (const each of taken) memory.give(each);
  const kept = taken.filter(({ length }) => length !== 0);
  assert.equal(kept.length, 8);
});

test('frames of another size have memory that is used again, also after large ones filled what is kept', () => {
  const memory = new FrameMemory();
  const take = (size: number, count: number) =>
    Array.from({ length: count }, () => memory.take(size)).filter((each) => each !== undefined);
  const large = take(1 << 20, 8);
  for (const each of large) memory.give(each);
  const small = take(1 << 16, 4);
  for (const each of small) memory.give(each);
  assert.deepEqual(new Set(take(1 << 16, 4)), new Set(small));
  assert.equal(large.filter(({ length }) => length === 0).length, 1, 'room for 16 small ones');
});

test('the largest make room first', () => {
  const memory = new FrameMemory();
  const sizes = [1 << 20, 2 << 20, 1 << 20, 4 << 20];
  const kept = sizes.map((size) => memory.take(size)).filter((each) => each !== undefined);
  const small = memory.take(1 << 14);
  assert(small !== undefined);
  for (const each of [...kept, small]) memory.give(each);
  assert.deepEqual(
    kept.map(({ length }) => length),
    [1 << 20, 2 << 20, 1 << 20, 0],
  );
  assert.equal(memory.take(1 << 14), small);
});

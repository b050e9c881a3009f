// Bytes that no honest agent sends, against the reducer's end: nothing is thrown, memory stays within the credit, every frame is accounted for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32, zstdCompressSync } from 'node:zlib';
import type { Instant } from '../lib/clock.ts';
import { seededRandom } from '../lib/random.ts';
import { encodeFrame, frameHeader, viewOf } from './frame.ts';
import { FRAME_HEADER_OFFSET, FRAME_HEADER_SIZE, FrameFlags, FrameKind } from './gen/wire-layout.ts';
import { encodeHello } from './gen/wire-tables.ts';
import { ReducerChannel } from './reducer-channel.ts';
import { ReducerSession } from './reducer-session.ts';
import { hello } from './testing/hello.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const CREDIT_BYTES = 100_000;
const FRAME_COUNT = 20_000;

const HELLO = hello();
const TERMS = {
  incarnation: 9n,
  windowNs: 10n ** 10n,
  latenessNs: 0n,
  openWindow: 1,
  committedClosedWindow: 0,
  heldMs: 0,
  resume: false,
};

function at(ms: number): Instant {
  return { ms, unixNs: BigInt(ms) * 1_000_000n };
}

function openChannel(): { channel: ReducerChannel; session: ReducerSession } {
  const channel = new ReducerChannel(at(0));
  channel.bytes(encodeFrame({ kind: FrameKind.Hello, seq: 0, payload: encodeHello(HELLO) }), at(0));
  const session = new ReducerSession({ hello: HELLO, creditBytes: CREDIT_BYTES });
  channel.welcome({ session, ...TERMS }, at(0));
  return { channel, session };
}

/** A frame in place `seq`, good or bad in one way; only what leaves the header readable. */
function frame(random: () => number, seq: number): Uint8Array {
  const kind = random() < 0.3 ? 1 + Math.floor(random() * 100) : FrameKind.UpdateNarrow;
  const payload = Uint8Array.from({ length: 8 * Math.floor(random() * 40) }, () => random() * 256);
  const bytes = encodeFrame({ kind, seq, payload, crc: random() < 0.5, zstd: random() < 0.3 });
  const body = bytes.subarray(FRAME_HEADER_SIZE);
  if (random() < 0.2 && body.length > 0) body[Math.floor(random() * body.length)] ^= 1 << (random() * 8);
  if (random() < 0.1)
    return resealed(bytes, zstdCompressSync(new Uint8Array(8 * Math.floor(random() * 300_000))), FrameFlags.Zstd);
  if (random() < 0.1) return resealed(bytes, body, frameHeader(bytes).flags | FrameFlags.Crc32);
  return bytes;
}

/** The same frame around another body, with a CRC that is right. */
function resealed(bytes: Uint8Array, body: Uint8Array, flags: number): Uint8Array {
  const out = Buffer.concat([bytes.subarray(0, FRAME_HEADER_SIZE), body]);
  const view = viewOf(out);
  view.setUint32(FRAME_HEADER_OFFSET.length, body.length, true);
  view.setUint16(FRAME_HEADER_OFFSET.flags, flags, true);
  view.setUint32(FRAME_HEADER_OFFSET.crc, (flags & FrameFlags.Crc32) === 0 ? 0 : crc32(body), true);
  return out;
}

test(`of ${FRAME_COUNT} frames, bad ones among them, each is accepted, refused with a reason or a repeat`, () => {
  console.log(`seed ${SEED}`);
  const random = seededRandom(SEED);
  let { channel, session } = openChannel();
  const target = new Uint8Array(1 << 20);
  const counts = { sent: 0, accepted: 0, refused: 0, repeated: 0, connections: 1 };
  const settle = (): void => {
    counts.accepted += session.framesAccepted;
    counts.refused += session.refused.total - session.refused.of('quarantined');
    counts.repeated += session.framesRepeated;
  };
  for (let seq = 1; counts.sent < FRAME_COUNT; ) {
    const bytes = frame(random, random() < 0.05 ? Math.max(0, seq - 1 - Math.floor(random() * 3)) : seq);
    if (frameHeader(bytes).seq === seq) seq++;
    counts.sent++;
    const actions = channel.bytes(bytes, at(counts.sent));
    assert.ok(session.queuedBytes <= CREDIT_BYTES);
    if (random() < 0.5) session.consume(session.copyQueuedInto(target));
    channel.report(at(counts.sent));
    if (!actions.some((action) => action.kind === 'close')) continue;
    settle();
    ({ channel, session } = openChannel());
    counts.connections++;
    seq = 1;
  }
  settle();
  console.log(counts);
  assert.equal(counts.accepted + counts.refused + counts.repeated, counts.sent);
  assert.ok(counts.refused > 1_000 && counts.repeated > 100 && counts.connections > 1, 'all kinds were met');
});

test('random bytes after Hello close the connection, whatever their pieces, and throw nothing', () => {
  const random = seededRandom(SEED);
  for (let round = 0; round < 500; round++) {
    const { channel, session } = openChannel();
    let isClosed = false;
    for (let piece = 0; piece < 200 && !isClosed; piece++) {
      const bytes = Uint8Array.from({ length: 1 + Math.floor(random() * 100) }, () => random() * 256);
      isClosed = channel.bytes(bytes, at(piece)).some((action) => action.kind === 'close');
    }
    assert.ok(isClosed || session.queuedBytes <= CREDIT_BYTES);
    assert.equal(isClosed, true);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { seededRandom } from '../lib/random.ts';
import { encodeFrame, FRAME_BYTES_MAX, frameHeader, viewOf } from './frame.ts';
import { type Frame, FrameDecoder } from './frame-decoder.ts';
import { FRAME_HEADER_OFFSET, FRAME_HEADER_SIZE, FrameFlags, FrameKind } from './gen/wire-layout.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

function drain(decoder: FrameDecoder): Frame[] {
  const frames: Frame[] = [];
  for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) frames.push(frame);
  return frames;
}

function decode(bytes: Uint8Array): { frames: Frame[]; decoder: FrameDecoder } {
  const decoder = new FrameDecoder();
  decoder.push(bytes);
  return { frames: drain(decoder), decoder };
}

function text(repeat: number): Uint8Array {
  return new TextEncoder().encode('one two '.repeat(repeat));
}

/** A frame whose bytes were not made by encodeFrame. */
function forged(header: Partial<ReturnType<typeof frameHeader>>, body: Uint8Array): Uint8Array {
  const bytes = encodeFrame({ kind: FrameKind.Open, seq: 1, payload: new Uint8Array(0) });
  const frame = new Uint8Array(FRAME_HEADER_SIZE + body.length);
  frame.set(bytes);
  frame.set(body, FRAME_HEADER_SIZE);
  viewOf(frame).setUint32(FRAME_HEADER_OFFSET.length, body.length, true);
  for (const field of ['length', 'seq', 'crc'] as const) {
    const value = header[field];
    if (value !== undefined) viewOf(frame).setUint32(FRAME_HEADER_OFFSET[field], value, true);
  }
  for (const field of ['kind', 'flags'] as const) {
    const value = header[field];
    if (value !== undefined) viewOf(frame).setUint16(FRAME_HEADER_OFFSET[field], value, true);
  }
  return frame;
}

test('frames cut at any byte come out as they went in, and pieces of one byte hold no more than one frame', () => {
  console.log(`seed ${SEED}`);
  const random = seededRandom(SEED);
  for (let round = 0; round < 200; round++) {
    const sent = Array.from({ length: 1 + Math.floor(random() * 8) }, (_, index) => ({
      kind: 1 + Math.floor(random() * 90),
      seq: index,
      payload: Uint8Array.from({ length: 8 * Math.floor(random() ** 3 * 400) }, () => Math.floor(random() * 4)),
      crc: random() < 0.5,
      zstd: random() < 0.5,
    }));
    const stream = Buffer.concat(sent.map(encodeFrame));
    const decoder = new FrameDecoder();
    const got: Frame[] = [];
    const pieceMax = random() < 0.3 ? 1 : 1 + Math.floor(random() * 500);
    for (let at = 0; at < stream.length; ) {
      const end = at + 1 + Math.floor(random() * pieceMax);
      decoder.push(stream.subarray(at, end));
      got.push(...drain(decoder));
      assert.ok(decoder.pendingBytes <= FRAME_HEADER_SIZE + 3200);
      at = end;
    }
    assert.equal(decoder.broken, undefined);
    assert.equal(decoder.pendingBytes, 0);
    assert.deepEqual(
      got.map(({ kind, seq, payload }) => ({ kind, seq, payload: Buffer.from(payload) })),
      sent.map(({ kind, seq, payload }) => ({ kind, seq, payload: Buffer.from(payload) })),
    );
    for (const { bytes, payload, kind, seq } of got) {
      assert.deepEqual(Buffer.from(bytes.subarray(FRAME_HEADER_SIZE)), Buffer.from(payload));
      assert.equal(frameHeader(bytes).length, payload.length);
      assert.deepEqual([frameHeader(bytes).kind, frameHeader(bytes).seq], [kind, seq]);
    }
  }
});

test('a frame in one piece is a view of it, not a copy', () => {
  const stream = Buffer.concat([encodeFrame({ kind: FrameKind.Open, seq: 1, payload: text(4) })]);
  const { frames } = decode(stream);
  assert.equal(frames[0].payload.buffer, stream.buffer);
});

const BROKEN_HEADERS = [
  { refusal: 'length', bytes: forged({ length: FRAME_BYTES_MAX - FRAME_HEADER_SIZE + 8 }, text(1)) },
  { refusal: 'length', bytes: forged({ length: 0xffff_fff8 }, text(1)) },
  { refusal: 'alignment', bytes: forged({}, text(1).subarray(1)) },
  { refusal: 'kind', bytes: forged({ kind: 0 }, text(1)) },
  { refusal: 'flags', bytes: forged({ flags: 4 }, text(1)) },
  { refusal: 'flags', bytes: forged({ crc: 1 }, text(1)) },
] as const;

for (const { refusal, bytes } of BROKEN_HEADERS) {
  test(`a broken header (${refusal}, ${frameHeader(bytes).length} bytes) ends the stream and is counted, what came before it stands`, () => {
    const good = encodeFrame({ kind: FrameKind.Close, seq: 1, payload: text(1) });
    const { frames, decoder } = decode(Buffer.concat([good, bytes, good]));
    assert.deepEqual(
      frames.map((frame) => frame.kind),
      [FrameKind.Close],
    );
    assert.equal(decoder.broken, refusal);
    assert.equal(decoder.refused.of(refusal), 1);
    assert.equal(decoder.refused.total, 1);
  });
}

const BAD_PAYLOADS = [
  { refusal: 'crc', name: 'a wrong CRC', bytes: forged({ flags: FrameFlags.Crc32, crc: 7 }, text(1)) },
  { refusal: 'zstd', name: 'no zstd at all', bytes: forged({ flags: FrameFlags.Zstd }, text(1)) },
  {
    refusal: 'zstd',
    name: 'zstd that ends early',
    bytes: forged({ flags: FrameFlags.Zstd }, zstdCompressSync(text(90)).subarray(0, -4)),
  },
  {
    refusal: 'zstd',
    name: 'a length that is not padded',
    bytes: forged({ flags: FrameFlags.Zstd }, zstdCompressSync(text(9).subarray(1))),
  },
  { refusal: 'zstd', name: 'a bomb of 1 GiB', bytes: forged({ flags: FrameFlags.Zstd }, bomb(1 << 30)) },
] as const;

/** Compresses zeros in blocks of RLE: 131 072 bytes in 4 (RFC 8878, section 3.1.1.2). */
function bomb(plainBytes: number): Uint8Array {
  const blocks = plainBytes / 131_072;
  const bytes = new Uint8Array(6 + blocks * 4);
  // Magic; no content size, window of 128 KiB.
  bytes.set([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]);
  for (let index = 0; index < blocks; index++) {
    const header = (131_072 << 3) | (1 << 1) | (index === blocks - 1 ? 1 : 0);
    bytes.set([header & 255, (header >> 8) & 255, (header >> 16) & 255, 0], 6 + index * 4);
  }
  return bytes;
}

for (const { refusal, name, bytes } of BAD_PAYLOADS) {
  test(`a payload with ${name} refuses that frame only`, () => {
    const good = encodeFrame({ kind: FrameKind.Close, seq: 2, payload: text(1) });
    const { frames, decoder } = decode(Buffer.concat([bytes, good]));
    assert.deepEqual(
      frames.map((frame) => [frame.seq, frame.refusal]),
      [
        [1, refusal],
        [2, undefined],
      ],
    );
    assert.equal(frames[0].payload.length + frames[0].bytes.length, 0);
    assert.equal(decoder.broken, undefined);
    assert.equal(decoder.refused.of(refusal), 1);
  });
}

test('the bomb is real: below the limit it decompresses', () => {
  const { frames } = decode(forged({ flags: FrameFlags.Zstd }, bomb(FRAME_BYTES_MAX / 2)));
  assert.equal(frames[0].payload.length, FRAME_BYTES_MAX / 2);
});

test('a zstd header that asks for a window beyond a frame is refused before memory is taken for it', () => {
  const small = bomb(131_072);
  small[5] = 17 << 3; // 2^27 bytes
  const { frames } = decode(forged({ flags: FrameFlags.Zstd }, small));
  assert.equal(frames[0].refusal, 'zstd');
});

test('the largest frame fits, compressed by zstd as well', () => {
  const payload = new Uint8Array(FRAME_BYTES_MAX - FRAME_HEADER_SIZE).fill(3);
  for (const zstd of [false, true]) {
    const { frames } = decode(encodeFrame({ kind: FrameKind.Open, seq: 1, payload, zstd, crc: true }));
    assert.equal(Buffer.compare(frames[0].payload, payload), 0);
  }
  assert.throws(
    () => encodeFrame({ kind: FrameKind.Open, seq: 1, payload: new Uint8Array(FRAME_BYTES_MAX - 8) }),
    /payload of/,
  );
});

test('before the peer is known a small limit holds, raised later', () => {
  const bytes = encodeFrame({ kind: FrameKind.Open, seq: 1, payload: text(100) });
  const decoder = new FrameDecoder(512);
  decoder.push(bytes);
  assert.equal(decoder.next(), undefined);
  assert.equal(decoder.broken, 'length');
  const later = new FrameDecoder(512);
  later.frameBytesMax = FRAME_BYTES_MAX;
  later.push(bytes);
  assert.equal(later.next()?.payload.length, 800);
});

test('compression that does not pay is left out', () => {
  const random = seededRandom(1);
  const payload = Uint8Array.from({ length: 64 }, () => Math.floor(random() * 256));
  const frame = encodeFrame({ kind: FrameKind.Open, seq: 1, payload, zstd: true });
  assert.equal(frameHeader(frame).flags, 0);
  assert.equal(frame.length, FRAME_HEADER_SIZE + 64);
});

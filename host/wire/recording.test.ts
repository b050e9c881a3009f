import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { seededRandom } from '../lib/random.ts';
import type { Payload } from './channel-sender.ts';
import { encodeFrame } from './frame.ts';
import { FrameKind } from './gen/wire-layout.ts';
import { encodeHello } from './gen/wire-tables.ts';
import { RecordingWriter } from './recording.ts';
import { RecordingReader } from './recording-reader.ts';
import { hello } from './testing/hello.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'tributary-recording-'));
after(() => rmSync(FOLDER, { recursive: true }));

const HELLO = hello();

function windowsOf(count: number): Payload[][] {
  const random = seededRandom(7);
  return Array.from({ length: count }, (_, window) =>
    Array.from({ length: 1 + Math.floor(random() * 4) }, () => ({
      kind: FrameKind.UpdateNarrow,
      payload: new Uint8Array(24 + 8 * Math.floor(random() * 5_000)).fill(window),
    })),
  );
}

async function record(path: string, windows: readonly Payload[][]): Promise<void> {
  const writer = new RecordingWriter(path, HELLO);
  assert.equal(writer.canWrite, false);
  await writer.open();
  for (const window of windows) {
    assert.equal(writer.canWrite, true);
    const written = writer.write(window);
    assert.equal(writer.canWrite, false);
    await written;
  }
  await writer.close();
  assert.equal(writer.bytesWritten, statSync(path).size);
}

async function replay(path: string): Promise<{ payloads: Buffer[]; reader: RecordingReader }> {
  const { reader, hello } = await RecordingReader.open(path);
  assert.deepEqual(hello, HELLO);
  const payloads: Buffer[] = [];
  for await (const frames of reader.batches()) payloads.push(...frames.map((frame) => Buffer.from(frame.payload)));
  return { payloads, reader };
}

const WINDOWS = windowsOf(40);
const PAYLOADS = WINDOWS.flat().map(({ payload }) => Buffer.from(payload));

for (const name of ['plain', 'compressed.zst']) {
  test(`what was recorded is replayed: ${name}`, async () => {
    const path = join(FOLDER, name);
    await record(path, WINDOWS);
    const { payloads, reader } = await replay(path);
    assert.deepEqual(payloads, PAYLOADS);
    assert.deepEqual([reader.truncatedBytes, reader.seqGaps, reader.refused.total], [0, 0, 0]);
  });

  test(`a file that ends anywhere gives every whole frame before its end: ${name}`, async () => {
    const path = join(FOLDER, name);
    await record(path, WINDOWS.slice(0, 4));
    const whole = readFileSync(path);
    const cut = join(FOLDER, `cut-${name}`);
    const random = seededRandom(3);
    for (let round = 0; round < 40; round++) {
      const byteCount = 400 + Math.floor(random() * (whole.length - 400));
      writeFileSync(cut, whole.subarray(0, byteCount));
      const { payloads, reader } = await replay(cut);
      assert.ok(payloads.length < WINDOWS.slice(0, 4).flat().length || reader.truncatedBytes === 0);
      assert.deepEqual(payloads, PAYLOADS.slice(0, payloads.length));
      assert.equal(reader.refused.total, 0);
    }
  });
}

test('each window can be read as soon as it is written, compressed or not', async () => {
  for (const name of ['live', 'live.zst']) {
    const writer = new RecordingWriter(join(FOLDER, name), HELLO);
    await writer.open();
    await writer.write(WINDOWS[0]);
    const { payloads } = await replay(join(FOLDER, name));
    assert.deepEqual(payloads, PAYLOADS.slice(0, WINDOWS[0].length));
    await writer.close();
  }
});

test('a .zst recording is a zstd file of the plain one', async () => {
  await record(join(FOLDER, 'a'), WINDOWS);
  await record(join(FOLDER, 'a.zst'), WINDOWS);
  const plain = zstdDecompressSync(readFileSync(join(FOLDER, 'a.zst')));
  assert.equal(Buffer.compare(plain, readFileSync(join(FOLDER, 'a'))), 0);
});

test('a damaged frame is left out and counted, with the rest replayed', async () => {
  const path = join(FOLDER, 'damaged');
  await record(path, WINDOWS.slice(0, 2));
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] ^= 1;
  writeFileSync(path, bytes);
  const { payloads, reader } = await replay(path);
  assert.deepEqual(payloads, PAYLOADS.slice(0, WINDOWS.slice(0, 2).flat().length - 1));
  assert.equal(reader.refused.of('crc'), 1);
});

test('a file that is no recording is refused with advice', async () => {
  const hello = encodeFrame({ kind: FrameKind.Hello, seq: 0, payload: encodeHello({ ...HELLO, protocolVersion: 9 }) });
  const recording = Buffer.concat([Buffer.from('TRIBREC1'), hello]);
  const cases: [string, Uint8Array, string, RegExp][] = [
    ['text', Buffer.from('#!/bin/sh\necho hello'), 'TRB_RECORDING', /not a recording/],
    ['empty', new Uint8Array(0), 'TRB_RECORDING', /not a recording/],
    ['renamed', zstdCompressSync(recording), 'TRB_RECORDING', /ends in \.zst/],
    ['text.zst', Buffer.from('plain text'), 'TRB_RECORDING', /not a zstd file/],
    ['short', recording.subarray(0, 40), 'TRB_RECORDING', /cut off/],
    ['future', recording, 'TRB_RECORDING_VERSION', /version 9/],
  ];
  for (const [name, bytes, code, message] of cases) {
    const path = join(FOLDER, name);
    writeFileSync(path, bytes);
    await assert.rejects(RecordingReader.open(path), { code, message }, name);
  }
  await assert.rejects(RecordingReader.open(join(FOLDER, 'absent')), {
    code: 'TRB_RECORDING',
    message: /does not exist/,
  });
});

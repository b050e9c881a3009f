// A recording is one session in a file: RECORDING_MAGIC, the frame of its Hello, then frames as on the wire, each with its CRC. A name that
// ends in .zst means that the whole file is one zstd stream.
//
// The file grows by whole windows, and nothing is kept in this process between them: a kill loses the window that is being written. Data
// is flushed to the disk (fsync) at `close` only, so a crash of the machine can lose more; a reader tolerates a file that ends anywhere.
import { strict as assert } from 'node:assert';
import { type FileHandle, open } from 'node:fs/promises';
import { constants, createZstdCompress, type ZstdCompress } from 'node:zlib';
import type { Payload } from './channel-sender.ts';
import { encodeFrame, encodeFrameHeader } from './frame.ts';
import { FrameKind } from './gen/wire-layout.ts';
import { encodeHello, type Hello } from './gen/wire-tables.ts';

/** The first 8 bytes; the last digit is the version of the form of the file. */
export const RECORDING_MAGIC = Buffer.from('TRIBREC1');

export class RecordingWriter {
  readonly #path: string;
  readonly #hello: Hello;
  #file: FileHandle | undefined;
  #compressor: ZstdCompress | undefined;
  #compressed: Buffer[] = [];
  #seq = 0;
  #isWriting = false;
  /** Bytes in the file. */
  bytesWritten = 0;

  constructor(path: string, hello: Hello) {
    this.#path = path;
    this.#hello = hello;
  }

  /** A window may be written: the one before it is in the file. While it is false the caller lets its windows coalesce. */
  get canWrite(): boolean {
    return this.#file !== undefined && !this.#isWriting;
  }

  /** Begins the file and replaces what was there. Throws the error of the file system. */
  async open(): Promise<void> {
    this.#file = await open(this.#path, 'w', 0o640);
    if (this.#path.endsWith('.zst')) {
      this.#compressor = createZstdCompress();
      this.#compressor.on('data', (piece: Buffer) => this.#compressed.push(piece));
    }
    const payload = encodeHello(this.#hello);
    await this.#append([RECORDING_MAGIC, encodeFrame({ kind: FrameKind.Hello, seq: 0, payload, crc: true })]);
  }

  /** Appends a whole window, or a snapshot. Rejects when the disk does not take it; the file then ends inside a window. */
  async write(payloads: readonly Payload[]): Promise<void> {
    await this.#append(payloads.flatMap(({ kind, payload }) => [this.#header(kind, payload), payload]));
  }

  /** Ends the file and waits until the disk has it. */
  async close(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return;
    assert(!this.#isWriting, 'a window is being written');
    this.#file = undefined;
    if (this.#compressor !== undefined) {
      const compressor = this.#compressor;
      await new Promise<void>((resolve) => compressor.once('end', resolve).end());
      await this.#put(file, this.#compressed.splice(0));
    }
    await file.sync();
    await file.close();
  }

  async #append(pieces: readonly Uint8Array[]): Promise<void> {
    const file = this.#file;
    assert(file !== undefined && !this.#isWriting, 'open, and one window at a time');
    this.#isWriting = true;
    try {
      await this.#put(file, this.#compressor === undefined ? pieces : await this.#compress(this.#compressor, pieces));
    } finally {
      this.#isWriting = false;
    }
  }

  /** Beside its payload, not with it: a window of many sockets has megabytes. */
  #header(kind: number, payload: Uint8Array): Uint8Array {
    return encodeFrameHeader({ kind, seq: ++this.#seq, body: payload, crc: true });
  }

  /** Everything that the compressor has of `pieces`, so that a reader gets the window even if nothing follows it. */
  async #compress(compressor: ZstdCompress, pieces: readonly Uint8Array[]): Promise<Buffer[]> {
    for (const piece of pieces) compressor.write(piece);
    await new Promise<void>((resolve) => compressor.flush(constants.ZSTD_e_flush, resolve));
    return this.#compressed.splice(0);
  }

  async #put(file: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
    for (let left = pieces; left.length > 0; ) {
      const { bytesWritten } = await file.writev(left);
      left = withoutFirst(left, bytesWritten);
      this.bytesWritten += bytesWritten;
    }
  }
}

/** What is left of `pieces` after so many bytes. */
function withoutFirst(pieces: readonly Uint8Array[], byteCount: number): Uint8Array[] {
  let offset = byteCount;
  let first = 0;
  while (first < pieces.length && offset >= pieces[first].length) offset -= pieces[first++].length;
  const left = pieces.slice(first);
  if (offset > 0) left[0] = left[0].subarray(offset);
  return left;
}

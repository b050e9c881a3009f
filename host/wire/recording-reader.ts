// Frames of a recording, one piece of the file at a time: memory does not grow with the file, nor with what it decompresses to.
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { constants, createZstdDecompress } from 'node:zlib';
import { UsageError } from '../lib/usage-error.ts';
import { PROTOCOL_VERSION } from './control.ts';
import { type Frame, FrameDecoder } from './frame-decoder.ts';
import { FrameKind } from './gen/wire-layout.ts';
import { decodeHello, type Hello } from './gen/wire-tables.ts';
import { RECORDING_MAGIC } from './recording.ts';
import type { RefusalCounters } from './refusal.ts';

const PIECE_BYTES = 1 << 18;
/** zstd's own default for a stream; a file that asks for more memory is refused. */
const ZSTD_WINDOW_LOG_MAX = 27;

export class RecordingReader {
  readonly #path: string;
  readonly #decoder = new FrameDecoder();
  readonly #source: Readable;
  readonly #pieces: AsyncIterator<Buffer>;
  /** Bytes at the end that are no whole frame: the writer was killed, or the copy is short. */
  truncatedBytes = 0;
  /** Frames that skipped their predecessor. */
  seqGaps = 0;
  #lastSeq = 0;

  /** Throws UsageError when the file cannot be opened or is no recording. The Hello is read; the frames after it are not. */
  static async open(path: string): Promise<{ reader: RecordingReader; hello: Hello; helloPayload: Uint8Array }> {
    const reader = new RecordingReader(path);
    try {
      return { reader, ...(await reader.#begin()) };
    } catch (error) {
      reader.close();
      throw error;
    }
  }

  private constructor(path: string) {
    this.#path = path;
    const file = createReadStream(path, { highWaterMark: PIECE_BYTES });
    this.#source = path.endsWith('.zst') ? decompressed(file) : file;
    this.#pieces = this.#source[Symbol.asyncIterator]();
  }

  /** Frames that were refused, by reason. After a broken header nothing more is read. */
  get refused(): RefusalCounters {
    return this.#decoder.refused;
  }

  /** Whole, sound frames with seq from 1, piece by piece of the file, oldest first. */
  async *batches(): AsyncGenerator<Frame[]> {
    for (let frames = this.#take(); ; frames = this.#take()) {
      if (frames.length > 0) yield frames;
      if (this.#decoder.broken !== undefined) break;
      const piece = await this.#next();
      if (piece === undefined) break;
      this.#decoder.push(piece);
    }
    this.truncatedBytes = this.#decoder.broken === undefined ? this.#decoder.pendingBytes : 0;
    this.close();
  }

  close(): void {
    this.#source.destroy();
  }

  async #begin(): Promise<{ hello: Hello; helloPayload: Uint8Array }> {
    let start = Buffer.alloc(0);
    while (start.length < RECORDING_MAGIC.length) {
      const piece = await this.#next();
      if (piece === undefined) break;
      start = Buffer.concat([start, piece]);
    }
    if (!start.subarray(0, RECORDING_MAGIC.length).equals(RECORDING_MAGIC)) throw this.#notARecording(start);
    this.#decoder.push(start.subarray(RECORDING_MAGIC.length));
    const first = await this.#firstFrame();
    const hello = first?.kind === FrameKind.Hello ? decodeHello(first.payload) : undefined;
    if (first === undefined || hello === undefined) {
      throw new UsageError('TRB_RECORDING', `${this.#path} is cut off or damaged before its first window`);
    }
    if (hello.protocolVersion !== PROTOCOL_VERSION) {
      const versions = `version ${hello.protocolVersion} of the protocol, this program knows ${PROTOCOL_VERSION}`;
      throw new UsageError(
        'TRB_RECORDING_VERSION',
        `${this.#path} has ${versions}: replay it with the release that wrote it`,
      );
    }
    return { hello, helloPayload: first.payload };
  }

  async #firstFrame(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.#decoder.next();
      if (frame !== undefined || this.#decoder.broken !== undefined) return frame;
      const piece = await this.#next();
      if (piece === undefined) return undefined;
      this.#decoder.push(piece);
    }
  }

  #take(): Frame[] {
    const frames: Frame[] = [];
    for (let frame = this.#decoder.next(); frame !== undefined; frame = this.#decoder.next()) {
      if (frame.seq !== this.#lastSeq + 1) this.seqGaps++;
      this.#lastSeq = frame.seq;
      if (frame.refusal === undefined) frames.push(frame);
    }
    return frames;
  }

  async #next(): Promise<Buffer | undefined> {
    try {
      const { value, done } = await this.#pieces.next();
      return done ? undefined : value;
    } catch (error) {
      throw this.#readError(error as NodeJS.ErrnoException);
    }
  }

  #readError(error: NodeJS.ErrnoException): Error {
    if (error.code === 'ENOENT') return new UsageError('TRB_RECORDING', `${this.#path} does not exist`);
    if (error.code?.startsWith('ZSTD') || error.code?.startsWith('Z_')) {
      return new UsageError('TRB_RECORDING', `${this.#path} is not a zstd file or is damaged: ${error.message}`);
    }
    return new UsageError('TRB_RECORDING', `${this.#path} cannot be read: ${error.message}`);
  }

  #notARecording(start: Buffer): UsageError {
    const hint = start.length >= 4 && start.readUInt32LE(0) === 0xfd2f_b528;
    const advice = hint
      ? 'it is compressed: give it a name that ends in .zst'
      : 'make one with tributary agent --output file:PATH';
    return new UsageError('TRB_RECORDING', `${this.#path} is not a recording of tributary: ${advice}`);
  }
}

/** A stream that ends early gives what it holds instead of an error. */
function decompressed(file: Readable): Readable {
  const decompressor = createZstdDecompress({
    finishFlush: constants.ZSTD_e_flush,
    params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
  });
  file.once('error', (error) => decompressor.destroy(error));
  return file.pipe(decompressor);
}

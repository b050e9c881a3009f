// A closed window in the store. What its workers wrote is large and mostly zeros, so it is packed.
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompressSync } from 'node:zlib';
import { giveReturned } from '../lib/returned-memory.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';

const compress = promisify(zstdCompress);
/** Of 4 MB the main thread has 300 kB after 6 ms of another thread, and 4 MB again in 10 ms. */
const COMPRESSION = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

export class KeptWindow {
  readonly window: number;
  readonly windowNs: number;
  #plain: readonly Uint8Array[];
  #packed: readonly Uint8Array[] | undefined;

  constructor({ window, windowNs, outputs }: ClosedWindow) {
    this.window = window;
    this.windowNs = windowNs;
    this.#plain = outputs;
  }

  /** What it takes of memory now. */
  get byteLength(): number {
    return (this.#packed ?? this.#plain).reduce((total, { byteLength }) => total + byteLength, 0);
  }

  /** As the workers wrote them; to be read at once. */
  get outputs(): readonly Uint8Array[] {
    return this.#packed?.map((each) => zstdDecompressSync(each)) ?? this.#plain;
  }

  /** Frees the outputs that it was made with. */
  async pack(): Promise<void> {
    const packed = await Promise.all(this.#plain.map((output) => compress(output, COMPRESSION)));
    // Compression leaves room behind the last byte.
    this.#packed = packed.map((each) => new Uint8Array(each));
    for (const output of this.#plain) giveReturned(output);
    this.#plain = [];
  }
}

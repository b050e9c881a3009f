// The agent's file: whole windows in the order in which they were told, one write at a time.
import type { Payload } from '../wire/channel-sender.ts';
import type { Hello } from '../wire/gen/wire-tables.ts';
import { RecordingWriter } from '../wire/recording.ts';

export interface RecorderDependencies {
  /** A window is in the file. */
  written: (window: number) => void;
  /** The file ends here: the disk did not take it. */
  failed: (error: Error) => void;
}

export class Recorder {
  readonly #writer: RecordingWriter;
  readonly #dependencies: RecorderDependencies;
  #queue: Promise<void> = Promise.resolve();
  #waiting = 0;
  #hasFailed = false;

  /** Begins the file. Rejects with the error of the file system. */
  static async open(path: string, hello: Hello, dependencies: RecorderDependencies): Promise<Recorder> {
    const writer = new RecordingWriter(path, hello);
    await writer.open();
    return new Recorder(writer, dependencies);
  }

  private constructor(writer: RecordingWriter, dependencies: RecorderDependencies) {
    this.#writer = writer;
    this.#dependencies = dependencies;
  }

  /** Nothing waits to be written: a window may be told. After a failure nobody waits for the file. */
  get isIdle(): boolean {
    return this.#waiting === 0;
  }

  /** A whole snapshot, or a whole window with its number. */
  write(payloads: readonly Payload[], window = 0): void {
    if (this.#hasFailed) return;
    this.#waiting++;
    this.#queue = this.#queue.then(() => this.#write(payloads, window));
  }

  /** Ends the file when everything is in it. */
  async close(): Promise<void> {
    await this.#queue;
    if (!this.#hasFailed) await this.#writer.close();
  }

  async #write(payloads: readonly Payload[], window: number): Promise<void> {
    try {
      await this.#writer.write(payloads);
      if (window > 0) this.#dependencies.written(window);
    } catch (error) {
      this.#hasFailed = true;
      this.#dependencies.failed(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#waiting--;
    }
  }
}

// Where the log goes while a view has the terminal: the last line is shown in it, and all are written once it has left.
import type { DestinationStream } from 'pino';

const HELD_COUNT_MAX = 1_000;

export class HeldLog implements DestinationStream {
  readonly #write: (text: string) => void;
  readonly #held: string[] = [];
  #dropped = 0;
  #show: ((text: string) => void) | undefined;

  /** `write`: where lines go when nothing holds them. */
  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** `show` is given each line from now on. */
  hold(show: (text: string) => void): void {
    this.#show = show;
  }

  /** Writes what was held; the oldest lines are left out when there were too many. */
  release(): void {
    this.#show = undefined;
    if (this.#dropped > 0) this.#write(`${this.#dropped} lines of the log were left out here\n`);
    this.#dropped = 0;
    for (const line of this.#held.splice(0)) this.#write(line);
  }

  write(line: string): void {
    if (this.#show === undefined) {
      this.#write(line);
      return;
    }
    this.#held.push(line);
    if (this.#held.length > HELD_COUNT_MAX) {
      this.#held.shift();
      this.#dropped++;
    }
    this.#show(line.trimEnd());
  }
}

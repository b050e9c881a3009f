import { randomInt } from 'node:crypto';
import { relative } from 'node:path';

/** In CI a failure has to be of the change and not of the day; runs by hand explore. */
const CI_SEED = 1;
const SEED = Number(process.env.SEED ?? (process.env.CI === 'true' ? CI_SEED : randomInt(2 ** 31)));
let isAnnounced = false;

/** One seed for each test file. When a test of the file fails, the command is printed that repeats it; SEED is what it sets. */
export function chooseSeed(): number {
  if (!isAnnounced) process.once('exit', announceFailure);
  isAnnounced = true;
  return SEED;
}

function announceFailure(code: number): void {
  const file = relative(process.cwd(), process.argv[1] ?? '');
  if (code !== 0) console.log(`SEED=${SEED} npm test -- ${file}`);
}

/** mulberry32; `below(n)` is an integer in [0, n). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  uint32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  below(limit: number): number {
    return this.uint32() % limit;
  }

  chance(probability: number): boolean {
    return this.uint32() < probability * 2 ** 32;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)];
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

import { randomInt } from 'node:crypto';

/** In CI a failure has to be of the change and not of the day; runs by hand explore. */
const CI_SEED = 1;

/** SEED of the environment repeats a failing run. */
export function chooseSeed(): number {
  return Number(process.env.SEED ?? (process.env.CI === 'true' ? CI_SEED : randomInt(2 ** 31)));
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

import { seededRandom } from '../../host/lib/random.ts';

/** The only source of chance in a simulation, so that a failing seed is one number on the command line. */
export class Random {
  /** Uniform in [0, 1). */
  readonly next: () => number;

  constructor(seed: number) {
    this.next = seededRandom(seed);
  }

  /** Integer in [least, most]. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.between(0, items.length - 1)];
  }

  /** A generator of its own, so that one part's use does not move another's. */
  fork(): Random {
    return new Random(this.between(0, 0xffff_ffff));
  }

  u64(): bigint {
    return (BigInt(this.between(0, 0xffff_ffff)) << 32n) | BigInt(this.between(0, 0xffff_ffff));
  }
}

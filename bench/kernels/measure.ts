// One kernel at one size: all sides do the same operations in turn, in another order each round, and must find the same.

import { strict as assert } from 'node:assert';
import { cpuNs } from '../lib/cpu-clock.ts';
import { rotate } from '../lib/statistics.ts';
import type { Side } from './side.ts';

export interface MeasureOptions {
  operations: number;
  rounds: number;
  warmup: number;
}

/** CPU ns for an operation, by side, one value a round; the first side is the product's. */
export function measureSides(
  sides: readonly Side[],
  { operations, rounds, warmup }: MeasureOptions,
): Map<string, number[]> {
  const times = new Map(sides.map(({ name }): [string, number[]] => [name, []]));
  for (let round = 0; round < warmup + rounds; round++) {
    const sums = new Map<string, number>();
    for (const side of rotate(sides, round)) {
      const start = cpuNs();
      const found = side.run(round * operations, operations);
      const ns = (cpuNs() - start) / operations;
      sums.set(side.name, found);
      if (round >= warmup) times.get(side.name)?.push(ns);
    }
    assertSame(sums);
  }
  const left = sides.flatMap(({ name, checksum }): [string, number][] => (checksum ? [[name, checksum()]] : []));
  if (left.length > 0) {
    assert(
      left.every(([, sum]) => sum !== 0),
      'a checksum is 0',
    );
    assertSame(new Map(left));
  }
  return times;
}

function assertSame(sums: Map<string, number>): void {
  assert.equal(new Set(sums.values()).size, 1, `the sides found different things: ${JSON.stringify([...sums])}`);
}

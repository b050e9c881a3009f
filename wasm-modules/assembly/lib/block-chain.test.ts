import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';

interface Exports {
  arenaBytes(): bigint;
  append(bytes: number, value: number): void;
  take(): number;
  bytes(): number;
  firstWalked(): number;
  nextWalked(record: number): number;
  readValue(record: number): number;
  markLast(bytes: number): void;
  readMarked(): number;
  cut(): void;
}

for (const build of ['release', 'debug'] as const) {
  test(`${build}: records of random sizes come as they went, walks pass nothing, and memory is used again`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed}`);
    const random = new Random(seed);
    const module = compileModule('testing/block-chain.ts', build);
    const chain = new WebAssembly.Instance(module).exports as Exports & WebAssembly.Exports;
    let waiting: number[] = [];
    let appended = 0;
    let settledBytes = 0n;
    let value = 0;
    for (let round = 0; round < 200; round++) {
      for (let count = random.below(2_000); count > 0; count--) {
        const bytes = 8 * (1 + random.below(random.chance(0.01) ? 4_000 : 40));
        chain.append(bytes, ++value);
        waiting.push(value);
        appended += bytes;
      }
      assert.equal(chain.bytes(), appended);
      const walked: number[] = [];
      for (let at = chain.firstWalked(); at !== 0; at = chain.nextWalked(at)) walked.push(chain.readValue(at));
      assert.deepEqual(walked, waiting);
      const isAll = random.chance(0.3);
      const taken = isAll ? waiting.length + 1 : random.below(waiting.length + 1);
      assert.deepEqual(
        Array.from({ length: taken }, () => chain.take()),
        isAll ? [...waiting, 0] : waiting.slice(0, taken),
      );
      waiting = waiting.slice(taken);
      if (isAll) appended = 0;
      if (round === 100) settledBytes = chain.arenaBytes();
    }
    assert.ok(chain.arenaBytes() - settledBytes <= 4n << 20n, `${chain.arenaBytes()} bytes after ${settledBytes}`);
  });
}

test('what was appended since a place is read from there and taken back, with its memory, and what was there before stays', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const module = compileModule('testing/block-chain.ts', 'debug');
  const chain = new WebAssembly.Instance(module).exports as Exports & WebAssembly.Exports;
  let kept: number[] = [];
  let value = 0;
  let settledBytes = 0n;
  for (let round = 0; round < 300; round++) {
    const recent = Array.from({ length: 1 + random.below(random.chance(0.5) ? 3 : 3_000) }, () => ++value);
    for (const [index, each] of recent.entries()) {
      const bytes = 8 * (1 + random.below(40));
      chain.append(bytes, each);
      if (index === 0) chain.markLast(bytes);
    }
    const read = random.below(recent.length + 2);
    const found = Array.from({ length: read }, () => chain.readMarked());
    assert.deepEqual(found, [...recent, 0].slice(0, read));
    // What is behind the place now goes, or nothing.
    if (random.chance(0.5) && read <= recent.length) {
      chain.cut();
      kept.push(...recent.slice(0, read));
    } else kept.push(...recent);
    const passed = random.chance(0.3) ? kept.length : random.below(kept.length + 1);
    for (const each of kept.slice(0, passed)) assert.equal(chain.take(), each);
    kept = kept.slice(passed);
    if (kept.length === 0) assert.equal(chain.take(), 0);
    if (round === 150) settledBytes = chain.arenaBytes();
  }
  assert.ok(chain.arenaBytes() - settledBytes <= 16n << 20n, `${chain.arenaBytes()} bytes after ${settledBytes}`);
});

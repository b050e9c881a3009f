import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../schemas/testing/random.ts';
import { histogramChart, histogramLine, sparkline } from './charts.ts';

test('a sparkline stands against its greatest value; gaps are blank, nothing at all is flat', () => {
  assert.equal(sparkline([0, 1, 4, 8, undefined, 8]), '▁▂▅█ █');
  assert.equal(sparkline([0, 0]), '▁▁');
  assert.equal(sparkline([]), '');
});

test('a value that is small but not nothing does not look like nothing', () => {
  assert.equal(sparkline([1, 1_000_000]), '▂█');
});

test('each bucket has its upper bound, a bar and its number of samples', () => {
  // Scale 0: buckets end at powers of two, 2^-10 s = 977 us and 2^-9 s = 1.95 ms.
  assert.deepEqual(histogramChart({ scale: 0, offset: -12, counts: [0, 2, 8, 0] }, 24, 9), [
    ' ≤ 977 us ███ 2',
    '≤ 1.95 ms ████████████ 8',
  ]);
});

test('side by side the buckets lie between their bounds, empty ones blank', () => {
  assert.equal(histogramLine({ scale: 0, offset: -11, counts: [8, 0, 1] }, 40), '488 us █ ▂ 3.91 ms');
});

/** Upper bounds and numbers of samples as they are written. */
function readChart(lines: string[]): { bound: number; count: number }[] {
  const units: Record<string, number> = { us: 1, ms: 1e3, s: 1e6 };
  return lines.map((line) => {
    const [, value, unit, count] = /≤ ([\d.]+) (us|ms|s) \S* ?(-|\d+)$/.exec(line) ?? assert.fail(line);
    return { bound: Number(value) * units[unit], count: count === '-' ? 0 : Number(count) };
  });
}

test('in fewer rows the buckets are coarser, and each sample is under its bound', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 300; round++) {
    const scale = 3;
    const offset = random.below(120) - 140;
    const counts = Array.from({ length: 1 + random.below(60) }, () => (random.chance(0.5) ? random.below(9) : 0));
    counts[random.below(counts.length)] = 1;
    const rows = 2 + random.below(20);
    const lines = histogramChart({ scale, offset, counts }, 60, rows);
    assert.ok(lines.length <= rows);
    for (const line of lines) assert.ok(line.length <= 60, line);
    const chart = readChart(lines);
    // Bounds are written with three digits, so a sample of a bucket is taken in the middle of it.
    const expected = chart.map(() => 0);
    counts.forEach((count, index) => {
      if (count === 0) return;
      const middleUs = 1e6 * 2 ** ((offset + index + 0.5) * 2 ** -scale);
      expected[chart.findIndex(({ bound }) => middleUs <= bound)] += count;
    });
    assert.deepEqual(
      chart.map(({ count }) => count),
      expected,
    );
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HISTOGRAM_RECORD_SIZE, readHistogramRecord } from '../../../host/wire/gen/records-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { bucketOf } from '../../testing/naive-tree.ts';
import { StageWorker } from '../../testing/stage-worker.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const LEAST_INDEX = -160;
const GREATEST_INDEX = 56;

function indexOf(worker: StageWorker, sampleUs: number): number {
  return worker.call('histogramIndex', sampleUs) | 0;
}

function writtenHistogram(worker: StageWorker, histogram: number) {
  const bytes = worker.call('writeHistogram', histogram, worker.scratch);
  const view = new DataView(worker.bytesAt(worker.scratch, bytes).buffer);
  const head = readHistogramRecord(view, 0);
  const counts = Array.from({ length: head.bucketCount }, (_, index) =>
    view.getUint32(HISTOGRAM_RECORD_SIZE + 4 * index, true),
  );
  return { ...head, counts, bytes };
}

test('an exact power of two seconds belongs to the bucket that it ends', () => {
  const worker = new StageWorker(MODULE);
  const cases = [
    { sampleUs: 15_625, index: -49 }, // 2^-6 s
    { sampleUs: 250_000, index: -17 },
    { sampleUs: 500_000, index: -9 },
    { sampleUs: 1_000_000, index: -1 },
    { sampleUs: 1_000_001, index: 0 },
    { sampleUs: 2_000_000, index: 7 },
    { sampleUs: 64_000_000, index: 47 },
    { sampleUs: 128_000_000, index: 55 },
  ];
  for (const { sampleUs, index } of cases) assert.equal(indexOf(worker, sampleUs), index, `${sampleUs} us`);
});

test('every sample lies above the lower and at most at the upper bound of its bucket', () => {
  const worker = new StageWorker(MODULE);
  const base = 2 ** (1 / 8);
  for (let sampleUs = 1; sampleUs < 2_000_000; sampleUs += 1 + (sampleUs >> 9)) {
    const index = indexOf(worker, sampleUs);
    const seconds = sampleUs / 1e6;
    assert.ok(base ** index < seconds * (1 + 1e-12) && seconds <= base ** (index + 1) * (1 + 1e-12), `${sampleUs} us`);
  }
});

test('buckets agree with logarithms for random samples and for the neighbours of every bound', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const worker = new StageWorker(MODULE);
  const samples = Array.from({ length: 100_000 }, () => random.uint32() >>> random.below(32));
  for (let index = LEAST_INDEX; index <= GREATEST_INDEX; index++) {
    const bound = Math.round(2 ** ((index + 1) / 8) * 1e6);
    for (let delta = -2; delta <= 2; delta++) samples.push(Math.max(1, bound + delta));
  }
  for (const sampleUs of samples) assert.equal(indexOf(worker, sampleUs), bucketOf(sampleUs), `${sampleUs} us`);
});

test('samples outside of 1 us to 134 s go to the buckets at the ends', () => {
  const worker = new StageWorker(MODULE);
  assert.equal(indexOf(worker, 1), LEAST_INDEX);
  assert.equal(indexOf(worker, 2 ** 27), GREATEST_INDEX);
  assert.equal(indexOf(worker, 0xffffffff), GREATEST_INDEX);
});

test('a record holds the buckets in use, and a merge adds them by index', () => {
  const worker = new StageWorker(MODULE);
  const [left, right] = [worker.call('takeHistogram'), worker.call('takeHistogram')];
  for (const sampleUs of [1_000_000, 1_000_000, 2_000_000]) worker.call('addSample', left, sampleUs);
  worker.call('addSample', right, 500_000);
  assert.deepEqual(writtenHistogram(worker, left), {
    scale: 3,
    offset: -1,
    bucketCount: 9,
    counts: [2, 0, 0, 0, 0, 0, 0, 0, 1],
    bytes: 56,
  });
  worker.call('mergeHistogram', left, right);
  const merged = writtenHistogram(worker, left);
  assert.equal(merged.offset, -9);
  assert.deepEqual(merged.counts, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
});

test('histograms have the counts of all their samples, however far these lie apart and whichever memory they had before', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const worker = new StageWorker(MODULE);
  for (let round = 0; round < 50; round++) {
    const histograms = Array.from({ length: 20 }, () => ({
      handle: worker.call('takeHistogram'),
      shift: random.below(32),
      counts: new Map<number, number>(),
    }));
    for (let sample = 0; sample < 2_000; sample++) {
      const { handle, shift, counts } = histograms[random.below(histograms.length)];
      const sampleUs = random.uint32() >>> shift;
      worker.call('addSample', handle, sampleUs);
      const index = bucketOf(sampleUs);
      counts.set(index, (counts.get(index) ?? 0) + 1);
    }
    const [into, from] = [histograms[0], histograms[1]];
    worker.call('mergeHistogram', into.handle, from.handle);
    for (const [index, count] of from.counts) into.counts.set(index, (into.counts.get(index) ?? 0) + count);
    for (const { handle, counts } of histograms) {
      const { offset, counts: written } = writtenHistogram(worker, handle);
      const found = new Map(
        written.map((count, place) => [offset + place, count] as const).filter(([, count]) => count > 0),
      );
      assert.deepEqual(found, new Map([...counts].sort(([left], [right]) => left - right)));
      assert.ok(written[0] > 0 && written[written.length - 1] > 0, 'no empty bucket at an end');
      worker.call('giveHistogram', handle);
    }
  }
});

test('beyond the limit a histogram is refused and counted', () => {
  const worker = new StageWorker(MODULE, { histogramCountMax: 2 });
  assert.notEqual(worker.call('takeHistogram'), 0);
  assert.notEqual(worker.call('takeHistogram'), 0);
  assert.equal(worker.call('takeHistogram'), 0);
  assert.equal(worker.counter('HistogramsRefused'), 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { StageWorker } from '../../testing/stage-worker.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');

function intern(worker: StageWorker, text: string, lengthMax = 496): number {
  return worker.call('internText', ...worker.putTexts([text]), lengthMax);
}

function read(worker: StageWorker, text: number): string {
  return worker.textAt(worker.call('textAddress', text), worker.call('textBytes', text));
}

test('equal texts are one text, other texts another, for random texts that come and go', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const worker = new StageWorker(MODULE);
  const live = new Map<string, { handle: number; references: number }>();
  const before = worker.counter('TextsLive');
  for (let step = 0; step < 20_000; step++) {
    const text = 'é'.repeat(random.below(40)) + random.below(300);
    const known = live.get(text);
    if (known !== undefined && random.chance(0.5)) {
      worker.call('releaseText', known.handle);
      if (--known.references === 0) live.delete(text);
      continue;
    }
    const handle = intern(worker, text);
    if (known === undefined) live.set(text, { handle, references: 1 });
    else {
      assert.equal(handle, known.handle);
      known.references++;
    }
  }
  assert.equal(worker.counter('TextsLive') - before, live.size);
  assert.equal(new Set([...live.values()].map(({ handle }) => handle)).size, live.size);
  for (const [text, { handle }] of live) assert.equal(read(worker, handle), text);
});

test('a text is cut between characters and the cut is counted', () => {
  const worker = new StageWorker(MODULE);
  const cases = [
    { text: 'abcdef', lengthMax: 4, kept: 'abcd' },
    { text: 'aéé', lengthMax: 4, kept: 'aé' },
    { text: '€€', lengthMax: 5, kept: '€' },
    { text: 'ab🦦', lengthMax: 5, kept: 'ab' },
    { text: '🦦', lengthMax: 3, kept: '' },
  ];
  for (const { text, lengthMax, kept } of cases) assert.equal(read(worker, intern(worker, text, lengthMax)), kept);
  assert.equal(worker.counter('TextsCut'), cases.length);
});

test('when the blocks are used up a new text is refused, known texts are still found, and a released block serves again', () => {
  const worker = new StageWorker(MODULE, { textBytesMax: 1 << 15 });
  const handles: number[] = [];
  for (let index = 0; handles.at(-1) !== 0; index++) handles.push(intern(worker, `${index} ${'x'.repeat(400)}`));
  assert.equal(worker.counter('TextsRefused'), 1);
  assert.equal(intern(worker, `0 ${'x'.repeat(400)}`), handles[0]);
  worker.call('releaseText', handles[1]);
  assert.equal(intern(worker, `other ${'y'.repeat(400)}`), handles[1]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level, TallySide } from '../../../host/wire/gen/records-layout.ts';
import { TallyKind } from '../../../host/wire/gen/wire-layout.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { STILL, type TallyValues } from '../../testing/naive-tree.ts';
import { StageWorker } from '../../testing/stage-worker.ts';
import { decodeOutput } from '../../testing/window-output.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const OPEN_WINDOW = 100;
const LEVELS = Object.values(Level);
const RETRANSMIT: TallyValues = {
  ...{ kind: TallyKind.Retransmit, side: TallySide.Client, code: 0, label: '', count: 1n, sum: 0n },
};

function edgeOf(worker: StageWorker): number {
  const node = worker.nodeOf({ host: 'a', zone: '' });
  return worker.call('edgeOf', node, node, 80, 6);
}

/** [distinct tallies, sum of their counts] of each level. */
function shown(output: Uint8Array): [number, number][] {
  const points = decodeOutput(output);
  return LEVELS.map((level) => {
    const counts = points.filter((point) => point.level === level).flatMap(({ tallies }) => [...tallies.values()]);
    return [counts.length, Number(counts.reduce((sum, { count }) => sum + count, 0n))];
  });
}

test('half of the tallies may have a label, a further one is counted without it, and only what finds no room at all is lost', () => {
  const worker = new StageWorker(MODULE, { openWindow: OPEN_WINDOW, tallyCountMax: 20 });
  const edge = edgeOf(worker);
  const send = (count: number, tally: (index: number) => Partial<TallyValues>) => {
    for (let index = 0; index < count; index++)
      worker.sendTally(edge, { ...RETRANSMIT, teller: index % 2, ...tally(index) });
  };
  send(13, (index) => ({ label: `name-${index}` }));
  assert.equal(worker.counter('TallyLabelsDropped'), 3);
  send(12, (code) => ({ code, count: 5n }));
  assert.equal(worker.counter('TalliesRefused'), 2);
  send(2, () => ({ label: 'name-0' }));
  const expected = 13 + 10 * 5 + 2;
  assert.deepEqual(
    shown(worker.close(OPEN_WINDOW)),
    LEVELS.map(() => [20, expected]),
  );
  assert.equal(worker.counter('TalliesAdded') + worker.counter('TalliesRefused'), 13 + 12 + 2);
});

test('an agent that names ever new tallies has half of the table, and the others keep their tallies and labels', () => {
  const worker = new StageWorker(MODULE, { openWindow: OPEN_WINDOW, tallyCountMax: 40 });
  const edge = edgeOf(worker);
  const send = (teller: number, count: number, tally: (index: number) => Partial<TallyValues>) => {
    for (let index = 0; index < count; index++) worker.sendTally(edge, { ...RETRANSMIT, teller, ...tally(index) });
  };
  const [hostile, honest] = [7, 8];
  send(hostile, 1000, (index) => ({ label: `noise-${index}`, code: index }));
  assert.deepEqual(
    (['TallyLabelsDropped', 'TalliesRefused', 'TalliesOverShare', 'TalliesAdded'] as const).map((name) =>
      worker.counter(name),
    ),
    // 10 have a label, 10 more are counted without.
    [990, 0, 980, 20],
  );
  send(honest, 10, (index) => ({ label: `name-${index}`, side: TallySide.Server }));
  send(honest, 10, (code) => ({ code, side: TallySide.Server }));
  send(honest, 10, (code) => ({ code, count: 4n }));
  assert.deepEqual([worker.counter('TalliesRefused'), worker.counter('TallyLabelsDropped')], [10, 990]);
  assert.deepEqual(
    shown(worker.close(OPEN_WINDOW)),
    LEVELS.map(() => [40, 40]),
  );
  // What is freed goes back to the share that it was taken from.
  let window = OPEN_WINDOW + 1;
  for (; worker.counter('TalliesLive') > 0; window++) worker.close(window);
  const again = edgeOf(worker);
  worker.sendFlow(again, { ...STILL, fromWindow: window });
  for (let code = 0; code < 20; code++) worker.sendTally(again, { ...RETRANSMIT, teller: hostile, code });
  assert.deepEqual([worker.counter('TalliesRefused'), worker.counter('TalliesOverShare')], [10, 980]);
});

test('a tally that counts on is found again however many its edge has, and one that is idle is freed with its label', () => {
  const worker = new StageWorker(MODULE, { openWindow: OPEN_WINDOW });
  const edge = edgeOf(worker);
  const texts = worker.counter('TextsLive');
  for (let code = 0; code < 50; code++) worker.sendTally(edge, { ...RETRANSMIT, code, label: `name-${code}` });
  let window = OPEN_WINDOW;
  worker.close(window++);
  assert.deepEqual([worker.counter('TalliesLive'), worker.counter('LabelsLive')], [50, 50]);
  for (; window < OPEN_WINDOW + 30; window++) {
    for (const code of [3, 25, 49]) worker.sendTally(edge, { ...RETRANSMIT, code, label: `name-${code}` });
    assert.deepEqual(
      shown(worker.close(window)),
      LEVELS.map(() => [3, 3]),
    );
  }
  assert.equal(worker.counter('TalliesLive'), 3);
  for (; window < OPEN_WINDOW + 250; window++) worker.close(window);
  const live = ['TalliesLive', 'LabelsLive', 'LeavesLive', 'RowsLive'] as const;
  assert.deepEqual(
    live.map((name) => worker.counter(name)),
    [0, 0, 0, 0],
  );
  assert.ok(worker.counter('TextsLive') <= texts);
  const again = edgeOf(worker);
  worker.sendFlow(again, { ...STILL, fromWindow: window });
  worker.sendTally(again, { ...RETRANSMIT, label: 'name-3' });
  assert.deepEqual(
    shown(worker.close(window)),
    LEVELS.map(() => [1, 1]),
  );
});

test('a tally alone shows its edge, with no other number', () => {
  const worker = new StageWorker(MODULE, { openWindow: OPEN_WINDOW });
  worker.sendTally(edgeOf(worker), RETRANSMIT);
  for (const { fields } of decodeOutput(worker.close(OPEN_WINDOW)))
    assert.deepEqual(
      [...fields].filter(([, value]) => value !== 0n),
      [['fromWindow', BigInt(OPEN_WINDOW)]],
    );
});

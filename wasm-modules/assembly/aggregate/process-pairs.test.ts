import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level } from '../../../host/wire/gen/records-layout.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { STILL } from '../../testing/naive-tree.ts';
import { StageWorker } from '../../testing/stage-worker.ts';
import { decodeOutput } from '../../testing/window-output.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const OPEN_WINDOW = 100;
/** EDGE_IDLE_WINDOWS, and an announcement before. */
const IDLE_WINDOWS = 60;
const PAIRS_OF_LEAF_MAX = 256;

class Unit {
  readonly worker = new StageWorker(MODULE, { openWindow: OPEN_WINDOW });
  window = OPEN_WINDOW;

  /** What one flow from a process of the unit to a container does in the open window. */
  flow(executable: string, activeDelta: number, server = 'php'): void {
    const at = { host: 'a', zone: '' };
    const client = this.worker.nodeOf({ ...at, unit: 'web.service', executable: `/usr/bin/${executable}` });
    const container = this.worker.nodeOf({ ...at, container: 'c0ffee', executable: server });
    const edge = this.worker.call('edgeOf', client, container, 443, 6);
    if (activeDelta > 0) this.worker.call('retainEdge', edge);
    this.worker.sendFlow(edge, { ...STILL, fromWindow: this.window, connections: 1, activeDelta });
    if (activeDelta < 0) this.worker.call('releaseEdge', edge);
  }

  /** The names of the one leaf, and those of rows above, which have none. */
  close(): string | undefined {
    const points = decodeOutput(this.worker.close(this.window++));
    const leaves = points.filter(({ level }) => level === Level.IdId);
    assert.ok(leaves.length <= 1, 'one edge, whichever process');
    for (const { level, processes } of points) if (level !== Level.IdId) assert.equal(processes, undefined);
    return leaves[0]?.processes;
  }
}

test('an edge names the processes that moved or have open flows, at either end', () => {
  const unit = new Unit();
  unit.flow('nginx', 1);
  unit.flow('logger', 0, 'redis');
  assert.equal(unit.close(), '(logger nginx -> php redis)');
  assert.equal(unit.close(), '(nginx -> php)');
  unit.flow('nginx', -1);
  assert.equal(unit.close(), '(nginx -> php)');
  assert.equal(unit.close(), undefined);
});

test('of many names the least are told, and how many more there are; beyond the limit they are refused', () => {
  const unit = new Unit();
  const names = Array.from({ length: PAIRS_OF_LEAF_MAX + 10 }, (_, index) => `p${1000 + index}`);
  for (const name of names.slice(0, 40).reverse()) unit.flow(name, 0);
  assert.equal(unit.close(), `(${names.slice(0, 16).join(' ')} +24 -> php)`);
  for (const name of names) unit.flow(name, 0);
  assert.equal(unit.close(), `(${names.slice(0, 16).join(' ')} +${PAIRS_OF_LEAF_MAX - 16} -> php)`);
  assert.equal(unit.worker.counter('ProcessPairsRefused'), 10);
});

test('names that nobody uses are forgotten while their edge goes on', () => {
  const unit = new Unit();
  unit.flow('nginx', 1);
  unit.close();
  for (let count = 0; count < PAIRS_OF_LEAF_MAX; count++) unit.flow(`job-${count}`, 0);
  unit.close();
  assert.ok(unit.worker.counter('ProcessPairsRefused') > 0, 'one has no room beside nginx');
  for (let count = 0; count <= 2 * IDLE_WINDOWS + 60; count++) unit.close();
  const before = unit.worker.counter('ProcessPairsRefused');
  for (let count = 1; count < PAIRS_OF_LEAF_MAX; count++) unit.flow(`job-${count}`, 0);
  assert.match(unit.close() ?? '', /\+240 -> php\)$/);
  assert.equal(unit.worker.counter('ProcessPairsRefused'), before);
});

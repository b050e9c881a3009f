import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileModule } from '../../testing/compile-module.ts';
import { readNodeTexts, StageWorker } from '../../testing/stage-worker.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const ANNOUNCE_WINDOWS = 30;

function openPair(): [StageWorker, StageWorker] {
  const open = (worker: number) => new StageWorker(MODULE, { worker, workers: 2, seed: worker, openWindow: 0 });
  return [open(0), open(1)];
}

function send(from: StageWorker, to: StageWorker, node: number): number {
  const bytes = from.call('writeNode', node, from.scratch);
  to.receive(from.worker, from.bytesAt(from.scratch, bytes));
  return to.call('nodeOfChannel', from.worker, node);
}

test('a node keeps all its texts on the way to another worker, where it is one with a node that was known there', () => {
  const [left, right] = openPair();
  const pod = { podUid: 'u-1', podQos: 'guaranteed', podNamespace: 'shop', podName: 'cart-0' };
  const container = { container: 'c0ffee', containerName: 'cärt', image: 'registry/cart:v1', ...pod };
  const owner = { host: 'höst', zone: 'z', executable: '/usr/bin/naïve', ...container };
  const known = right.nodeOf(owner);
  right.nodeOf({ host: 'else', zone: 'z' });
  const sent = left.nodeOf(owner);
  const received = send(left, right, sent);
  assert.equal(received, known);
  assert.deepEqual({ ...right.readNode(received), handle: 0 }, { ...left.readNode(sent), handle: 0 });
});

test('a record is padded to 8 bytes and ends with zeros', () => {
  const [left] = openPair();
  const node = left.nodeOf({ host: 'h', zone: '', unit: 'abc' });
  const bytes = left.call('writeNode', node, left.scratch);
  const record = left.bytesAt(left.scratch, bytes);
  const { end } = readNodeTexts(new DataView(record.buffer), 8);
  assert.equal(bytes % 8, 0);
  assert.equal(end, bytes);
  assert.equal(record.at(-1), 0);
});

test('a node is announced once per worker and epoch, never to the own worker', () => {
  const [left] = openPair();
  const node = left.nodeOf({ host: 'h', zone: '' });
  assert.equal(left.call('claimAnnounce', node, 0), 0);
  assert.equal(left.call('claimAnnounce', node, 1), 1);
  assert.equal(left.call('claimAnnounce', node, 1), 0);
  assert.equal(left.call('claimAnnounce', node, 63), 1);
  for (let window = 0; window < ANNOUNCE_WINDOWS; window++) left.close(window);
  assert.equal(left.call('claimAnnounce', node, 1), 1);
  assert.equal(left.call('claimAnnounce', node, 1), 0);
});

test('a handle that was never announced, or whose node is gone, is 0 and counted', () => {
  const [left, right] = openPair();
  assert.equal(right.call('nodeOfChannel', 0, 77), 0);
  assert.equal(right.call('nodeOfChannel', 0, 0xffffffff), 0);
  const node = left.nodeOf({ host: 'h', zone: '' });
  assert.notEqual(send(left, right, node), 0);
  for (let window = 0; window < 200; window++) right.close(window);
  assert.equal(right.call('nodeOfChannel', 0, node), 0);
  assert.equal(right.counter('ChannelNodesUnknown'), 3);
});

test('a handle that is given to another node means that node after its record', () => {
  const [left, right] = openPair();
  const first = left.nodeOf({ host: 'first', zone: '' });
  send(left, right, first);
  for (let window = 0; window < 200; window++) left.close(window);
  const second = left.nodeOf({ host: 'second', zone: '' });
  assert.equal(second, first, 'the freed handle is used again');
  assert.equal(right.readNode(send(left, right, second)).id, 'second');
});

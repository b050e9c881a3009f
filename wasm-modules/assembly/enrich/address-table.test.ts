import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeKind } from '../../../host/wire/gen/records-layout.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressHalves, StageWorker } from '../../testing/stage-worker.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const SPACE = 7n;

function v4(...bytes: number[]): Uint8Array {
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes]);
}

function change(
  worker: StageWorker,
  call: 'bindHostAddress' | 'unbindHostAddress',
  address: Uint8Array,
  host: number,
): void {
  worker.call(call, ...addressHalves(address), SPACE, host);
}

/** The session that claimed it is gone; the next one of its agent claims it. */
function replace(worker: StageWorker, address: Uint8Array, host: number): void {
  worker.call('unbindHostAddress', ...addressHalves(address), SPACE, host, 1);
}

function hostNode(worker: StageWorker, host: string): number {
  return worker.nodeOf({ host, zone: '' });
}

test('an address of a known host is the host, in its address space only', () => {
  const worker = new StageWorker(MODULE);
  const host = hostNode(worker, 'a');
  const address = v4(10, 0, 0, 1);
  assert.equal(worker.readNode(worker.nodeOfAddress(address, SPACE)).kind, NodeKind.PrivateAddress);
  change(worker, 'bindHostAddress', address, host);
  assert.equal(worker.nodeOfAddress(address, SPACE), host);
  assert.equal(worker.readNode(worker.nodeOfAddress(address, SPACE + 1n)).id, '10.0.0.1');
});

test('an address of nobody is named after itself', () => {
  const worker = new StageWorker(MODULE);
  const address = worker.readNode(worker.nodeOfAddress(v4(93, 184, 216, 34)));
  assert.equal(address.kind, NodeKind.PublicAddress);
  assert.equal(address.id, '93.184.216.34');
  assert.equal(address.role, '(internet)');
  assert.equal(address.address, '93.184.216.34');
  assert.equal(worker.readNode(worker.nodeOfAddress(v4(10, 1, 2, 3))).role, '(private)');
  assert.equal(worker.readNode(worker.nodeOfAddress(v4(0, 0, 0, 0))).kind, NodeKind.Unknown);
  assert.equal(worker.nodeOfAddress(v4(93, 184, 216, 34)), worker.nodeOfAddress(v4(93, 184, 216, 34)));
});

test('a binding that ends still names the window in which it ends', () => {
  const worker = new StageWorker(MODULE);
  const host = hostNode(worker, 'a');
  const address = v4(10, 0, 0, 1);
  change(worker, 'bindHostAddress', address, host);
  change(worker, 'unbindHostAddress', address, host);
  assert.equal(worker.nodeOfAddress(address, SPACE), host);
  worker.call('endHostAddresses');
  assert.equal(worker.readNode(worker.nodeOfAddress(address, SPACE)).kind, NodeKind.PrivateAddress);
  assert.equal(worker.counter('AddressClaimsLive'), 0);
});

test('a binding that ends and comes back in one window stays, in either order', () => {
  const worker = new StageWorker(MODULE);
  const host = hostNode(worker, 'a');
  const address = v4(10, 0, 0, 1);
  change(worker, 'bindHostAddress', address, host);
  for (const calls of [
    ['bindHostAddress', 'unbindHostAddress'],
    ['unbindHostAddress', 'bindHostAddress'],
  ] as const) {
    for (const call of calls) change(worker, call, address, host);
    worker.call('endHostAddresses');
    assert.equal(worker.nodeOfAddress(address, SPACE), host);
  }
});

test('an address that two hosts claim names neither until one of them gives it up', () => {
  const worker = new StageWorker(MODULE);
  const hosts = [hostNode(worker, 'a'), hostNode(worker, 'b')];
  const bridge = v4(172, 17, 0, 1);
  for (const host of hosts) change(worker, 'bindHostAddress', bridge, host);
  assert.equal(worker.readNode(worker.nodeOfAddress(bridge, SPACE)).id, '172.17.0.1');
  assert.equal(worker.counter('AddressesAmbiguous'), 1);
  change(worker, 'unbindHostAddress', bridge, hosts[0]);
  worker.call('endHostAddresses');
  assert.equal(worker.nodeOfAddress(bridge, SPACE), hosts[1]);
});

test('two sessions of one host keep an address until both gave it up', () => {
  const worker = new StageWorker(MODULE);
  const host = hostNode(worker, 'a');
  const address = v4(10, 0, 0, 1);
  for (let session = 0; session < 2; session++) change(worker, 'bindHostAddress', address, host);
  for (const expected of [NodeKind.Host, NodeKind.PrivateAddress]) {
    change(worker, 'unbindHostAddress', address, host);
    worker.call('endHostAddresses');
    assert.equal(worker.readNode(worker.nodeOfAddress(address, SPACE)).kind, expected);
  }
});

test('claims beyond the limit are refused and counted, and their addresses named like those of strangers', () => {
  const worker = new StageWorker(MODULE, { claimCountMax: 2 });
  const host = hostNode(worker, 'a');
  for (let last = 1; last <= 3; last++) change(worker, 'bindHostAddress', v4(10, 0, 0, last), host);
  assert.equal(worker.nodeOfAddress(v4(10, 0, 0, 2), SPACE), host);
  assert.equal(worker.readNode(worker.nodeOfAddress(v4(10, 0, 0, 3), SPACE)).kind, NodeKind.PrivateAddress);
  assert.equal(worker.counter('AddressClaimsRefused'), 1);
});

test('a claim of the unbound address ends without effect', () => {
  const worker = new StageWorker(MODULE);
  change(worker, 'unbindHostAddress', v4(10, 0, 0, 1), hostNode(worker, 'a'));
  worker.call('endHostAddresses');
  assert.equal(worker.counter('AddressClaimsLive'), 0);
});

for (const order of [
  'the next session claims first',
  'the session before ends first',
  'the next session claims a window later',
]) {
  test(`an address stays with a host whose agent begins anew, and goes with the last session: ${order}`, () => {
    const worker = new StageWorker(MODULE);
    const host = hostNode(worker, 'a');
    const address = v4(10, 0, 0, 1);
    change(worker, 'bindHostAddress', address, host);
    if (order.startsWith('the next session claims first')) change(worker, 'bindHostAddress', address, host);
    replace(worker, address, host);
    if (order.endsWith('a window later')) worker.call('endHostAddresses');
    if (!order.endsWith('claims first')) change(worker, 'bindHostAddress', address, host);
    worker.call('endHostAddresses');
    assert.equal(worker.nodeOfAddress(address, SPACE), host);
    change(worker, 'unbindHostAddress', address, host);
    worker.call('endHostAddresses');
    assert.equal(worker.readNode(worker.nodeOfAddress(address, SPACE)).kind, NodeKind.PrivateAddress);
  });
}

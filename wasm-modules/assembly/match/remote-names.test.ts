// The far end of a connection by the name that its client asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RefusalReason } from '../../../host/wire/gen/records-layout.ts';
import { FrameKind } from '../../../host/wire/gen/wire-layout.ts';
import {
  announceFrame,
  ipv4,
  once,
  onceFrame,
  openFrame,
  SPACE,
  snapshotMark,
  totals,
  wideFrame,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressOf, clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const SHOP = 1;
const BANK = 2;
const LABELS = announceFrame({
  labels: [
    { handle: SHOP, text: 'shop.example' },
    { handle: BANK, text: 'bank.example' },
  ],
});
const named = (label: number, address = addressOf(2)) =>
  announceFrame({ namedAddresses: [{ address, addressSpace: SPACE, label }] });
const sent = (handle: number, bytesSent: bigint) => wideFrame([{ handle, totals: totals({ bytesSent }) }]);
const short = (joinKey: bigint, values = {}) =>
  onceFrame([once({ open: clientEnd({ joinKey, cookie: joinKey, ...values }), totals: totals({ bytesSent: 1n }) })]);

for (const workers of [1, 3]) {
  test(`a connection has the name that its remote address had when it opened (${workers} workers)`, () => {
    const hosts = new TwoHosts(MODULE, undefined, { workers });
    const client = hosts.agent(1, 'curl');
    hosts.say(client, LABELS, named(SHOP), openFrame([clientEnd({ handle: 1, joinKey: 9n })]), sent(1, 10n));
    const first = hosts.close()['host-1/curl > shop.example :80'];
    assert.deepEqual([first.forwardBytes, first.active], [10, 1]);
    hosts.say(client, named(BANK), short(10n), sent(1, 15n));
    const second = hosts.close();
    assert.equal(second['host-1/curl > bank.example :80'].connections, 1);
    assert.deepEqual(
      [second['host-1/curl > shop.example :80'].forwardBytes, second['host-1/curl > shop.example :80'].active],
      [5, 1],
    );
    hosts.say(client, named(0), short(11n));
    assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].connections, 1);
  });
}

test('the sessions of two hosts each have their own name for an address', () => {
  const hosts = new TwoHosts(MODULE);
  const [one, other] = [hosts.agent(1, 'curl'), hosts.agent(3, 'wget')];
  const fromOther = (joinKey: bigint) => short(joinKey, { localAddress: addressOf(3) });
  hosts.say(one, LABELS, named(SHOP), short(1n));
  hosts.say(other, fromOther(2n));
  assert.deepEqual(Object.keys(hosts.close()).sort(), ['host-1/curl > shop.example :80', 'host-3/wget > 10.0.0.2 :80']);
  hosts.say(other, LABELS, named(BANK), fromOther(3n));
  hosts.say(one, short(4n));
  assert.deepEqual(Object.keys(hosts.close()).sort(), [
    'host-1/curl > shop.example :80',
    'host-3/wget > bank.example :80',
  ]);
});

test('who looks at the far end, or has its address, knows better than a name', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  hosts.say(client, LABELS, named(SHOP), openFrame([clientEnd({ handle: 1, joinKey: 9n })]), sent(1, 10n));
  assert.equal(hosts.close()['host-1/curl > shop.example :80'].active, 1);
  hosts.say(server, announceFrame({ hostAddresses: [{ address: addressOf(2), addressSpace: SPACE }] }));
  hosts.say(client, sent(1, 15n));
  assert.equal(hosts.close()['host-1/curl > host-2 :80'].active, 1);
  hosts.say(server, openFrame([serverEnd({ handle: 1, joinKey: 9n })]));
  assert.equal(hosts.close()['host-1/curl > host-2/nginx :80'].active, 1);
});

test('a snapshot forgets the names, and those that it tells name what it opens', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  const end = clientEnd({ handle: 1, joinKey: 9n });
  const other = clientEnd({ handle: 2, joinKey: 10n, cookie: 2n, remoteAddress: ipv4(10, 9, 9, 9) });
  hosts.say(client, LABELS, named(SHOP), named(BANK, ipv4(10, 9, 9, 9)), openFrame([end, other]));
  assert.deepEqual(Object.keys(hosts.close()).sort(), [
    'host-1/curl > bank.example :80',
    'host-1/curl > shop.example :80',
  ]);
  hosts.say(
    client,
    snapshotMark(FrameKind.SnapshotBegin, hosts.window),
    announceFrame({
      addressSpaces: [{ handle: SPACE, name: 'default' }],
      labels: [{ handle: 5, text: 'shop.example' }],
    }),
    named(5),
    openFrame([
      { ...end, process: 0 },
      { ...other, process: 0 },
    ]),
    snapshotMark(FrameKind.SnapshotEnd, hosts.window),
    sent(1, 10n),
    sent(2, 20n),
  );
  const edges = Object.entries(hosts.close()).filter(([, { active }]) => active === 1);
  assert.deepEqual(edges.map(([name]) => name).sort(), ['host-1 > 10.9.9.9 :80', 'host-1 > shop.example :80']);
});

test('a name without its label or its address space is a broken frame', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  hosts.say(client, LABELS, named(77));
  assert.equal(hosts.fleet.refusals(RefusalReason.UnknownLabel), 1);
  hosts.say(client, announceFrame({ namedAddresses: [{ address: addressOf(2), addressSpace: 4000, label: SHOP }] }));
  assert.equal(hosts.fleet.refusals(RefusalReason.UnknownAddressSpace), 1);
});

test('one session names 65 536 addresses and no more, and all rows are given back', () => {
  const hosts = new TwoHosts(MODULE);
  const liar = hosts.agent(1, 'evil');
  const name = (from: number, count: number, label: number) =>
    announceFrame({
      namedAddresses: Array.from({ length: count }, (_, index) => {
        const at = from + index;
        return { address: ipv4(11, at >> 16, (at >> 8) & 255, at & 255), addressSpace: SPACE, label };
      }),
    });
  hosts.say(liar, LABELS);
  for (let round = 0; round < 5; round++) {
    for (let from = 0; from < 65_536; from += 4096) hosts.say(liar, name(from, 4096, SHOP));
    assert.equal(hosts.fleet.refusals(RefusalReason.NamedAddressQuota), 100 * round);
    hosts.say(liar, name(65_536, 100, BANK));
    assert.equal(hosts.fleet.refusals(RefusalReason.NamedAddressQuota), 100 * (round + 1));
    for (let from = 0; from < 65_536; from += 4096) hosts.say(liar, name(from, 4096, 0));
  }
});

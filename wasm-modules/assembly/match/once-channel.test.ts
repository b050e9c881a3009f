// Short connections that another worker than that of their agent matches.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReducerCounter } from '../../../host/wire/gen/records-layout.ts';
import type { Open } from '../../../host/wire/gen/wire-layout.ts';
import { announceFrame, ipv4, once, onceFrame, SPACE, totals } from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressOf, clientEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const CONNECTIONS = 64;
const ipv6 = (last: number) =>
  Buffer.from(`20010db80000000000000000000000${last.toString(16).padStart(2, '0')}`, 'hex');

/** As many as that each worker matches some. */
function shorts(first: number, values: (index: number) => Partial<Open>): Uint8Array {
  return onceFrame(
    Array.from({ length: CONNECTIONS }, (_, index) => {
      const key = BigInt(first + index);
      const open = clientEnd({ joinKey: key, cookie: key, ...values(index) });
      return once({ open, totals: totals({ bytesSent: key }) });
    }),
  );
}

for (const workers of [2, 4]) {
  test(`far ends are shown by their addresses, IPv4 and IPv6, whichever of ${workers} workers matches them`, () => {
    const remote = (index: number) => ({
      remoteAddress: index % 2 === 0 ? ipv4(192, 0, 2, index) : ipv6(index),
    });
    const shown = [1, workers].map((count) => {
      const hosts = new TwoHosts(MODULE, undefined, { workers: count });
      hosts.say(hosts.agent(1, 'curl'), shorts(1, remote));
      return hosts.close();
    });
    assert.deepEqual(shown[1], shown[0]);
    assert.equal(Object.keys(shown[1]).length, CONNECTIONS);
    assert.equal(shown[1]['host-1/curl > 192.0.2.4 :80'].forwardBytes, 5);
    assert.equal(shown[1]['host-1/curl > 2001:db8::1f :80'].forwardBytes, 32);
  });
}

test('a viewpoint that takes the place of one that is over is another one to the other workers', () => {
  // Windows of five minutes: what one end told is kept for two of them.
  const hosts = new TwoHosts(MODULE, 300_000_000_000, { workers: 2 });
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const other = 2;
  hosts.say(client, announceFrame({ addressSpaces: [{ handle: other, name: 'other' }] }));
  hosts.say(server, announceFrame({ hostAddresses: [{ address: addressOf(2), addressSpace: SPACE }] }));
  hosts.close();
  hosts.say(
    client,
    shorts(1, () => ({})),
  );
  assert.deepEqual(Object.keys(hosts.close()), ['host-1/curl > host-2 :80']);
  for (let window = 0; window < 4; window++) assert.deepEqual(hosts.close(), {});
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 0);
  hosts.say(
    client,
    shorts(1000, () => ({ addressSpace: other })),
  );
  assert.deepEqual(Object.keys(hosts.close()), ['host-1/curl > 10.0.0.2 :80']);
  assert.equal(hosts.fleet.counter(ReducerCounter.ChannelNodesUnknown), 0);
});

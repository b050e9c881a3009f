import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Role } from '../../../host/wire/gen/kernel-events-layout.ts';
import { ReducerCounter } from '../../../host/wire/gen/records-layout.ts';
import {
  fold,
  foldFrame,
  once,
  onceFrame,
  openFrame,
  settled,
  settledFrame,
  totals,
  wideFrame,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressOf, clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
/** Ten windows of linger. */
const MINUTE_NS = 60_000_000_000;
const EDGE = 'host-1/curl > host-2/nginx :80';
const sent = (bytesSent: bigint) => totals({ bytesSent });

test('the late report of the other end is booked once for ten minutes of windows, and forgotten afterwards', () => {
  for (const [windows, bytes, connections] of [
    [9, 1, undefined],
    [10, 101, 1],
  ] as const) {
    const hosts = new TwoHosts(MODULE, MINUTE_NS);
    const minutes = { windowNs: BigInt(MINUTE_NS) };
    const [client, server] = [hosts.agent(1, 'curl', minutes), hosts.agent(2, 'nginx', minutes)];
    hosts.say(client, onceFrame([once({ open: clientEnd({ joinKey: 5n }), totals: sent(100n) })]));
    for (let window = 0; window <= windows; window++) hosts.close();
    hosts.say(server, onceFrame([once({ open: serverEnd({ joinKey: 5n }), totals: totals({ bytesReceived: 101n }) })]));
    const edges = hosts.close();
    const edge = edges[windows < 10 ? EDGE : '10.0.0.1 > host-2/nginx :80'];
    assert.deepEqual([edge.forwardBytes, edge.connections], [bytes, connections], `after ${windows} windows`);
  }
});

test('a connection whose ends have closed is kept until the commit, so that it may be told again', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const told = onceFrame([once({ open: clientEnd({ joinKey: 5n }), totals: sent(100n) })]);
  hosts.say(client, told);
  hosts.say(server, onceFrame([once({ open: serverEnd({ joinKey: 5n }), totals: totals({ bytesReceived: 100n }) })]));
  assert.equal(hosts.close()[EDGE].connections, 1);
  hosts.say(client, told);
  assert.deepEqual(hosts.close(), {});
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 1);
  hosts.fleet.call(0, 'match_committed', hosts.window - 1);
  hosts.close();
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 0);
});

test('what an agent settled with an earlier reducer is not booked or counted when the other end reports late', () => {
  for (const isLate of [true, false]) {
    const hosts = new TwoHosts(MODULE);
    const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
    hosts.say(client, settledFrame([settled({ joinKey: 5n, counted: 1, window: 1, totals: sent(100n) })]));
    if (isLate) assert.deepEqual(hosts.close(), {});
    hosts.say(server, onceFrame([once({ open: serverEnd({ joinKey: 5n }), totals: totals({ bytesReceived: 104n }) })]));
    assert.deepEqual(hosts.close(), { '10.0.0.1 > host-2/nginx :80': { forwardBytes: 4, flowsBoth: 1 } });
  }
});

test('beyond the limit the oldest window of a shard is forgotten as a whole, and counted', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  const tell = (first: number, count: number) => {
    for (let at = 0; at < count; at += 1000) {
      const items = Array.from({ length: 1000 }, (_, index) => {
        const joinKey = (BigInt(first + at + index) * 0x9e3779b97f4a7c15n) % 2n ** 64n;
        return once({ open: clientEnd({ joinKey, cookie: joinKey }), totals: sent(1n) });
      });
      hosts.say(client, onceFrame(items));
    }
  };
  tell(1, 150_000);
  assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].connections, 150_000);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsEvicted), 0);
  tell(1_000_000, 150_000);
  assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].connections, 150_000);
  const evicted = hosts.fleet.counter(ReducerCounter.FlowsEvicted);
  assert(evicted > 100_000 && evicted <= 150_000, `${evicted} evicted`);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 300_000 - evicted);
});

test('a fold books its bytes, connections, failures and resets', () => {
  const hosts = new TwoHosts(MODULE);
  const server = hosts.agent(2, 'nginx');
  const names = { localAddress: addressOf(2), remoteAddress: addressOf(1), role: Role.Server };
  const sums = { sockets: 30, connections: 20, resetsSent: 2, totals: totals({ bytesSent: 9n, bytesReceived: 4n }) };
  hosts.say(server, foldFrame([fold({ ...names, ...sums })]));
  assert.deepEqual(hosts.close(), {
    '10.0.0.1 > host-2/nginx :80': {
      forwardBytes: 4,
      reverseBytes: 9,
      connections: 20,
      closed: 30,
      resetsServer: 2,
      flowsServer: 1,
    },
  });
});

test('what a late agent tells is marked late from the first window that it covers', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl', { firstWindow: 2000 });
  const late = (bytes: bigint) => wideFrame([{ handle: 1, totals: sent(bytes) }]);
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 5n })]), late(10n));
  hosts.end(client, hosts.window - 9, hosts.window - 5);
  hosts.say(client, late(30n));
  hosts.end(client, hosts.window - 4, hosts.window - 3);
  hosts.close();
  hosts.say(client, late(35n));
  hosts.end(client, hosts.window, hosts.window);
  assert.deepEqual(hosts.close()['host-1/curl > 10.0.0.2 :80'], { forwardBytes: 5, active: 1, flowsClient: 1 });
  assert.deepEqual(hosts.fromWindows, [hosts.window - 11, hosts.window - 1]);
});

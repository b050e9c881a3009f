// Short connections that another worker than that of their agent matches.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason } from '../../../host/wire/gen/kernel-events-layout.ts';
import { ReducerCounter } from '../../../host/wire/gen/records-layout.ts';
import type { Open } from '../../../host/wire/gen/wire-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { announceFrame, ipv4, once, onceFrame, SPACE, totals } from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressOf, clientEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
/** As many as that each worker matches some. */
const CONNECTIONS = 64;
const ipv6 = (last: number) =>
  Buffer.from(`20010db80000000000000000000000${last.toString(16).padStart(2, '0')}`, 'hex');

function shorts(first: number, values: (index: number) => Partial<Open>, count = CONNECTIONS): Uint8Array {
  return onceFrame(
    Array.from({ length: count }, (_, index) => {
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

/** The records that ingest has told match, and those that match has been told. */
const records = ({ fleet }: TwoHosts) =>
  [ReducerCounter.RecordsToMatch, ReducerCounter.RecordsMatched].map((counter) => fleet.counter(counter));

test('what fills the way to another worker many times over arrives once, cut anywhere', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const hosts = new TwoHosts(MODULE, undefined, { workers: 2, random });
  const client = hosts.agent(1, 'curl');
  const frames = 12;
  const each = 5_000;
  for (let frame = 0; frame < frames; frame++) {
    const values = (index: number) => ({
      localAddress: addressOf(1 + (index % 5)),
      remoteAddress: index % 7 === 0 ? ipv6(9) : ipv4(192, 0, 2, 9),
    });
    hosts.say(client, shorts(1 + frame * each, values, each));
  }
  const edges = hosts.close();
  const [narrow, wide] = [edges['host-1/curl > 192.0.2.9 :80'], edges['host-1/curl > 2001:db8::9 :80']];
  const count = frames * each;
  assert.equal(wide.connections, frames * Math.ceil(each / 7));
  assert.equal(narrow.connections + wide.connections, count);
  assert.equal(narrow.forwardBytes + wide.forwardBytes, (count * (count + 1)) / 2);
  const [told, matched] = records(hosts);
  assert.ok(told >= count);
  assert.equal(matched, told);
});

test('what an agent told for another worker is booked when the agent is gone before the end of the window', () => {
  const hosts = new TwoHosts(MODULE, undefined, { workers: 2 });
  const client = hosts.agent(1, 'curl');
  hosts.say(
    client,
    shorts(1, () => ({})),
  );
  hosts.detach(client, CloseReason.AgentLost);
  assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].connections, CONNECTIONS);
});

test('viewpoints and far addresses of connections that are over take no memory for long', () => {
  // Windows of five minutes: what one end told is kept for two of them.
  const hosts = new TwoHosts(MODULE, 300_000_000_000, { workers: 2 });
  const client = hosts.agent(1, 'curl');
  const each = 3_000;
  const tell = (window: number) => {
    const values = (index: number) => ({
      localAddress: Buffer.from([...ipv6(1).subarray(0, 12), 0, window, index >> 8, index & 255]),
      remoteAddress: ipv6(index & 255),
    });
    hosts.say(client, shorts(1 + window * each, values, each));
    hosts.close();
  };
  for (let window = 0; window < 20; window++) tell(window);
  const bytes = () => [0, 1].map((worker) => hosts.fleet.memoryBytes(worker));
  const before = bytes();
  for (let window = 20; window < 140; window++) tell(window);
  assert.deepEqual(bytes(), before);
});

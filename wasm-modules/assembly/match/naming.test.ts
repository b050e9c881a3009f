import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason } from '../../../host/wire/gen/kernel-events-layout.ts';
import { ReducerCounter, RefusalReason } from '../../../host/wire/gen/records-layout.ts';
import {
  announceFrame,
  close,
  closeFrame,
  ipv4,
  once,
  onceFrame,
  openFrame,
  process,
  SPACE,
  totals,
  wideFrame,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressOf, clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const own = (host: number) => announceFrame({ hostAddresses: [{ address: addressOf(host), addressSpace: SPACE }] });
const sent = (handle: number, bytesSent: bigint) => wideFrame([{ handle, totals: totals({ bytesSent }) }]);

test('when the other end comes, or its host is announced, the flow and its active 1 move to the new edge', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 9n })]), sent(1, 10n));
  assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].active, 1);
  hosts.say(server, own(2));
  hosts.say(client, sent(1, 15n));
  assert.deepEqual(hosts.close(), {
    'host-1/curl > 10.0.0.2 :80': {},
    'host-1/curl > host-2 :80': { forwardBytes: 5, active: 1, flowsClient: 1 },
  });
  hosts.say(server, openFrame([serverEnd({ handle: 1, joinKey: 9n })]));
  assert.deepEqual(hosts.close(), {
    'host-1/curl > host-2 :80': {},
    'host-1/curl > host-2/nginx :80': { active: 1, flowsServer: 1 },
  });
});

test('a flow whose other end comes in the window in which both agents leave is seen on its new edge', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  hosts.say(server, openFrame([serverEnd({ handle: 1, joinKey: 9n })]), sent(1, 10n));
  assert.equal(hosts.close()['10.0.0.1 > host-2/nginx :80'].active, 1);
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 9n })]));
  hosts.detach(client, CloseReason.AgentLost);
  hosts.detach(server, CloseReason.AgentLost);
  assert.deepEqual(hosts.close(), {
    '10.0.0.1 > host-2/nginx :80': {},
    'host-1/curl > host-2/nginx :80': { flowsClient: 1 },
  });
});

test('a socket that is told again with a better owner moves', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  const end = clientEnd({ handle: 1, joinKey: 9n, process: 0 });
  hosts.say(client, openFrame([end]), sent(1, 10n));
  assert.equal(hosts.close()['host-1 > 10.0.0.2 :80'].active, 1);
  hosts.say(
    client,
    announceFrame({ processes: [process(2, { unit: 'worker' })] }),
    openFrame([{ ...end, process: 2 }]),
  );
  assert.deepEqual(hosts.close(), { 'host-1 > 10.0.0.2 :80': {}, 'host-1/worker > 10.0.0.2 :80': { active: 1 } });
});

test('a socket with the address of another host is refused, one of the host itself is not', () => {
  const hosts = new TwoHosts(MODULE);
  const [victim, liar] = [hosts.agent(1, 'curl'), hosts.agent(3, 'evil')];
  hosts.say(victim, own(1));
  hosts.close();
  // What is told of the next window may be read before the close, and is not judged by it.
  hosts.say(liar, onceFrame([once({ open: clientEnd({ joinKey: 3n }) })]));
  assert.deepEqual(Object.keys(hosts.close()), ['host-3/evil > 10.0.0.2 :80']);
  hosts.say(
    liar,
    onceFrame([once({ open: clientEnd({ joinKey: 4n }) })]),
    openFrame([clientEnd({ handle: 1, joinKey: 5n })]),
    sent(1, 99n),
  );
  hosts.say(victim, onceFrame([once({ open: clientEnd({ joinKey: 6n }), totals: totals({ bytesSent: 7n }) })]));
  const edges = hosts.close();
  assert.deepEqual(Object.keys(edges), ['host-1/curl > 10.0.0.2 :80']);
  assert.equal(edges['host-1/curl > 10.0.0.2 :80'].forwardBytes, 7);
  assert.equal(hosts.fleet.refusals(RefusalReason.ForeignAddress), 2);
});

test('whose address a socket has is judged alike, whether it is told before the window before it has closed or after', () => {
  for (const isAhead of [true, false]) {
    const hosts = new TwoHosts(MODULE);
    const [victim, liar] = [hosts.agent(1, 'curl'), hosts.agent(3, 'evil')];
    hosts.say(victim, own(1));
    for (const [window, refused] of [0, 1, 2].entries()) {
      const tell = () => hosts.say(liar, onceFrame([once({ open: clientEnd({ joinKey: BigInt(4 + window) }) })]));
      hosts.end(liar);
      if (isAhead) tell();
      hosts.close();
      if (!isAhead) tell();
      hosts.close();
      assert.equal(hosts.fleet.refusals(RefusalReason.ForeignAddress), refused, `${isAhead ? 'ahead' : 'after'}`);
    }
  }
});

test('the addresses of a host that nobody looks at any more name nobody after that window', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  hosts.say(server, own(2));
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 9n })]), sent(1, 10n));
  assert.equal(hosts.close()['host-1/curl > host-2 :80'].active, 1);
  hosts.detach(server, CloseReason.AgentLost);
  hosts.say(client, sent(1, 11n));
  assert.equal(hosts.close()['host-1/curl > host-2 :80'].active, 1);
  hosts.say(client, sent(1, 12n));
  assert.deepEqual(hosts.close(), {
    'host-1/curl > host-2 :80': {},
    'host-1/curl > 10.0.0.2 :80': { forwardBytes: 1, active: 1, flowsClient: 1 },
  });
});

test('an agent that restarts keeps the claim of its addresses, and when it leaves for good nobody is refused for them', () => {
  const hosts = new TwoHosts(MODULE);
  const [before, other] = [hosts.agent(1, 'curl'), hosts.agent(3, 'moved')];
  hosts.say(before, own(1));
  hosts.close();
  const after = hosts.agent(1, 'curl', { session: 70n });
  hosts.say(after, own(1));
  hosts.detach(before, CloseReason.AgentRestart);
  hosts.close();
  hosts.close();
  const tell = () => hosts.say(other, onceFrame([once({ open: clientEnd({ joinKey: 4n }) })]));
  tell();
  assert.equal(hosts.fleet.refusals(RefusalReason.ForeignAddress), 1);
  hosts.detach(after, CloseReason.AgentLost);
  hosts.close();
  hosts.close();
  tell();
  assert.equal(hosts.fleet.refusals(RefusalReason.ForeignAddress), 1);
});

test('an idle connection keeps its edge, so that its close takes its 1 back however late', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 9n })]));
  for (let window = 0; window < 200; window++) {
    // Other edges come and go, so that an edge that was given up meanwhile would be somebody else's.
    const passing = [8, 9].map((net) => {
      const remoteAddress = ipv4(10, net, 0, window);
      return once({ open: clientEnd({ joinKey: BigInt(1000 * net + window), cookie: 5n, remoteAddress }) });
    });
    hosts.say(client, onceFrame(passing));
    assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].active, 1, `window ${window}`);
  }
  hosts.say(client, closeFrame([close(1, totals())]));
  assert.deepEqual(hosts.close(), { 'host-1/curl > 10.0.0.2 :80': { closed: 1, flowsClient: 1 } });
  assert.deepEqual(hosts.close(), {});
  assert.equal(hosts.fleet.counter(ReducerCounter.ActiveUnderflows), 0);
});

test('remote addresses are kept apart, whether they are IPv4 or not, and are those of the sockets that have them', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  // :: names nobody; it, and what is IPv4 but for one bit of the prefix, are no IPv4 addresses.
  const remotes = ['20010db8000000000000000000000001', '20010db8000000000000000000000002', `${'0'.repeat(32)}`];
  remotes.push('00000000000000000000fffe0a000009', '00000000000000000000ffff0a000009');
  const names = ['2001:db8::1', '2001:db8::2', '(unknown)', '::fffe:a00:9', '10.0.0.9'].map(
    (name) => `host-1/curl > ${name} :80`,
  );
  const ends = remotes.map((remote, index) => ({
    ...clientEnd({ handle: index + 1, joinKey: BigInt(index + 1) }),
    ...{ remoteAddress: Buffer.from(remote, 'hex'), cookie: BigInt(index + 1) },
  }));
  hosts.say(client, openFrame(ends));
  assert.deepEqual(Object.keys(hosts.close()).sort(), names.sort());
  // Rows that are given back are those of others next.
  hosts.say(client, closeFrame(ends.slice(0, 2).map(({ handle }) => close(handle, totals()))));
  for (let window = 0; window < 8; window++) hosts.close();
  hosts.say(
    client,
    openFrame([
      { ...ends[0], joinKey: 99n, cookie: 99n, remoteAddress: Buffer.from('20010db8000000000000000000000003', 'hex') },
    ]),
  );
  assert.equal(hosts.close()['host-1/curl > 2001:db8::3 :80'].active, 1);
});

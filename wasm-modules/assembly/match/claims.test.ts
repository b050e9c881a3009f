import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason, Role, RoleSource } from '../../../host/wire/gen/kernel-events-layout.ts';
import { ReducerCounter, RefusalReason } from '../../../host/wire/gen/records-layout.ts';
import {
  close,
  closeFrame,
  ipv4,
  once,
  onceFrame,
  openFrame,
  settledFrame,
  totals,
  wideFrame,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const KEY = 1234n;
const sent = (bytesSent: bigint) => totals({ bytesSent });

test('a third end of a connection is refused, and what it tells is not booked', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server, rival] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx'), hosts.agent(3, 'evil')];
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: KEY })]), wideFrame([{ handle: 1, totals: sent(10n) }]));
  hosts.say(server, openFrame([serverEnd({ handle: 1, joinKey: KEY })]));
  hosts.close();
  hosts.say(
    rival,
    openFrame([clientEnd({ handle: 1, joinKey: KEY, cookie: 9n })]),
    wideFrame([{ handle: 1, totals: sent(5000n) }]),
  );
  assert.deepEqual(hosts.close(), { 'host-1/curl > host-2/nginx :80': { active: 1 } });
  assert.equal(hosts.fleet.refusals(RefusalReason.Ambiguous), 1);
});

test('a copy of what one end said is refused as the other end, and a translated end is not', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, copy, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'evil'), hosts.agent(3, 'nginx')];
  const end = clientEnd({ handle: 1, joinKey: KEY });
  hosts.say(client, openFrame([end]), wideFrame([{ handle: 1, totals: sent(10n) }]));
  hosts.close();
  const translated = { localAddress: ipv4(192, 168, 0, 2), remoteAddress: ipv4(192, 168, 0, 1), remotePort: 999 };
  const copies = [
    { ...end, role: Role.Server, cookie: 8n },
    { ...end, role: Role.Server, cookie: 9n, localAddress: ipv4(172, 16, 0, 1) },
    { ...end, role: Role.Server, cookie: 10n, remotePort: 81 },
  ];
  hosts.say(copy, openFrame(copies.map((open, index) => ({ ...open, handle: index + 1 }))));
  assert.deepEqual(hosts.close(), { 'host-1/curl > 10.0.0.2 :80': { active: 1 } });
  assert.equal(hosts.fleet.refusals(RefusalReason.Ambiguous), 3);
  hosts.say(server, openFrame([serverEnd({ handle: 1, joinKey: KEY, ...translated })]));
  assert.equal(hosts.close()['host-1/curl > host-3/nginx :80'].active, 1);
});

test('of two that claim the other side in one window, whoever mirrors the end that is there gets it, in any order', () => {
  for (const order of [
    [2, 3],
    [3, 2],
  ]) {
    // Whichever identity is the less, one of the two arrangements contradicts it.
    for (const honest of [2, 3]) {
      const hosts = new TwoHosts(MODULE);
      const client = hosts.agent(1, 'curl');
      hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: KEY })]));
      hosts.close();
      const agents = new Map([2, 3].map((host) => [host, hosts.agent(host, host === honest ? 'nginx' : 'evil')]));
      for (const host of order) {
        const elsewhere = host === honest ? {} : { localAddress: ipv4(172, 16, 0, 1) };
        hosts.say(
          agents.get(host)!,
          openFrame([serverEnd({ handle: 1, joinKey: KEY, cookie: BigInt(host), ...elsewhere })]),
        );
      }
      const edges = hosts.close();
      assert.equal(edges[`host-1/curl > host-${honest}/nginx :80`].active, 1);
      assert(!Object.keys(edges).some((edge) => edge.includes('evil')));
      assert.equal(hosts.fleet.refusals(RefusalReason.Ambiguous), 1);
    }
  }
});

test('the side of an end that is gone is kept for its socket: who claims it meanwhile is refused, the next life of its agent is not', () => {
  const hosts = new TwoHosts(MODULE);
  const before = hosts.agent(1, 'curl');
  const end = clientEnd({ handle: 1, joinKey: KEY, cookie: 7n });
  hosts.say(before, openFrame([end]), wideFrame([{ handle: 1, totals: sent(100n) }]));
  hosts.close();
  hosts.detach(before, CloseReason.AgentLost);
  hosts.close();
  const [after, rival] = [hosts.agent(1, 'curl', { session: 60n }), hosts.agent(3, 'evil')];
  hosts.say(rival, openFrame([{ ...end, cookie: 1n }]), wideFrame([{ handle: 1, totals: sent(5000n) }]));
  hosts.say(after, openFrame([{ ...end, flags: 1 }]), wideFrame([{ handle: 1, totals: sent(130n) }]));
  const edges = hosts.close();
  assert.deepEqual(Object.keys(edges), ['host-1/curl > 10.0.0.2 :80']);
  assert.equal(edges['host-1/curl > 10.0.0.2 :80'].forwardBytes, 30);
});

test('a stranger does not take the side of a socket that was told closed and committed', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, rival] = [hosts.agent(1, 'curl'), hosts.agent(3, 'evil')];
  const settled = { joinKey: KEY, pair: 0n, role: Role.Client, counted: 1, window: 1, totals: sent(100n) };
  hosts.say(client, settledFrame([settled]));
  hosts.close();
  hosts.say(rival, openFrame([clientEnd({ handle: 1, joinKey: KEY })]), wideFrame([{ handle: 1, totals: sent(500n) }]));
  assert.deepEqual(hosts.close(), {});
  assert.equal(hosts.fleet.refusals(RefusalReason.Ambiguous), 1);
});

test('a second agent that reports the same socket is refused until the first has left', () => {
  const hosts = new TwoHosts(MODULE);
  const whole = hosts.agent(1, 'curl');
  const scoped = hosts.agent(1, 'curl', { session: 50n, scope: 'netns:1' });
  const end = clientEnd({ handle: 1, joinKey: KEY, cookie: 7n });
  hosts.say(whole, openFrame([end]), wideFrame([{ handle: 1, totals: sent(10n) }]));
  hosts.close();
  hosts.say(scoped, openFrame([end]), wideFrame([{ handle: 1, totals: sent(30n) }]));
  hosts.close();
  assert.equal(hosts.fleet.refusals(RefusalReason.DuplicateObserver), 1);
  hosts.detach(whole, CloseReason.AgentLost);
  assert.deepEqual(hosts.close(), { 'host-1/curl > 10.0.0.2 :80': {} }, 'nobody looks: active returns to 0');
  hosts.say(
    scoped,
    closeFrame([close(1, sent(30n))]),
    openFrame([{ ...end, handle: 2 }]),
    wideFrame([{ handle: 2, totals: sent(40n) }]),
  );
  const edge = hosts.close()['host-1/curl > 10.0.0.2 :80'];
  assert.deepEqual([edge.forwardBytes, edge.active, edge.connections], [30, 1, undefined]);
});

test('an agent that restarts finds its socket again: no byte twice, no connection twice', () => {
  const hosts = new TwoHosts(MODULE);
  const before = hosts.agent(1, 'curl');
  const end = clientEnd({ handle: 1, joinKey: KEY, cookie: 7n });
  hosts.say(before, openFrame([end]), wideFrame([{ handle: 1, totals: sent(100n) }]));
  assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].forwardBytes, 100);
  const after = hosts.agent(1, 'curl', { session: 60n });
  hosts.say(after, openFrame([{ ...end, handle: 5, flags: 1 }]), wideFrame([{ handle: 5, totals: sent(130n) }]));
  hosts.detach(before, CloseReason.AgentRestart);
  const edge = hosts.close()['host-1/curl > 10.0.0.2 :80'];
  assert.deepEqual([edge.forwardBytes, edge.connections, edge.active, edge.closed], [30, undefined, 1, undefined]);
});

test('a connect that failed is counted once by its reason, also when it is told again', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'curl');
  const failure = once({ open: clientEnd({ cookie: 3n }), reason: CloseReason.ConnectTimedOut });
  hosts.say(agent, onceFrame([failure]));
  assert.deepEqual(hosts.close(), { 'host-1/curl > 10.0.0.2 :80': { timedOut: 1, flowsClient: 1 } });
  hosts.say(agent, onceFrame([failure]));
  assert.deepEqual(hosts.close(), {});
  assert.equal(hosts.fleet.counter(ReducerCounter.ClaimsRefused), 0);
});

test('successive connections of one tuple are kept apart, in whatever order the ends tell them', () => {
  const steps = [
    ['client', 10n, 1n],
    ['client', 200n, 2n],
    ['server', 11n, 3n],
    ['server', 201n, 4n],
  ] as const;
  const orders = [
    [0, 1, 2, 3],
    [0, 2, 1, 3],
    [2, 0, 3, 1],
    [2, 3, 0, 1],
  ];
  const results = orders.map((order) => {
    const hosts = new TwoHosts(MODULE);
    const agents = { client: hosts.agent(1, 'curl'), server: hosts.agent(2, 'nginx') };
    for (const index of order) {
      const [side, bytes, cookie] = steps[index];
      const end = side === 'client' ? clientEnd({ cookie }) : serverEnd({ cookie });
      const told = side === 'client' ? totals({ bytesSent: bytes }) : totals({ bytesReceived: bytes });
      hosts.say(agents[side], onceFrame([once({ open: end, totals: told })]));
    }
    return hosts.close();
  });
  for (const result of results) assert.deepEqual(result, results[0]);
  const edge = results[0]['host-1/curl > host-2/nginx :80'];
  assert.deepEqual([edge.forwardBytes, edge.connections, edge.residualBytes], [212, 2, 2]);
});

test('without evidence the port below the ephemeral range is the server, and better evidence wins', () => {
  const hosts = new TwoHosts(MODULE);
  const [one, two] = [hosts.agent(1, 'a'), hosts.agent(2, 'b')];
  const unknown = { role: Role.Unknown, roleSource: RoleSource.None };
  hosts.say(
    one,
    onceFrame([once({ open: clientEnd({ ...unknown, localPort: 53, remotePort: 40000 }), totals: sent(5n) })]),
  );
  hosts.say(
    two,
    onceFrame([
      once({ open: serverEnd({ ...unknown, cookie: 8n, localPort: 50000, remotePort: 50001 }), totals: sent(6n) }),
    ]),
  );
  const edges = hosts.close();
  assert.deepEqual(Object.keys(edges).sort(), ['10.0.0.1 > host-2/b :0', '10.0.0.2 > host-1/a :53']);
  hosts.say(
    one,
    onceFrame([
      once({
        open: clientEnd({ joinKey: 5n, role: Role.Client, roleSource: RoleSource.Port, localPort: 81 }),
        totals: sent(5n),
      }),
    ]),
  );
  hosts.say(two, onceFrame([once({ open: serverEnd({ joinKey: 5n, localPort: 443 }), totals: sent(7n) })]));
  const edge = hosts.close()['host-1/a > host-2/b :443'];
  assert.deepEqual([edge.forwardBytes, edge.reverseBytes], [5, 7]);
  const guess = { role: Role.Client, roleSource: RoleSource.Port, localPort: 90, remotePort: 91 };
  const known = { role: Role.Client, roleSource: RoleSource.Kernel, localPort: 91, remotePort: 90, cookie: 20n };
  hosts.say(one, onceFrame([once({ open: clientEnd({ ...guess, cookie: 19n }), totals: sent(8n) })]));
  hosts.say(two, onceFrame([once({ open: serverEnd(known), totals: sent(9n) })]));
  const corrected = hosts.close()['host-2/b > host-1/a :90'];
  assert.deepEqual([corrected.forwardBytes, corrected.reverseBytes], [9, 8]);
  assert.equal(hosts.fleet.counter(ReducerCounter.RolesCorrected), 1);
});

test('of two ends that both say they are the client, whoever has the better evidence is, at each step of the order', () => {
  const order = [RoleSource.Kernel, RoleSource.Listener, RoleSource.FirstDatagram, RoleSource.Port, RoleSource.None];
  for (const [index, better] of order.entries()) {
    for (const worse of order.slice(index + 1)) {
      for (const isSecond of [false, true]) {
        const hosts = new TwoHosts(MODULE);
        const [one, two] = [hosts.agent(1, 'a'), hosts.agent(2, 'b')];
        const [first, second] = isSecond ? [worse, better] : [better, worse];
        const says = { role: Role.Client };
        const ports = { localPort: 70, remotePort: 71 };
        hosts.say(one, onceFrame([once({ open: clientEnd({ ...says, ...ports, roleSource: first }) })]));
        const mirrored = { localPort: 71, remotePort: 70 };
        hosts.say(two, onceFrame([once({ open: serverEnd({ ...says, ...mirrored, roleSource: second }) })]));
        const [edge] = Object.keys(hosts.close());
        assert.equal(edge, isSecond ? 'host-2/b > host-1/a :70' : 'host-1/a > host-2/b :71', `${better} over ${worse}`);
      }
    }
  }
});

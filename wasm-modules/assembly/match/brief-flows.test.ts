import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason, ConnectionPhase, Role, RoleSource } from '../../../host/wire/gen/kernel-events-layout.ts';
import { Level, ReducerCounter, RefusalReason } from '../../../host/wire/gen/records-layout.ts';
import { type Once, OpenFlags } from '../../../host/wire/gen/wire-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import {
  close,
  closeFrame,
  once,
  onceFrame,
  openFrame,
  settled,
  settledFrame,
  totals,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { shardOfJoinKey } from '../../testing/flow-shard.ts';
import { addressOf, clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const EDGE = 'host-1/curl > host-2/nginx :80';
const KEY = 5n;
/** Of KEPT_ONCE_COUNT_MAX, two of each flow, 256 shards have the same part. */
const SHARD_BRIEFS_MAX = 8192;

const { Closed, ResetSent, ResetReceived } = CloseReason;
const REASONS = [Closed, ResetSent, ResetReceived];

const ipv6 = (host: number) => Uint8Array.from([0xfd, ...Array.from({ length: 14 }, () => 0), host]);

const FLAGS = [0, 0, 0, OpenFlags.Existing, OpenFlags.Counted];
/** What fits 32 bits waits for the close, what does not is told at once. */
const SCALES = [1n, 1n, 1n, 1n << 30n, 1n << 31n];

function randomOnce(random: Random, open: Once['open']): Once {
  const reason = REASONS[random.below(REASONS.length)];
  const scale = SCALES[random.below(SCALES.length)];
  return once({
    open: { ...open, startTimeNs: 1n + BigInt(random.below(1e9)), flags: FLAGS[random.below(FLAGS.length)] },
    totals: totals({
      bytesSent: BigInt(random.below(3)) * scale,
      bytesReceived: BigInt(random.below(3)) * scale,
      segmentsSent: BigInt(random.below(3)),
      segmentsReceived: BigInt(random.below(3)),
      retransmits: BigInt(random.below(2)),
      srttUs: random.below(100),
      minRttUs: random.below(100),
    }),
    reason,
    phase: reason === Closed ? 0 : ConnectionPhase.Transfer,
    endTimeNs: 2_000_000_000n,
    handshakeUs: random.below(100),
  });
}

/** Of a connection between two hosts, of which both, one or none says which role it has. */
function randomEnds(random: Random, joinKey: bigint): [Once, Once] {
  const isWide = random.chance(0.3);
  const addresses = isWide ? [ipv6(1), ipv6(2)] : [addressOf(1), addressOf(2)];
  const ipVersion = isWide ? 6 : 4;
  const role = () => (random.chance(0.2) ? { role: Role.Unknown, roleSource: RoleSource.None } : {});
  const client = { joinKey, cookie: joinKey, localAddress: addresses[0], remoteAddress: addresses[1], ipVersion };
  const server = { joinKey, cookie: joinKey, localAddress: addresses[1], remoteAddress: addresses[0], ipVersion };
  return [
    randomOnce(random, clientEnd({ ...client, ...role() })),
    randomOnce(random, serverEnd({ ...server, ...role() })),
  ];
}

/** Tells and closes one window with the two ends; the third claim of a rival makes it a flow like any other, and changes nothing else. */
function tellConnections(ends: [Once, Once][], { hasRival }: { hasRival: boolean }) {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const rivals = hasRival
    ? ends.map(([{ open }]) => once({ open: { ...open, cookie: open.cookie + (1n << 40n) }, totals: totals() }))
    : [];
  hosts.say(client, onceFrame([...rivals, ...ends.map(([end]) => end)]));
  hosts.say(server, onceFrame(ends.map(([, end]) => end)));
  hosts.close();
  return { hosts, client, server };
}

/** Of both directions, each as the end says it that saw more. */
function bytesOf([{ totals: client }, { totals: server }]: [Once, Once]): bigint {
  const greater = (left: bigint, right: bigint) => (left > right ? left : right);
  return greater(client.bytesSent, server.bytesReceived) + greater(server.bytesSent, client.bytesReceived);
}

/** The same two ends once more, one or both of which have more to say. */
function tellMore(random: Random, [client, server]: [Once, Once]): [Once, Once] {
  const more = (end: Once): Once =>
    random.chance(0.3) ? end : { ...end, totals: randomOnce(random, end.open).totals, handshakeUs: 0 };
  return [more(client), more(server)];
}

test('a connection of two onces is booked, counted and tallied as one whose side somebody contests, also when it is told again', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const ends = Array.from({ length: 300 }, (_, index) => randomEnds(random, BigInt(index + 1)));
  const plain = tellConnections(ends, { hasRival: false });
  const contested = tellConnections(ends, { hasRival: true });
  const booked = plain.hosts.points
    .filter(({ level }) => level === Level.IdId)
    .reduce((sum, { fields }) => sum + (fields.get('forwardBytes') ?? 0n) + (fields.get('reverseBytes') ?? 0n), 0n);
  assert.equal(
    booked,
    ends.reduce((sum, pair) => sum + bytesOf(pair), 0n),
  );
  const again = ends.filter(() => random.chance(0.5)).map((pair) => tellMore(random, pair));
  for (const round of ['first', 'again']) {
    assert.deepEqual(plain.hosts.points, contested.hosts.points, round);
    assert.ok(plain.hosts.points.length > 0);
    assert.equal(plain.hosts.fleet.counter(ReducerCounter.ClaimsRefused), 0);
    assert.equal(plain.hosts.fleet.counter(ReducerCounter.FlowsJoined), ends.length);
    assert.equal(contested.hosts.fleet.counter(ReducerCounter.ClaimsRefused), ends.length);
    for (const counter of ['FlowsLive', 'EndsLive', 'FlowsLingering', 'RolesCorrected'] as const) {
      const which = ReducerCounter[counter];
      assert.equal(plain.hosts.fleet.counter(which), contested.hosts.fleet.counter(which), `${counter}, ${round}`);
    }
    for (const { hosts, client, server } of [plain, contested]) {
      hosts.say(client, onceFrame(again.map(([end]) => end)));
      hosts.say(server, onceFrame(again.map(([, end]) => end)));
      hosts.close();
    }
  }
});

test('of two sockets that claim one side the same one has it, whichever comes first', () => {
  for (const isServerFirst of [false, true]) {
    for (const cookies of [
      [1n, 9n],
      [9n, 1n],
    ]) {
      const hosts = new TwoHosts(MODULE);
      const server = isServerFirst ? hosts.agent(2, 'nginx') : undefined;
      const client = hosts.agent(1, 'curl');
      hosts.say(client, onceFrame([once({ open: clientEnd({ joinKey: KEY }) })]));
      const told = cookies.map((cookie) =>
        once({ open: serverEnd({ joinKey: KEY, cookie }), totals: totals({ bytesReceived: cookie }) }),
      );
      hosts.say(server ?? hosts.agent(2, 'nginx'), onceFrame(told));
      assert.equal(hosts.close()[EDGE].forwardBytes, 1);
    }
  }
});

test('two sockets of one side are no connection of their own', () => {
  const hosts = new TwoHosts(MODULE);
  const server = hosts.agent(2, 'nginx');
  const told = [1n, 9n].map((cookie) =>
    once({ open: serverEnd({ joinKey: KEY, cookie }), totals: totals({ bytesReceived: cookie }) }),
  );
  hosts.say(server, onceFrame(told));
  const [edge] = Object.values(hosts.close());
  assert.equal(edge.forwardBytes, 1);
  assert.equal(edge.connections, 1);
  assert.equal(hosts.fleet.counter(ReducerCounter.ClaimsRefused), 1);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsJoined), 0);
});

/** A connection of host 1 to host 2 whose window has closed. */
function closedConnection() {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const told = once({ open: clientEnd({ joinKey: KEY }), totals: totals({ bytesSent: 100n }) });
  hosts.say(client, onceFrame([told]));
  hosts.say(server, onceFrame([once({ open: serverEnd({ joinKey: KEY }), totals: totals({ bytesReceived: 90n }) })]));
  assert.deepEqual(hosts.close()[EDGE].connections, 1);
  return { hosts, client, server, told };
}

test('a socket that is told again before the commit finds its connection, and adds what it had not told', () => {
  const { hosts, client, told } = closedConnection();
  hosts.say(client, onceFrame([told]));
  assert.deepEqual(hosts.close(), {});
  hosts.say(client, onceFrame([{ ...told, totals: totals({ bytesSent: 107n }) }]));
  assert.deepEqual(hosts.close(), { [EDGE]: { forwardBytes: 7, flowsBoth: 1 } });
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 1);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsJoined), 1);
});

test('what a connection holds that was taken back is held until it is forgotten, and given back once', () => {
  const { hosts, client, server, told } = closedConnection();
  // Their nodes and viewpoints are those of a connection that goes on, too.
  const ends = { joinKey: KEY + 1n, cookie: 2n, handle: 1 };
  hosts.say(client, onceFrame([told]), openFrame([clientEnd(ends)]));
  hosts.say(server, openFrame([serverEnd(ends)]));
  hosts.close();
  for (let window = 0; window < 3; window++) {
    hosts.fleet.call(0, 'match_committed', hosts.window - 1);
    hosts.close();
  }
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 1);
  const other = hosts.agent(3, 'wget');
  hosts.say(other, openFrame([clientEnd({ ...ends, joinKey: KEY + 2n, localAddress: addressOf(3) })]));
  hosts.close();
  hosts.say(
    server,
    onceFrame([once({ open: serverEnd({ ...ends, handle: 0 }), totals: totals({ bytesReceived: 6n }) })]),
  );
  assert.equal(hosts.close()[EDGE].forwardBytes, 6);
  assert.equal(hosts.fleet.counter(ReducerCounter.ClaimsRefused), 0);
});

test('an Open of a socket that was told opens its connection again, and no second one', () => {
  const { hosts, client } = closedConnection();
  hosts.say(client, openFrame([clientEnd({ joinKey: KEY, handle: 1 })]));
  assert.deepEqual(hosts.close(), { [EDGE]: { active: 1, flowsBoth: 1 } });
  hosts.say(client, closeFrame([close(1, totals({ bytesSent: 101n }))]));
  assert.deepEqual(hosts.close(), { [EDGE]: { forwardBytes: 1, flowsBoth: 1 } });
});

test('another socket is refused either side of a connection that is kept, and does not keep it longer', () => {
  const { hosts, client, server } = closedConnection();
  hosts.say(client, onceFrame([once({ open: clientEnd({ joinKey: KEY, cookie: 9n }), totals: totals() })]));
  hosts.say(server, openFrame([serverEnd({ joinKey: KEY, cookie: 9n, handle: 1 })]));
  assert.deepEqual(hosts.close(), {});
  assert.equal(hosts.fleet.refusals(RefusalReason.Ambiguous), 2);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 1);
  hosts.fleet.call(0, 'match_committed', hosts.window - 2);
  hosts.close();
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 0);
});

test('what an agent settled with an earlier reducer is the connection that is kept', () => {
  const { hosts, client } = closedConnection();
  hosts.say(client, settledFrame([settled({ joinKey: KEY, totals: totals({ bytesSent: 100n }) })]));
  assert.deepEqual(hosts.close(), {});
  assert.equal(hosts.fleet.counter(ReducerCounter.EndsLive), 2);
});

test('two sockets with the key of a connection that is kept are no new connection', () => {
  const { hosts, client, server, told } = closedConnection();
  hosts.say(client, onceFrame([told]));
  hosts.say(server, onceFrame([once({ open: serverEnd({ joinKey: KEY }), totals: totals({ bytesReceived: 103n }) })]));
  assert.deepEqual(hosts.close(), { [EDGE]: { forwardBytes: 3, flowsBoth: 1 } });
});

test('after the commit a connection is forgotten, and its key is that of a new one', () => {
  const { hosts, client, told } = closedConnection();
  hosts.fleet.call(0, 'match_committed', hosts.window - 1);
  hosts.close();
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 0);
  hosts.say(client, onceFrame([told]));
  assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].connections, 1);
});

test('beyond the limit of a shard the oldest window is forgotten as a whole, and counted', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const shard = shardOfJoinKey(1n);
  const tell = (keys: bigint[]) => {
    for (let at = 0; at < keys.length; at += 1000) {
      const some = keys.slice(at, at + 1000);
      hosts.say(client, onceFrame(some.map((joinKey) => once({ open: clientEnd({ joinKey, cookie: joinKey }) }))));
      hosts.say(server, onceFrame(some.map((joinKey) => once({ open: serverEnd({ joinKey, cookie: joinKey }) }))));
    }
    assert.equal(hosts.close()[EDGE].connections, keys.length);
  };
  const keys: bigint[] = [];
  for (let key = 1n; keys.length <= SHARD_BRIEFS_MAX; key++) if (shardOfJoinKey(key) === shard) keys.push(key);
  tell(keys.slice(0, 1000));
  tell(keys.slice(1000, SHARD_BRIEFS_MAX));
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsEvicted), 0);
  tell(keys.slice(SHARD_BRIEFS_MAX));
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsEvicted), 1000);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), keys.length - 1000);
  hosts.say(client, onceFrame([once({ open: clientEnd({ joinKey: keys[1000], cookie: keys[1000] }) })]));
  assert.deepEqual(hosts.close(), {});
  hosts.say(client, onceFrame([once({ open: clientEnd({ joinKey: keys[0], cookie: keys[0] }) })]));
  assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].connections, 1);
});

test('what waited beside a connection that is kept counts for the limit of its shard', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const keys: bigint[] = [];
  for (let key = 1n; keys.length < 5; key++) if (shardOfJoinKey(key) === shardOfJoinKey(1n)) keys.push(key);
  /** A connection, and sockets that all claim one side of another. */
  const tell = (joinKey: bigint, contested: bigint, rivals: number) => {
    const end = { joinKey, cookie: joinKey };
    hosts.say(client, onceFrame([once({ open: clientEnd(end) })]));
    hosts.say(server, onceFrame([once({ open: serverEnd(end) })]));
    for (let at = 0; at < rivals; at += 1000) {
      const cookies = Array.from({ length: Math.min(1000, rivals - at) }, (_, index) => BigInt(at + index + 1));
      const claims = cookies.map((cookie) => once({ open: clientEnd({ joinKey: contested, cookie }) }));
      hosts.say(client, onceFrame(claims));
    }
    hosts.close();
  };
  tell(keys[0], keys[1], SHARD_BRIEFS_MAX - 2);
  tell(keys[2], keys[3], SHARD_BRIEFS_MAX - 2);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsEvicted), 0);
  tell(keys[4], keys[3], 1);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsEvicted), 1);
});

test('connections of many windows that are kept take the memory of connections, not of windows', () => {
  const hosts = new TwoHosts(MODULE);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const perWindow = 256;
  const windows = 40;
  const tell = (window: number) => {
    const keys = Array.from({ length: perWindow }, (_, index) => BigInt(window * perWindow + index + 1));
    hosts.say(client, onceFrame(keys.map((joinKey) => once({ open: clientEnd({ joinKey, cookie: joinKey }) }))));
    hosts.say(server, onceFrame(keys.map((joinKey) => once({ open: serverEnd({ joinKey, cookie: joinKey }) }))));
    assert.equal(hosts.close()[EDGE].connections, perWindow);
  };
  for (let window = 0; window < 10; window++) tell(window);
  const before = hosts.fleet.memoryBytes(0);
  for (let window = 10; window < windows; window++) tell(window);
  // A page of 32 KiB for each shard that a window has connections of would be 150 MiB.
  assert.ok(hosts.fleet.memoryBytes(0) - before < 16 * 2 ** 20, String(hosts.fleet.memoryBytes(0) - before));
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), perWindow * windows);
  hosts.fleet.call(0, 'match_committed', hosts.window - 11);
  hosts.close();
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), perWindow * 10);
});

test('what waited of connections that only one end tells leaves no memory behind', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  const perWindow = 40_000;
  const tell = (window: number) => {
    for (let at = 0; at < perWindow; at += 1000) {
      const keys = Array.from({ length: 1000 }, (_, index) => BigInt(window * perWindow + at + index + 1));
      hosts.say(client, onceFrame(keys.map((joinKey) => once({ open: clientEnd({ joinKey, cookie: joinKey }) }))));
    }
    assert.equal(hosts.close()['host-1/curl > 10.0.0.2 :80'].connections, perWindow);
  };
  // Until as many flows wait for their other ends as may.
  for (let window = 0; window < 10; window++) tell(window);
  assert.notEqual(hosts.fleet.counter(ReducerCounter.FlowsEvicted), 0);
  const before = hosts.fleet.memoryBytes(0);
  for (let window = 10; window < 20; window++) tell(window);
  // The Onces of ten windows are 40 MiB.
  assert.ok(hosts.fleet.memoryBytes(0) - before <= 16 * 2 ** 20, String(hosts.fleet.memoryBytes(0) - before));
});

test('without a commit a connection is kept for ten minutes of windows', () => {
  const { hosts } = closedConnection();
  for (let window = 0; window < 59; window++) hosts.close();
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 1);
  hosts.close();
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsLive), 0);
  assert.equal(hosts.fleet.counter(ReducerCounter.FlowsEvicted), 0);
});

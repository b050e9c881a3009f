// Folds of one end beside one-by-one reports of the other. SEED=N repeats the random history.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason, Role } from '../../../host/wire/gen/kernel-events-layout.ts';
import { ReducerCounter } from '../../../host/wire/gen/records-layout.ts';
import { BaselineKind, type Fold, FrameKind, OpenFlags } from '../../../host/wire/gen/wire-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import {
  announceFrame,
  baselineFrame,
  close,
  closeFrame,
  fold,
  foldFrame,
  once,
  onceFrame,
  openFrame,
  process,
  SPACE,
  settled,
  settledFrame,
  snapshotMark,
  totals,
  wideFrame,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { pairOf, shardOfJoinKey } from '../../testing/flow-shard.ts';
import type { SessionRef } from '../../testing/reducer-fleet.ts';
import { addressOf, clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const JOINED_EDGE = 'host-1/curl > host-2/nginx :80';
/** Ten windows of linger. */
const MINUTE_NS = 60_000_000_000;

interface Connection {
  joinKey: bigint;
  port: number;
  forward: number;
  reverse: number;
  reason: number;
}

const connectionOf = (values: Partial<Connection> = {}): Connection => ({
  joinKey: 5n,
  port: 80,
  forward: 70,
  reverse: 0,
  reason: CloseReason.Closed,
  ...values,
});

function totalsOf({ forward, reverse }: Connection, role: number, share = 1) {
  const [up, down] = [forward, reverse].map((bytes) => BigInt(Math.floor(bytes * share)));
  return role === Role.Server
    ? totals({ bytesReceived: up, bytesSent: down, segmentsReceived: up / 10n, segmentsSent: down / 10n })
    : totals({ bytesSent: up, bytesReceived: down, segmentsSent: up / 10n, segmentsReceived: down / 10n });
}

function openOf({ joinKey, port }: Connection, role: number) {
  const cookie = joinKey;
  return role === Role.Server
    ? serverEnd({ joinKey, cookie, localPort: port })
    : clientEnd({ joinKey, cookie, remotePort: port });
}

/** The reset that both ends saw was sent by the client. */
function reasonOf({ reason }: Connection, role: number): number {
  if (reason === CloseReason.Closed) return reason;
  return role === Role.Client ? CloseReason.ResetSent : CloseReason.ResetReceived;
}

const onceOf = (connection: Connection, role: number): Uint8Array =>
  onceFrame([
    once({ open: openOf(connection, role), totals: totalsOf(connection, role), reason: reasonOf(connection, role) }),
  ]);

function foldOf(connection: Connection, role: number, values: Partial<Fold> = {}): Uint8Array {
  const reason = reasonOf(connection, role);
  return foldFrame([
    fold({
      localAddress: addressOf(role === Role.Server ? 2 : 1),
      remoteAddress: addressOf(role === Role.Server ? 1 : 2),
      serverPort: connection.port,
      role,
      shard: shardOfJoinKey(connection.joinKey),
      totals: totalsOf(connection, role),
      resetsSent: reason === CloseReason.ResetSent ? 1 : 0,
      resetsReceived: reason === CloseReason.ResetReceived ? 1 : 0,
      ...values,
    }),
  ]);
}

function watched(workers = 1, seed = 1) {
  const hosts = new TwoHosts(MODULE, undefined, { workers, seed });
  return { hosts, agents: { [Role.Client]: hosts.agent(1, 'curl'), [Role.Server]: hosts.agent(2, 'nginx') } };
}

type Shown = ReturnType<TwoHosts['close']>;

/** What all edges of some windows add up to. */
function sumOf(windows: Shown[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const row of windows.flatMap((edges) => Object.values(edges)))
    for (const [field, value] of Object.entries(row))
      if (!field.startsWith('flows') && field !== 'active' && field !== 'judgedBytes')
        sums[field] = (sums[field] ?? 0) + value;
  return Object.fromEntries(Object.entries(sums).filter(([, value]) => value !== 0));
}

const ONE = { forwardBytes: 70, forwardPackets: 7, connections: 1, closed: 1 };

test('a connection that one end folded and the other told counts once, whichever came first, or both in one window', () => {
  const connection = connectionOf();
  for (const folder of [Role.Client, Role.Server] as const) {
    const teller = folder === Role.Client ? Role.Server : Role.Client;
    for (const order of ['fold first', 'fold last', 'together']) {
      for (const workers of [1, 3]) {
        const { hosts, agents } = watched(workers);
        const windows: Shown[] = [];
        if (order !== 'fold last') hosts.say(agents[folder], foldOf(connection, folder));
        if (order === 'fold first') windows.push(hosts.close());
        hosts.say(agents[teller], onceOf(connection, teller));
        windows.push(hosts.close());
        if (order === 'fold last') hosts.say(agents[folder], foldOf(connection, folder));
        windows.push(hosts.close(), hosts.close());
        assert.deepEqual(sumOf(windows), ONE, `role ${folder} folded, ${order}, ${workers} workers`);
      }
    }
  }
});

test('a reset that one end folded and the other told counts once', () => {
  const connection = connectionOf({ reason: CloseReason.ResetSent });
  for (const isFoldFirst of [true, false]) {
    const { hosts, agents } = watched();
    const windows: Shown[] = [];
    const say = [
      () => hosts.say(agents[Role.Client], foldOf(connection, Role.Client)),
      () => hosts.say(agents[Role.Server], onceOf(connection, Role.Server)),
    ];
    for (const step of isFoldFirst ? say : say.toReversed()) {
      step();
      windows.push(hosts.close());
    }
    assert.deepEqual(sumOf(windows), { ...ONE, resetsClient: 1 });
  }
});

test('news that a fold took are booked after all when the true other end is told', () => {
  const { hosts, agents } = watched();
  const [folded, told] = [connectionOf(), connectionOf({ joinKey: 9n, reason: CloseReason.ResetSent })];
  const shard = shardOfJoinKey(told.joinKey);
  hosts.say(agents[Role.Client], foldOf(folded, Role.Client, { shard, resetsSent: 1 }));
  assert.deepEqual(sumOf([hosts.close()]), { ...ONE, resetsClient: 1 });
  hosts.say(agents[Role.Server], onceOf(told, Role.Server));
  assert.deepEqual(sumOf([hosts.close()]), {}, 'it might be the one that was folded');
  hosts.say(agents[Role.Client], onceOf(told, Role.Client));
  assert.deepEqual(hosts.close(), {
    [JOINED_EDGE]: { ...ONE, resetsClient: 1, judgedBytes: 70, flowsBoth: 1 },
  });
});

test('a connection that is still open at the other end takes what was folded of it, and books the rest', () => {
  for (const isFoldFirst of [true, false]) {
    const { hosts, agents } = watched();
    const connection = connectionOf();
    const windows: Shown[] = [];
    if (isFoldFirst) hosts.say(agents[Role.Client], foldOf(connection, Role.Client));
    windows.push(hosts.close());
    const handle = 1;
    hosts.say(agents[Role.Server], openFrame([{ ...openOf(connection, Role.Server), handle }]));
    hosts.say(agents[Role.Server], wideFrame([{ handle, totals: totalsOf(connection, Role.Server, 0.5) }]));
    windows.push(hosts.close());
    if (!isFoldFirst) hosts.say(agents[Role.Client], foldOf(connection, Role.Client));
    windows.push(hosts.close());
    assert.deepEqual(sumOf(windows), ONE);
    hosts.say(agents[Role.Server], wideFrame([{ handle, totals: totalsOf(connection, Role.Server) }]));
    windows.push(hosts.close());
    hosts.say(agents[Role.Server], closeFrame([close(handle, totals({ bytesReceived: 75n, segmentsReceived: 8n }))]));
    windows.push(hosts.close());
    assert.deepEqual(sumOf(windows), { ...ONE, forwardBytes: 75, forwardPackets: 8 });
  }
});

test('an end that told its beginning, then left and folded its end, adds what it had not told', () => {
  for (const isOtherTold of [true, false]) {
    const { hosts, agents } = watched();
    const connection = connectionOf();
    const client = agents[Role.Client];
    hosts.say(client, openFrame([{ ...openOf(connection, Role.Client), handle: 1 }]));
    hosts.say(client, wideFrame([{ handle: 1, totals: totalsOf(connection, Role.Client, 0.5) }]));
    if (isOtherTold) hosts.say(agents[Role.Server], onceOf(connection, Role.Server));
    const windows = [hosts.close()];
    hosts.say(client, snapshotMark(FrameKind.SnapshotBegin, hosts.window));
    hosts.say(client, announceFrame({ addressSpaces: [{ handle: SPACE, name: 'default' }] }));
    hosts.say(client, announceFrame({ processes: [process(1, { unit: 'curl' })] }));
    const untold = totals({ bytesSent: 35n, segmentsSent: 4n });
    const last = totalsOf(connection, Role.Client);
    hosts.say(client, foldOf(connection, Role.Client, { connections: 0, totals: untold, last }));
    hosts.say(client, snapshotMark(FrameKind.SnapshotEnd, hosts.window));
    windows.push(hosts.close(), hosts.close());
    assert.deepEqual(sumOf(windows), ONE, isOtherTold ? 'the other end told all' : 'the other end is not watched');
  }
});

test('what an earlier reducer exported is not booked, whether its fold or the other end knows', () => {
  const connection = connectionOf();
  const pair = pairOf(addressOf(1), addressOf(2), connection.port);
  const known = { connections: 0, totals: totals({ bytesSent: 30n, segmentsSent: 3n }) };
  const last = totalsOf(connection, Role.Client);
  const existing = { flags: OpenFlags.Existing | OpenFlags.Counted, handle: 1 };
  const baseline = totals({ bytesReceived: 40n, segmentsReceived: 4n });
  const rest = { forwardBytes: 30, forwardPackets: 3, closed: 1 };
  const open = openFrame([{ ...openOf(connection, Role.Server), ...existing }]);
  const tellings: [string, Uint8Array, Record<string, number>][] = [
    [
      'the other end knows it too',
      Buffer.concat([
        open,
        baselineFrame([{ handle: 1, kind: BaselineKind.Committed, totals: baseline }]),
        closeFrame([close(1, totalsOf(connection, Role.Server))]),
      ]),
      rest,
    ],
    ['the other end knows nothing of it', onceOf(connection, Role.Server), rest],
    [
      'the other end is settled',
      settledFrame([
        settled({ joinKey: 5n, pair, role: Role.Server, counted: 1, totals: totalsOf(connection, Role.Server) }),
      ]),
      {},
    ],
  ];
  for (const [story, told, expected] of tellings) {
    const { hosts, agents } = watched();
    hosts.say(agents[Role.Client], foldOf(connection, Role.Client, { ...known, last }));
    hosts.say(agents[Role.Server], told);
    assert.deepEqual(sumOf([hosts.close(), hosts.close()]), expected, story);
  }
});

test('what is left of the news of several flows is booked on one of them, the same for any number of workers', () => {
  const shown = [1, 2, 4].map((workers) => {
    const { hosts, agents } = watched(workers, workers);
    const other = hosts.agent(3, 'caddy');
    const joinKeys = keysOfShard(7, 6);
    hosts.say(agents[Role.Client], foldOf(connectionOf({ joinKey: joinKeys[0], forward: 100 }), Role.Client));
    hosts.close();
    const tell = joinKeys.map((joinKey, index) => () => {
      const frame = onceOf(connectionOf({ joinKey, forward: 30 + index }), Role.Server);
      hosts.say(index % 2 === 0 ? agents[Role.Server] : other, frame);
    });
    for (const step of workers === 2 ? tell.toReversed() : tell) step();
    return hosts.close();
  });
  assert.deepEqual(shown[1], shown[0]);
  assert.deepEqual(shown[2], shown[0]);
  assert.equal(sumOf([shown[0]]).forwardBytes, 6 * 30 + 15 - 100);
  assert.equal(sumOf([shown[0]]).connections, 5);
});

test('a pair without folds for ten minutes of windows takes nothing any more', () => {
  for (const [windows, isBooked] of [
    [9, false],
    [10, true],
  ] as const) {
    const hosts = new TwoHosts(MODULE, MINUTE_NS);
    const [client, server] = [1, 2].map((host) => hosts.agent(host, 'unit', { windowNs: BigInt(MINUTE_NS) }));
    const [first, second] = keysOfShard(7, 2).map((joinKey) => connectionOf({ joinKey }));
    hosts.say(server, onceOf(first, Role.Server));
    hosts.say(client, foldOf(connectionOf({ joinKey: first.joinKey, forward: 140 }), Role.Client));
    for (let window = 0; window <= windows; window++) hosts.close();
    hosts.say(server, onceOf(second, Role.Server));
    assert.equal(sumOf([hosts.close()]).forwardBytes, isBooked ? 70 : undefined, `after ${windows} windows`);
  }
});

test('a flow that began after everything folded of its pair had closed is not in a fold, until more is folded', () => {
  const { hosts, agents } = watched();
  const secondsNs = (seconds: number): bigint => 1_700_000_000_000_000_000n + BigInt(seconds) * 1_000_000_000n;
  const [folded, young, old] = keysOfShard(7, 3).map((joinKey) => connectionOf({ joinKey }));
  hosts.say(agents[Role.Client], foldOf(folded, Role.Client, { endTimeNs: secondsNs(10) }));
  hosts.close();
  const told = (connection: Connection, startTimeNs: bigint) =>
    onceFrame([
      once({ open: { ...openOf(connection, Role.Server), startTimeNs }, totals: totalsOf(connection, Role.Server) }),
    ]);
  hosts.say(agents[Role.Server], told(young, secondsNs(13)));
  assert.deepEqual(sumOf([hosts.close()]), ONE);
  hosts.say(agents[Role.Server], told(old, secondsNs(11)));
  assert.deepEqual(sumOf([hosts.close()]), {}, 'clocks may differ by so much');
  hosts.say(agents[Role.Client], foldOf(young, Role.Client, { endTimeNs: secondsNs(14) }));
  assert.deepEqual(sumOf([hosts.close()]), {}, 'that one was told before');
});

test('a committed fold books nothing, and neither do the late reports of its other ends', () => {
  for (const isFoldFirst of [true, false]) {
    const { hosts, agents } = watched();
    const connection = connectionOf({ reason: CloseReason.ResetSent });
    const last = totalsOf(connection, Role.Client);
    const steps = [
      () =>
        hosts.say(
          agents[Role.Client],
          foldOf(connection, Role.Client, { settled: 1, connections: 0, totals: totals(), last }),
        ),
      () => hosts.say(agents[Role.Server], onceOf(connection, Role.Server)),
    ];
    for (const step of isFoldFirst ? steps : steps.toReversed()) step();
    assert.deepEqual(sumOf([hosts.close()]), {}, 'in one window');
  }
});

test('a flow that is forgotten leaves with its pair what it had taken off', () => {
  const hosts = new TwoHosts(MODULE, MINUTE_NS);
  const [client, server] = [1, 2].map((host) => hosts.agent(host, 'unit', { windowNs: BigInt(MINUTE_NS) }));
  const [first, second] = keysOfShard(7, 2).map((joinKey) => connectionOf({ joinKey }));
  const closeSome = (count: number): Shown[] => Array.from({ length: count }, () => hosts.close());
  hosts.say(server, onceOf(first, Role.Server));
  // The pair of `second` outlives the flow of `first`.
  const windows = closeSome(5);
  hosts.say(client, foldOf(second, Role.Client));
  windows.push(...closeSome(7));
  assert.deepEqual(sumOf(windows), ONE, 'the fold may be of the first');
  hosts.say(client, foldOf(first, Role.Client));
  // Takes the row of the flow.
  hosts.say(server, onceOf(connectionOf({ joinKey: 3n, port: 81 }), Role.Server));
  windows.push(...closeSome(12));
  assert.deepEqual(sumOf(windows), { forwardBytes: 210, forwardPackets: 21, connections: 3, closed: 3 });
});

test('when a pair is forgotten its flows belong to none, whoever takes its place', () => {
  const hosts = new TwoHosts(MODULE, MINUTE_NS);
  const [client, server] = [1, 2].map((host) => hosts.agent(host, 'unit', { windowNs: BigInt(MINUTE_NS) }));
  const connection = connectionOf();
  const handle = 1;
  hosts.say(server, openFrame([{ ...openOf(connection, Role.Server), handle }]));
  hosts.say(client, foldOf(connection, Role.Client));
  for (let window = 0; window < 12; window++) hosts.close();
  // Takes the row of the pair, and has booked what it cannot take from others.
  const elsewhere = connectionOf({ port: 81, forward: 1000 });
  hosts.say(client, foldOf(elsewhere, Role.Client));
  hosts.close();
  hosts.say(server, wideFrame([{ handle, totals: totals({ bytesReceived: 500n }) }]));
  assert.equal(sumOf([hosts.close()]).forwardBytes, 500);
});

test('beyond the limit of flows beside folds they are booked as they are, and counted', () => {
  const { hosts, agents } = watched();
  const count = 131_073;
  const names = { localAddress: addressOf(1), remoteAddress: addressOf(2) };
  const everyShard = Array.from({ length: 256 }, (_, shard) =>
    fold({ ...names, shard, totals: totals({ bytesSent: 1n }) }),
  );
  hosts.say(agents[Role.Client], foldFrame(everyShard));
  assert.equal(sumOf([hosts.close()]).forwardBytes, 256);
  for (let first = 1; first <= count; first += 400) {
    const items = Array.from({ length: Math.min(400, count + 1 - first) }, (_, index) =>
      once({
        open: openOf(connectionOf({ joinKey: BigInt(first + index) }), Role.Server),
        totals: totals({ bytesReceived: 1n }),
      }),
    );
    hosts.say(agents[Role.Server], onceFrame(items));
  }
  assert.equal(sumOf([hosts.close()]).forwardBytes, count - 256);
  assert.equal(hosts.fleet.counter(ReducerCounter.FoldFlowsRefused), 1);
});

/** Join keys whose flows are matched in one shard. */
function keysOfShard(shard: number, count: number): bigint[] {
  const keys: bigint[] = [];
  for (let joinKey = 1n; keys.length < count; joinKey++) if (shardOfJoinKey(joinKey) === shard) keys.push(joinKey);
  return keys;
}

test('whatever each end folds and tells, and when, every connection counts once, alike for any number of workers', () => {
  const seed = chooseSeed();
  for (let round = 0; round < 8; round++) {
    const plan = drawPlan(new Random(seed + round));
    const [first, ...others] = [1, 2, 4].map((workers) => play(plan, workers));
    for (const other of others) assert.deepEqual(other, first, `SEED=${seed}, round ${round}`);
    for (let window = 0; window < first.length; window++) {
      const { forwardBytes = 0 } = sumOf(first.slice(0, window + 1));
      const known = plan.filter(({ tellings }) => tellings.some((telling) => telling.from <= window));
      const most = known.reduce((sum, { connection }) => sum + connection.forward, 0);
      assert(
        forwardBytes <= most,
        `${forwardBytes} bytes of ${most} in window ${window}, SEED=${seed}, round ${round}`,
      );
    }
    const expected = sumsOf(plan.map(({ connection }) => connection));
    assert.deepEqual(sumOf(first), expected, `SEED=${seed}, round ${round}`);
  }
});

interface Telling {
  role: number;
  how: 'fold' | 'once' | 'open';
  from: number;
  to: number;
}

interface Planned {
  connection: Connection;
  tellings: Telling[];
}

const WINDOWS = 10;

function drawPlan(random: Random): Planned[] {
  // Many in few shards, so that folds have much to confuse.
  const keys = [3, 4].flatMap((shard) => keysOfShard(shard, 20));
  return keys.map((joinKey) => {
    const reason = random.chance(0.2) ? CloseReason.ResetSent : CloseReason.Closed;
    const sizes = { forward: random.below(1000), reverse: random.below(1000) };
    const connection = { joinKey, port: 80 + random.below(2), ...sizes, reason };
    const tellings = [Role.Client, Role.Server].map((role): Telling => {
      const from = random.below(WINDOWS - 3);
      const how = random.chance(0.4) ? 'fold' : random.chance(0.5) ? 'once' : 'open';
      return { role, how, from, to: how === 'open' ? from + random.below(3) : from };
    });
    return { connection, tellings };
  });
}

function sumsOf(connections: Connection[]): Record<string, number> {
  const sum = (of: (connection: Connection) => number): number => connections.reduce((all, one) => all + of(one), 0);
  const sums = {
    forwardBytes: sum(({ forward }) => forward),
    reverseBytes: sum(({ reverse }) => reverse),
    forwardPackets: sum(({ forward }) => Math.floor(forward / 10)),
    reversePackets: sum(({ reverse }) => Math.floor(reverse / 10)),
    connections: connections.length,
    closed: connections.length,
    resetsClient: sum(({ reason }) => (reason === CloseReason.Closed ? 0 : 1)),
  };
  return Object.fromEntries(Object.entries(sums).filter(([, value]) => value !== 0));
}

/** What each window shows. One worker count tells each window backwards. */
function play(plan: Planned[], workers: number): Shown[] {
  const { hosts, agents } = watched(workers, workers);
  return Array.from({ length: WINDOWS }, (_, window) => {
    const frames = plan.flatMap(({ connection, tellings }, index) =>
      tellings.flatMap((telling) => {
        const frame = tell(connection, telling, window, index + 1);
        const agent: SessionRef = agents[telling.role === Role.Server ? Role.Server : Role.Client];
        return frame === undefined ? [] : [{ agent, frame }];
      }),
    );
    for (const { agent, frame } of workers === 2 ? frames.toReversed() : frames) hosts.say(agent, frame);
    return hosts.close();
  });
}

function tell(connection: Connection, { role, how, from, to }: Telling, window: number, handle: number) {
  if (window === from && how === 'fold') return foldOf(connection, role);
  if (window === from && how === 'once') return onceOf(connection, role);
  if (how !== 'open' || window < from || window > to) return undefined;
  const open = openFrame([{ ...openOf(connection, role), handle }]);
  const update = wideFrame([{ handle, totals: totalsOf(connection, role, 0.5) }]);
  const end = closeFrame([close(handle, totalsOf(connection, role), reasonOf(connection, role))]);
  return Buffer.concat([...(window === from ? [open, update] : []), ...(window === to ? [end] : [])]);
}

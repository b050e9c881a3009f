import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CloseReason, ConnectionPhase, RetransmitKind, Role } from '../../../host/wire/gen/kernel-events-layout.ts';
import { Level, ReducerCounter, RefusalReason, TallySide } from '../../../host/wire/gen/records-layout.ts';
import { FrameKind, type Tally, TallyKind } from '../../../host/wire/gen/wire-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import {
  announceFrame,
  close,
  closeFrame,
  fold,
  foldFrame,
  once,
  onceFrame,
  openFrame,
  snapshotMark,
  tally,
  tallyFrame,
  totals,
  wideFrame,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import type { SessionRef } from '../../testing/reducer-fleet.ts';
import { addressOf, clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';
import { HOST_LEVEL } from '../../testing/window-output.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const { Client, Server, None } = TallySide;
const KINDS = new Map<number, string>(Object.entries(TallyKind).map(([name, value]) => [value, name]));
const SIDES = new Map<number, string>([
  [None, 'host'],
  [Client, 'client'],
  [Server, 'server'],
]);

/** What the last window shows at `level`: `edge: kind side code label` → count, or [count, sum] of samples. */
function tallies(world: TwoHosts, level: number = Level.IdId): Record<string, number | number[]> {
  const shown = world.points
    .filter((point) => point.level === level)
    .flatMap(({ client, server, serverPort, tallies }) =>
      [...tallies].map(([key, { count, sum }]) => {
        const [kind, side, code, ...label] = key.split(' ');
        const subject = level === HOST_LEVEL ? client.id : `${client.role} > ${server.role} :${serverPort}`;
        const what = [KINDS.get(Number(kind)), SIDES.get(Number(side)), code, ...label].join(' ').trim();
        return [`${subject}: ${what}`, sum === 0n ? Number(count) : [Number(count), Number(sum)]] as const;
      }),
    );
  return Object.fromEntries(shown);
}

/** Sums and codes on both sides of what fits into a narrow record. */
const DURATIONS = [1n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 33n + 5n];
const HANDSHAKES = [1, 4_294_967, 4_294_968, 10_000_000];
const ERRORS = [1, 255, 256, 300];
const sum = (values: readonly bigint[]): bigint => values.reduce((total, value) => total + value);

const retransmits = (handle: number, count: bigint): Tally => tally(TallyKind.Retransmit, { handle, code: 2, count });

for (const workers of [1, 2, 4]) {
  describe(`on ${workers} workers`, () => {
    test('a tally has its count, code and label whichever worker keeps its edge', () => {
      const world = new TwoHosts(MODULE, undefined, { workers });
      const client = world.agent(1, 'shop');
      world.say(client, announceFrame({ labels: [{ handle: 5, text: 'TCP_RESET' }] }));
      const expected: Record<string, number> = {};
      for (const host of [2, 3, 4, 5]) {
        const key = { joinKey: BigInt(host), cookie: BigInt(host) };
        world.say(client, openFrame([clientEnd({ ...key, handle: host, remoteAddress: addressOf(host) })]));
        const server = world.agent(host, `db-${host}`);
        world.say(server, openFrame([serverEnd({ ...key, handle: 1, localAddress: addressOf(host) })]));
        const drop = (values: Partial<Tally>) => tally(TallyKind.Drop, { handle: host, ...values });
        world.say(client, tallyFrame([drop({ count: 6n }), drop({ code: 7 }), drop({ label: 5 })]));
        const edge = `shop > db-${host} :80`;
        expected[`${edge}: Drop client 0`] = 6;
        expected[`${edge}: Drop client 7`] = 1;
        expected[`${edge}: Drop client 0 TCP_RESET`] = 1;
      }
      world.close();
      assert.deepEqual(tallies(world), expected);
    });

    test('how connections ended is told as it is, on both sides of the limits of a narrow record', () => {
      const world = new TwoHosts(MODULE, undefined, { workers });
      const client = world.agent(1, 'shop');
      const expected: Record<string, number | number[]> = {};
      const begin = 1_000n;
      for (const host of [2, 3, 4, 5]) {
        const server = world.agent(host, `db-${host}`);
        const far = { remoteAddress: addressOf(host), startTimeNs: begin };
        for (const [index, duration] of DURATIONS.entries()) {
          const joinKey = BigInt(host * 10 + index);
          const end = { endTimeNs: begin + duration, handshakeUs: HANDSHAKES[index] };
          const own = { joinKey, cookie: joinKey };
          const local = { ...own, localAddress: addressOf(host), startTimeNs: begin };
          world.say(client, onceFrame([once({ open: clientEnd({ ...own, ...far }), ...end })]));
          world.say(server, onceFrame([once({ open: serverEnd(local), ...end })]));
        }
        const failed = ERRORS.map((error, index) => {
          const open = clientEnd({ cookie: BigInt(host * 100 + index), ...far });
          return once({ open, reason: CloseReason.ConnectOther, error });
        });
        world.say(client, onceFrame(failed));
        const edge = `shop > db-${host} :80`;
        for (const [side, handshake] of [
          ['client', 'HandshakeServer'],
          ['server', 'HandshakeClient'],
        ]) {
          expected[`${edge}: Duration ${side} ${CloseReason.Closed}`] = [DURATIONS.length, Number(sum(DURATIONS))];
          const handshakesNs = HANDSHAKES.map((us) => BigInt(us) * 1000n);
          expected[`${edge}: ${handshake} ${side} 0`] = [HANDSHAKES.length, Number(sum(handshakesNs))];
        }
      }
      // Nobody says whose the addresses are, so each of the four edges is called this.
      for (const error of ERRORS) expected[`shop > (private) :80: ConnectError client ${error}`] = 1;
      world.close();
      assert.deepEqual(tallies(world), expected);
    });

    test('what a connection counts while it moves nothing is told of its own edge, also between others that move', () => {
      const world = new TwoHosts(MODULE, undefined, { workers });
      const client = world.agent(1, 'shop');
      const handles = Array.from({ length: 16 }, (_, index) => index + 1);
      for (const host of handles) {
        const own = { handle: host, joinKey: BigInt(host), cookie: BigInt(host) };
        world.say(client, openFrame([clientEnd({ ...own, remoteAddress: addressOf(host + 1) })]));
        const server = world.agent(host + 1, `db-${host}`);
        const local = { handle: 1, localAddress: addressOf(host + 1) };
        world.say(server, openFrame([serverEnd({ ...own, ...local })]));
      }
      world.close();
      const isMoving = (host: number): boolean => host % 2 === 0;
      for (const handle of handles) {
        if (isMoving(handle)) world.say(client, wideFrame([{ handle, totals: totals({ bytesSent: 9n }) }]));
        else world.say(client, tallyFrame([tally(TallyKind.Drop, { handle, code: 7 })]));
      }
      world.close();
      const still = handles.filter((host) => !isMoving(host));
      assert.deepEqual(
        tallies(world),
        Object.fromEntries(still.map((host) => [`shop > db-${host} :80: Drop client 7`, 1])),
      );
    });

    test('what each end counts is told of its side of the edge, once', () => {
      const world = new TwoHosts(MODULE, undefined, { workers });
      const [client, server] = [world.agent(1, 'shop'), world.agent(2, 'db')];
      world.say(client, openFrame([clientEnd({ handle: 1, joinKey: 7n })]), tallyFrame([retransmits(1, 3n)]));
      const label = { handle: 5, text: 'TCP_RESET tcp_v4_rcv' };
      world.say(server, announceFrame({ labels: [label] }), openFrame([serverEnd({ handle: 9, joinKey: 7n })]));
      world.say(
        server,
        tallyFrame([tally(TallyKind.Drop, { handle: 9, code: 70, label: 5, count: 2n }), retransmits(9, 1n)]),
      );
      world.close();
      assert.deepEqual(tallies(world), {
        'shop > db :80: Retransmit client 2': 3,
        'shop > db :80: Retransmit server 2': 1,
        'shop > db :80: Drop server 70 TCP_RESET tcp_v4_rcv': 2,
      });
      for (const level of [Level.IdAz, Level.AzId, Level.AzAz, Level.RoleAz, Level.AzRole, Level.RoleRole])
        assert.deepEqual(tallies(world, level), tallies(world), `level ${level}`);
      world.close();
      assert.deepEqual(tallies(world), {});
      world.say(client, tallyFrame([retransmits(1, 4n)]));
      world.close();
      assert.deepEqual(tallies(world), { 'shop > db :80: Retransmit client 2': 4 });
    });

    test('a host counts for itself, whichever session of it tells', () => {
      const world = new TwoHosts(MODULE, undefined, { workers });
      const agent = world.agent(1, 'shop');
      const other = world.agent(1, 'shop', { scope: 'netns:1', session: 77n });
      world.say(agent, tallyFrame([tally(TallyKind.AcceptOverflow, { code: 80, count: 2n })]));
      world.say(other, tallyFrame([tally(TallyKind.AcceptOverflow, { code: 80, count: 5n })]));
      world.close();
      assert.deepEqual(tallies(world, HOST_LEVEL), { 'host-1: AcceptOverflow host 80': 7 });
    });
  });
}

test('a short-lived connection tells how long it and its handshake took, at each end', () => {
  const world = new TwoHosts(MODULE);
  const [client, server] = [world.agent(1, 'shop'), world.agent(2, 'db')];
  const at = { joinKey: 7n, startTimeNs: 1_000_000_000n };
  const end = { endTimeNs: 1_250_000_000n };
  world.say(client, onceFrame([once({ open: clientEnd(at), ...end, handshakeUs: 300 })]));
  const reset = CloseReason.ResetReceived;
  world.say(server, onceFrame([once({ open: serverEnd(at), ...end, handshakeUs: 200, reason: reset })]));
  world.close();
  assert.deepEqual(tallies(world), {
    [`shop > db :80: Duration client ${CloseReason.Closed}`]: [1, 250_000_000],
    [`shop > db :80: Duration server ${CloseReason.ResetReceived}`]: [1, 250_000_000],
    'shop > db :80: HandshakeServer client 0': [1, 300_000],
    'shop > db :80: HandshakeClient server 0': [1, 200_000],
  });
});

test('what the connections of several edges count is told of each edge, whatever of it each of them tells', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const world = new TwoHosts(MODULE);
  const units = ['shop', 'mail', 'cron'];
  const agents = units.map((unit, index) => world.agent(index + 1, unit));
  for (const [index, agent] of agents.entries()) {
    const localAddress = addressOf(index + 1);
    world.say(agent, openFrame([clientEnd({ handle: 1, joinKey: BigInt(index + 7), localAddress })]));
  }
  for (let window = 0; window < 40; window++) {
    const expected: Record<string, number> = {};
    for (const [index, agent] of agents.entries()) {
      const codes = [1, 2, 3].filter(() => random.chance(0.5));
      for (const code of codes) expected[`${units[index]} > (private) :80: Retransmit client ${code}`] = code + window;
      const told = codes.map((code) => tally(TallyKind.Retransmit, { handle: 1, code, count: BigInt(code + window) }));
      if (told.length > 0) world.say(agent, tallyFrame(told));
    }
    world.close();
    assert.deepEqual(tallies(world), expected);
  }
});

test('one that is told again counts its duration once, and one that was adopted has none', () => {
  const world = new TwoHosts(MODULE);
  const agent = world.agent(1, 'shop');
  const open = clientEnd({ joinKey: 7n, startTimeNs: 1000n });
  const told = onceFrame([
    once({ open, endTimeNs: 3000n }),
    once({ open: { ...open, joinKey: 8n, cookie: 8n, flags: 1 } }),
  ]);
  world.say(agent, told);
  world.close();
  const duration = { [`shop > (private) :80: Duration client ${CloseReason.Closed}`]: [1, 2000] };
  assert.deepEqual(tallies(world), duration);
  world.say(agent, told);
  world.close();
  assert.deepEqual(tallies(world), {});
});

test('samples of one tally are in the bucket of their mean, at the levels that keep histograms', () => {
  const world = new TwoHosts(MODULE);
  const agent = world.agent(1, 'shop');
  world.say(agent, openFrame([clientEnd({ handle: 1, joinKey: 7n })]));
  const lookups = (count: bigint, sum: bigint) => tally(TallyKind.DnsLookup, { handle: 1, code: 1 << 16, count, sum });
  // 1 s is the end of its bucket, 2^0; 250 000 s is beyond the last one, which ends at 2^17 s.
  world.say(agent, tallyFrame([lookups(3n, 3_000_000_000n), lookups(1n, 250_000_000_000_000n), lookups(1n, 1n)]));
  world.close();
  for (const { level, tallies } of world.points.filter(({ tallies }) => tallies.size > 0)) {
    const [{ count, buckets }] = [...tallies.values()];
    assert.equal(count, 5n, `level ${level}`);
    assert.deepEqual(
      [...buckets],
      [
        [-160, 1],
        [-1, 3],
        [135, 1],
      ],
      `level ${level}`,
    );
  }
});

describe('a connect that failed', () => {
  const REFUSED = { reason: CloseReason.ConnectRefused, error: 111 };
  const expected = { active: 0, refused: 1, connections: 0, closed: 0 };

  function check(world: TwoHosts, tallied: Record<string, number>): void {
    const [counts] = Object.values(world.close());
    for (const [name, value] of Object.entries(expected)) assert.equal(counts[name] ?? 0, value, name);
    assert.deepEqual(tallies(world), tallied);
  }

  test('is told with its errno', () => {
    const world = new TwoHosts(MODULE);
    world.say(world.agent(1, 'shop'), onceFrame([once({ open: clientEnd(), ...REFUSED })]));
    check(world, { 'shop > (private) :80: ConnectError client 111': 1 });
  });

  test('may have tallies, and is no connection then either', () => {
    const world = new TwoHosts(MODULE);
    const agent = world.agent(1, 'shop');
    world.say(agent, openFrame([clientEnd({ handle: 1 })]), tallyFrame([retransmits(1, 2n)]));
    world.say(agent, closeFrame([{ ...close(1, totals()), ...REFUSED }]));
    check(world, {
      'shop > (private) :80: ConnectError client 111': 1,
      'shop > (private) :80: Retransmit client 2': 2,
    });
  });
});

describe('what the end of a connection tells is tallied once, whether it is told as Once or as Close', () => {
  const last = totals({ retransmits: 2n, minRttUs: 90 });
  const cases: [string, { reason: number; phase: number; error?: number }, Record<string, number | number[]>][] = [
    [
      'a reset that was sent',
      { reason: CloseReason.ResetSent, phase: ConnectionPhase.Close },
      { [`ResetSent client ${ConnectionPhase.Close}`]: 1 },
    ],
    [
      'a reset that was received',
      { reason: CloseReason.ResetReceived, phase: ConnectionPhase.Transfer },
      { [`ResetReceived client ${ConnectionPhase.Transfer}`]: 1 },
    ],
    ['an end without a reset', { reason: CloseReason.Closed, phase: ConnectionPhase.None }, {}],
    [
      'a connect that was reset',
      { reason: CloseReason.ConnectRefused, phase: ConnectionPhase.Establish, error: 111 },
      {
        'ConnectError client 111': 1,
        [`ResetReceived client ${ConnectionPhase.Establish}`]: 1,
        [`Retransmit client ${RetransmitKind.Syn}`]: 2,
      },
    ],
  ];
  for (const [name, ending, expected] of cases) {
    const shown = Object.entries({ ...expected, 'RttMin client 0': [1, 90_000] });
    const tallied = Object.fromEntries(shown.map(([what, value]) => [`shop > (private) :80: ${what}`, value]));

    test(`${name}, in a Once`, () => {
      const world = new TwoHosts(MODULE);
      const agent = world.agent(1, 'shop');
      const told = onceFrame([once({ open: clientEnd(), totals: last, ...ending })]);
      world.say(agent, told);
      world.close();
      assert.deepEqual(tallies(world), tallied);
      world.say(agent, told);
      world.close();
      assert.deepEqual(tallies(world), {}, 'told again');
    });

    test(`${name}, in a Close`, () => {
      const world = new TwoHosts(MODULE);
      const agent = world.agent(1, 'shop');
      world.say(agent, openFrame([clientEnd({ handle: 1 })]), closeFrame([{ ...close(1, last), ...ending }]));
      world.close();
      assert.deepEqual(tallies(world), tallied);
    });
  }
});

test('of two sessions that tell of one ending in a window, the one that says most counts, in either order', () => {
  const shown = [true, false].map((isOnceFirst) => {
    const world = new TwoHosts(MODULE);
    const [agent, other] = [world.agent(1, 'shop'), world.agent(1, 'shop', { scope: 'netns:1', session: 77n })];
    const at = { joinKey: 7n, startTimeNs: 1_000_000_000n };
    const isReset = { reason: CloseReason.ResetReceived, phase: ConnectionPhase.Transfer };
    const last = totals({ minRttUs: 90 });
    world.say(other, openFrame([clientEnd({ ...at, handle: 1 })]));
    world.close();
    // Nobody looks at the socket when the window begins in which both tell of it.
    world.detach(other, CloseReason.AgentLost);
    world.close();
    const back = world.agent(1, 'shop', { scope: 'netns:1', session: 78n });
    const say = (session: SessionRef, ...frames: Uint8Array[]): void => {
      world.say(session, ...frames);
      world.end(session);
    };
    const told = onceFrame([once({ open: clientEnd(at), endTimeNs: 1_250_000_000n, handshakeUs: 300 })]);
    if (isOnceFirst) say(agent, told);
    say(back, openFrame([clientEnd({ ...at, handle: 1, flags: 1 })]), closeFrame([{ ...close(1, last), ...isReset }]));
    if (!isOnceFirst) say(agent, told);
    world.close();
    return tallies(world);
  });
  const expected = {
    [`shop > (private) :80: Duration client ${CloseReason.Closed}`]: [1, 250_000_000],
    'shop > (private) :80: HandshakeServer client 0': [1, 300_000],
  };
  assert.deepEqual(shown, [expected, expected]);
});

test('a flow beside folds tells its tallies, although its news wait', () => {
  const world = new TwoHosts(MODULE);
  const [client, server] = [world.agent(1, 'shop'), world.agent(2, 'db')];
  const folded = fold({ localAddress: addressOf(2), remoteAddress: addressOf(1), role: Role.Server, sockets: 1 });
  world.say(server, foldFrame([folded]));
  world.say(client, openFrame([clientEnd({ handle: 1, joinKey: 7n })]), tallyFrame([retransmits(1, 3n)]));
  world.close();
  assert.deepEqual(Object.values(tallies(world)), [3]);
  world.say(client, tallyFrame([retransmits(1, 2n)]), closeFrame([close(1, totals())]));
  world.close();
  assert.deepEqual(Object.values(tallies(world)), [2]);
});

test('what a late agent counted is booked into the first open window', () => {
  const world = new TwoHosts(MODULE);
  const agent = world.agent(1, 'shop');
  world.close();
  world.say(agent, tallyFrame([tally(TallyKind.Drop, { count: 6n })]));
  world.end(agent, world.window - 1, world.window - 1);
  world.end(agent);
  world.close();
  assert.deepEqual(Object.values(tallies(world, HOST_LEVEL)), [6]);
});

test('what an agent told that is gone is booked, with or without the end of its window', () => {
  const world = new TwoHosts(MODULE);
  const agent = world.agent(1, 'shop');
  world.say(agent, openFrame([clientEnd({ handle: 1, joinKey: 7n })]), tallyFrame([retransmits(1, 3n)]));
  world.detach(agent, CloseReason.AgentLost);
  world.close();
  assert.deepEqual(Object.values(tallies(world)), [3]);
});

describe('refused', () => {
  const cases: [string, Partial<Tally> & { kind: number }, keyof typeof RefusalReason][] = [
    ['no kind', { kind: 0 }, 'EnumValue'],
    ['a handle that nobody opened', { kind: TallyKind.Retransmit, handle: 4 }, 'UnknownHandle'],
    ['a label that nobody announced', { kind: TallyKind.Drop, label: 4 }, 'UnknownLabel'],
    ['nothing counted', { kind: TallyKind.Drop, count: 0n }, 'Counts'],
    ['a sum of what only counts', { kind: TallyKind.Drop, sum: 1n }, 'Counts'],
    ['more than a host can count', { kind: TallyKind.Drop, count: 1n << 60n }, 'TotalsRate'],
    ['samples of ages', { kind: TallyKind.DnsLookup, sum: 1n << 60n }, 'TotalsRate'],
  ];
  for (const [name, { kind, ...values }, reason] of cases) {
    test(`${name}: ${reason}`, () => {
      const world = new TwoHosts(MODULE);
      world.say(world.agent(1, 'shop'), tallyFrame([tally(TallyKind.Drop), tally(kind, values)]));
      assert.equal(world.fleet.refusals(RefusalReason[reason]), 1);
      world.close();
      assert.deepEqual(tallies(world, HOST_LEVEL), {}, 'the frame is refused as a whole');
    });
  }
});

test('a kind of a later version is passed over and counted, and the rest of its frame is taken', () => {
  const world = new TwoHosts(MODULE);
  world.say(world.agent(1, 'shop'), tallyFrame([tally(63), tally(TallyKind.Drop), tally(999)]));
  assert.equal(world.fleet.counter(ReducerCounter.TalliesIgnored), 2);
  world.close();
  assert.deepEqual(tallies(world, HOST_LEVEL), { 'host-1: Drop host 0': 1 });
});

test('what was told after the last WindowEnd is forgotten at a snapshot, which tells it again', () => {
  const world = new TwoHosts(MODULE);
  const agent = world.agent(1, 'shop');
  const told = [
    openFrame([clientEnd({ handle: 1, joinKey: 7n })]),
    tallyFrame([retransmits(1, 3n), tally(TallyKind.Drop)]),
  ];
  world.say(agent, ...told);
  const again = announceFrame({ addressSpaces: [{ handle: 1, name: 'default' }], labels: [{ handle: 3, text: 'x' }] });
  world.say(agent, snapshotMark(FrameKind.SnapshotBegin, world.window), again);
  world.say(agent, openFrame([clientEnd({ handle: 1, joinKey: 7n, process: 0 })]), told[1]);
  world.close();
  assert.deepEqual(Object.values(tallies(world)), [3]);
  assert.deepEqual(tallies(world, HOST_LEVEL), { 'host-1: Drop host 0': 1 });
});

test('an end that loses its side takes what it told along', () => {
  const world = new TwoHosts(MODULE);
  const agent = world.agent(1, 'shop', { bootId: 9n });
  const open = { handle: 1, joinKey: 7n };
  world.say(agent, openFrame([clientEnd({ ...open, cookie: 50n })]), tallyFrame([retransmits(1, 3n)]));
  world.say(agent, openFrame([clientEnd({ ...open, handle: 2, cookie: 40n })]), tallyFrame([retransmits(2, 5n)]));
  world.close();
  assert.deepEqual(tallies(world), { 'shop > (private) :80: Retransmit client 2': 5 });
  assert.equal(world.fleet.counter(ReducerCounter.TalliesIgnored), 1);
});

test('the end of the role unknown has a side, too', () => {
  const world = new TwoHosts(MODULE);
  const agent = world.agent(1, 'shop');
  world.say(agent, openFrame([clientEnd({ handle: 1, role: Role.Unknown })]), tallyFrame([retransmits(1, 3n)]));
  world.close();
  assert.deepEqual(Object.values(tallies(world)), [3]);
});

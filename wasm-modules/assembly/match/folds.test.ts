import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Role } from '../../../host/wire/gen/kernel-events-layout.ts';
import { ReducerCounter, RefusalReason } from '../../../host/wire/gen/records-layout.ts';
import type { Fold } from '../../../host/wire/gen/wire-layout.ts';
import { announceFrame, fold, foldFrame, SPACE, totals } from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressOf, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
/** Ten windows of linger. */
const MINUTE_NS = 60_000_000_000;
const CLIENT_EDGE = 'host-1/curl > 10.0.0.2 :80';
const SERVER_EDGE = '10.0.0.1 > host-2/nginx :80';

/** A fold of connections from host 1 to port 80 of host 2 that carried `bytes` towards the server. */
function foldOf(role: number, bytes: number, connections: number, values: Partial<Fold> = {}): Fold {
  const isServer = role === Role.Server;
  return fold({
    localAddress: addressOf(isServer ? 2 : 1),
    remoteAddress: addressOf(isServer ? 1 : 2),
    role,
    sockets: connections,
    totals: totals(isServer ? { bytesReceived: BigInt(bytes) } : { bytesSent: BigInt(bytes) }),
    ...values,
  });
}

const clientFold = (bytes: number, connections: number, values?: Partial<Fold>): Uint8Array =>
  foldFrame([foldOf(Role.Client, bytes, connections, values)]);
const serverFold = (bytes: number, connections: number, values?: Partial<Fold>): Uint8Array =>
  foldFrame([foldOf(Role.Server, bytes, connections, values)]);

function watched(windowNs?: number) {
  const hosts = new TwoHosts(MODULE, windowNs);
  const values = windowNs === undefined ? {} : { windowNs: BigInt(windowNs) };
  return { hosts, client: hosts.agent(1, 'curl', values), server: hosts.agent(2, 'nginx', values) };
}

test('connections that both ends folded count once, with a reset and with what only one end knows', () => {
  const { hosts, client, server } = watched();
  hosts.say(server, serverFold(70, 5, { resetsReceived: 1 }));
  hosts.say(client, clientFold(70, 5, { resetsSent: 1, sockets: 7, connections: 5, openings: 5, refused: 2 }));
  assert.deepEqual(hosts.close(), {
    [CLIENT_EDGE]: { forwardBytes: 70, connections: 5, closed: 5, resetsClient: 1, refused: 2, flowsClient: 1 },
  });
  assert.equal(hosts.fleet.counter(ReducerCounter.Folds), 2);
});

test('a fold books what the folds of the other end did not, whichever came first', () => {
  const { hosts, client, server } = watched();
  hosts.say(server, serverFold(70, 5));
  assert.deepEqual(hosts.close(), {
    [SERVER_EDGE]: { forwardBytes: 70, connections: 5, closed: 5, flowsServer: 1 },
  });
  hosts.say(client, clientFold(100, 6));
  assert.deepEqual(hosts.close(), {
    [CLIENT_EDGE]: { forwardBytes: 30, connections: 1, closed: 1, flowsClient: 1 },
  });
  hosts.say(server, serverFold(30, 1));
  assert.deepEqual(hosts.close(), {});
  hosts.say(server, serverFold(1, 1));
  assert.deepEqual(hosts.close(), {
    [SERVER_EDGE]: { forwardBytes: 1, connections: 1, closed: 1, flowsServer: 1 },
  });
});

test('a remainder of several owners is booked on the edge of their address', () => {
  const { hosts, client, server } = watched();
  const other = hosts.agent(3, 'wget');
  hosts.say(server, serverFold(70, 5));
  hosts.close();
  hosts.say(client, clientFold(40, 4));
  hosts.say(other, clientFold(50, 2));
  assert.deepEqual(hosts.close(), {
    '10.0.0.1 > 10.0.0.2 :80': { forwardBytes: 20, connections: 1, closed: 1, flowsClient: 1 },
  });
});

test('folds that do not name one pair alike are booked as they are', () => {
  for (const [reason, values] of [
    ['an address was translated', { remoteAddress: addressOf(9) }],
    ['another port', { serverPort: 81 }],
    ['another protocol', { protocol: 17 }],
    ['no port', { serverPort: 0 }],
  ] as const) {
    const { hosts, client, server } = watched();
    hosts.say(client, clientFold(70, 5));
    hosts.say(server, serverFold(70, 5, values));
    const bytes = Object.values(hosts.close()).reduce((sum, { forwardBytes }) => sum + forwardBytes, 0);
    assert.equal(bytes, 140, reason);
  }
});

test('a fold with the address of another host is refused, and takes nothing of what that host tells', () => {
  const { hosts, client, server } = watched();
  const liar = hosts.agent(3, 'evil');
  hosts.say(client, announceFrame({ hostAddresses: [{ address: addressOf(1), addressSpace: SPACE }] }));
  hosts.close();
  hosts.close();
  hosts.say(liar, clientFold(70, 5));
  hosts.say(server, serverFold(40, 3));
  assert.deepEqual(hosts.close(), {
    'host-1 > host-2/nginx :80': { forwardBytes: 40, connections: 3, closed: 3, flowsServer: 1 },
  });
  assert.equal(hosts.fleet.refusals(RefusalReason.ForeignAddress), 1);
  hosts.say(client, clientFold(70, 5));
  assert.deepEqual(hosts.close(), {
    [CLIENT_EDGE]: { forwardBytes: 30, connections: 2, closed: 2, flowsClient: 1 },
  });
});

test('what one end folded is known for ten minutes of windows, and forgotten afterwards', () => {
  for (const [windows, edges] of [
    [9, []],
    [10, [SERVER_EDGE]],
  ] as const) {
    const { hosts, client, server } = watched(MINUTE_NS);
    hosts.say(client, clientFold(70, 5));
    for (let window = 0; window <= windows; window++) hosts.close();
    hosts.say(server, serverFold(70, 5));
    assert.deepEqual(Object.keys(hosts.close()), edges, `after ${windows} windows`);
  }
});

test('random folds of both ends add up to the greater sum of each pair, alike for any number of workers', () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  const plan = drawFolds(seed);
  const [first, ...others] = [1, 2, 4].map((workers) => playFolds(plan, workers));
  for (const other of others) assert.deepEqual(other, first, `SEED=${seed}`);
  const told = new Map<number, [client: number, server: number]>();
  plan.forEach((folds, window) => {
    for (const { port, isServer, bytes } of folds) {
      const sums = told.get(port) ?? [0, 0];
      sums[isServer ? 1 : 0] += bytes;
      told.set(port, sums);
    }
    const expected = [...told.values()].reduce((sum, sums) => sum + Math.max(...sums), 0);
    const booked = first.slice(0, window + 1).flatMap((edges) => Object.values(edges));
    const bytes = booked.reduce((sum, { forwardBytes = 0 }) => sum + forwardBytes, 0);
    assert.equal(bytes, expected, `window ${window}, SEED=${seed}`);
  });
});

interface PlannedFold {
  port: number;
  isServer: boolean;
  isSecondOwner: boolean;
  bytes: number;
}

function drawFolds(seed: number): PlannedFold[][] {
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  return Array.from({ length: 12 }, () =>
    Array.from({ length: below(30) }, () => ({
      port: 80 + below(6),
      isServer: below(2) === 1,
      isSecondOwner: below(3) === 0,
      bytes: 1 + below(100),
    })),
  );
}

/** What each window shows. Every other worker count tells each window backwards. */
function playFolds(plan: PlannedFold[][], workers: number): ReturnType<TwoHosts['close']>[] {
  const hosts = new TwoHosts(MODULE, undefined, { workers, seed: workers });
  const units = ['curl', 'nginx', 'wget', 'caddy'];
  const agents = units.map((unit, index) => hosts.agent(index + 1, unit));
  return plan.map((folds) => {
    for (const { port, isServer, isSecondOwner, bytes } of workers === 2 ? folds.toReversed() : folds) {
      const agent = agents[(isServer ? 1 : 0) + (isSecondOwner ? 2 : 0)];
      hosts.say(agent, (isServer ? serverFold : clientFold)(bytes, 1, { serverPort: port }));
    }
    return hosts.close();
  });
}

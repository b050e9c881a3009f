import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level, ReducerCounter } from '../../../host/wire/gen/records-layout.ts';
import { hello } from '../../../host/wire/testing/hello.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import {
  announceFrame,
  close,
  closeFrame,
  once,
  onceFrame,
  openFrame,
  process,
  SPACE,
  totals,
  windowEnd,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { ReducerFleet } from '../../testing/reducer-fleet.ts';
import { clientEnd, serverEnd } from '../../testing/two-hosts.ts';
import { mergeOutputs } from '../../testing/window-output.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const FIRST_WINDOW = 3000;
const WINDOWS = 4;
/** Enough that a shard's list needs a second block now and then. */
const CONNECTIONS = 6000;

/** How the two ends of a connection are told. */
type Telling = { key: bigint; bytes: bigint; client: 'once' | 'open' | 'none'; server: 'once' | 'late' | 'none' };

function planOf(random: Random): Telling[] {
  return Array.from({ length: CONNECTIONS }, (_, index) => ({
    key: (BigInt(random.uint32()) << 32n) | BigInt(index + 1),
    bytes: BigInt(1 + random.below(1000)),
    client: random.chance(0.8) ? 'once' : random.chance(0.7) ? 'open' : 'none',
    server: random.chance(0.8) ? 'once' : random.chance(0.7) ? 'late' : 'none',
  }));
}

/** Sums over the windows of the one edge of the coarsest level, and flows that are left when all is committed. */
function run(plans: Telling[][], workers: number, budget: number) {
  const fleet = new ReducerFleet(MODULE, { openWindow: FIRST_WINDOW, workers });
  const agents = [1, 2].map((host) => {
    const identity = { nodeId: BigInt(host), bootId: BigInt(host), session: BigInt(host), nodeName: `host-${host}` };
    const ref = fleet.open(host % workers, hello(identity));
    const addressSpaces = [{ handle: SPACE, name: 'default' }];
    fleet.tell(ref, announceFrame({ addressSpaces, processes: [process(1, { unit: `unit-${host}` })] }));
    return ref;
  });
  const sums = { forwardBytes: 0n, connections: 0n, closed: 0n };
  for (let window = 0; window < plans.length + 2; window++) {
    const now = plans[window] ?? [];
    const before = plans[window - 1] ?? [];
    const opens = now.filter(({ client }) => client === 'open');
    const client = (joinKey: bigint) => clientEnd({ joinKey, cookie: joinKey });
    const server = (joinKey: bigint) => serverEnd({ joinKey, cookie: joinKey });
    const received = (bytes: bigint) => totals({ bytesReceived: bytes });
    const frames = [
      [
        openFrame(opens.map(({ key }, index) => ({ ...client(key), handle: index + 1 }))),
        ...batches(
          now
            .filter(({ client }) => client === 'once')
            .map(({ key, bytes }) => once({ open: client(key), totals: totals({ bytesSent: bytes }) })),
        ),
        closeFrame(opens.map(({ bytes }, index) => close(index + 1, totals({ bytesSent: bytes })))),
      ],
      batches(
        [...now.filter(({ server }) => server === 'once'), ...before.filter(({ server }) => server === 'late')].map(
          ({ key, bytes }) => once({ open: server(key), totals: received(bytes) }),
        ),
      ),
    ];
    agents.forEach((agent, index) => {
      for (const frame of [...frames[index], windowEnd(FIRST_WINDOW + window)]) fleet.tell(agent, frame);
    });
    for (let worker = 0; worker < workers; worker++) fleet.call(worker, 'match_committed', FIRST_WINDOW + window - 2);
    const points = mergeOutputs(fleet.close(FIRST_WINDOW + window, budget));
    for (const { level, fields } of points) {
      if (level !== Level.RoleRole) continue;
      for (const name of ['forwardBytes', 'connections', 'closed'] as const) sums[name] += fields.get(name) ?? 0n;
    }
  }
  const counter = (which: number) => fleet.counter(which);
  return { ...sums, joined: counter(ReducerCounter.FlowsJoined), refused: counter(ReducerCounter.ClaimsRefused) };
}

function batches(onces: ReturnType<typeof once>[]): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < onces.length; at += 1000) frames.push(onceFrame(onces.slice(at, at + 1000)));
  return frames;
}

test('connections of one window, told by either end as Once, Open or later, are each booked once, however the close is sliced', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const plans = Array.from({ length: WINDOWS }, () => planOf(random));
  const seen = plans.flat().filter(({ client, server }) => client !== 'none' || server !== 'none');
  const both = seen.filter(({ client, server }) => client !== 'none' && server !== 'none');
  const expected = {
    forwardBytes: seen.reduce((sum, { bytes }) => sum + bytes, 0n),
    connections: BigInt(seen.length),
    closed: BigInt(seen.length),
    joined: both.length,
    refused: 0,
  };
  for (const [workers, budget] of [
    [1, 4096],
    [1, 7],
    [2, 64],
    [4, 100_000],
  ])
    assert.deepEqual(run(plans, workers, budget), expected, `${workers} workers, ${budget} flows at a time`);
});

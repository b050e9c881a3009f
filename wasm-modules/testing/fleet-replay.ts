// Random fleets on reducer.wasm, in random interleaving, beside the naive ledger.
import assert from 'node:assert/strict';
import { Level, ReducerCounter } from '../../host/wire/gen/records-layout.ts';
import { Random } from '../../schemas/testing/random.ts';
import { planFleet } from './fleet-plan.ts';
import { NaiveLedger, type Teller, type Told } from './naive-ledger.ts';
import type { PlannedWindow, Step } from './planned-agent.ts';
import { ReducerFleet, type SessionRef } from './reducer-fleet.ts';
import { HOST_LEVEL, mergeOutputs, type Point, printPoint } from './window-output.ts';

const OPEN_WINDOW = 5000;
const WINDOWS = 30;

/** The fleet that the seed gives. */
export function planOf(seed: number): PlannedWindow[] {
  return planFleet(new Random(seed), OPEN_WINDOW, WINDOWS);
}

/** Histograms have their own test; the least and greatest RTT follow from the same samples. */
const NOT_COMPARED = new Set(['rttMinUs', 'rttMaxUs']);

interface Stream {
  session: bigint;
  steps: Step[];
}

interface Replay {
  lines: string[][];
  edges: Map<string, Map<string, bigint>>[];
  tellers: Map<bigint, Teller>;
  fleet: ReducerFleet;
}

/** Runs the plan; `random` decides workers of sessions, interleaving and the portions that cross. */
export function replay(module: WebAssembly.Module, plan: PlannedWindow[], workers: number, random: Random): Replay {
  const fleet = new ReducerFleet(module, { workers, seed: random.uint32(), openWindow: OPEN_WINDOW, random });
  const sessions = new Map<bigint, SessionRef>();
  const tellers = new Map<bigint, Teller>();
  const run = (session: bigint, step: Step): void => {
    if (step.kind === 'hello') {
      const ref = fleet.open(sessions.get(session)?.worker ?? random.below(workers), step.hello);
      sessions.set(session, ref);
      const { identity } = fleet.state(ref);
      tellers.set(session, { identity, boot: step.hello.nodeId, session });
    } else if (step.kind === 'frames') fleet.tell(sessions.get(session)!, step.bytes);
    else fleet.detach(sessions.get(session)!, step.reason);
  };
  const streamsOf = (planned: PlannedWindow | undefined): Stream[] =>
    [...(planned?.steps ?? [])].map(([session, steps]) => ({ session, steps: [...steps] }));
  const runNext = (streams: Stream[], stream: Stream): void => {
    run(stream.session, stream.steps.shift()!);
    if (stream.steps.length === 0) streams.splice(streams.indexOf(stream), 1);
  };
  let streams = streamsOf(plan[0]);
  const outputs = plan.map(({ window }, index) => {
    while (streams.length > 0) runNext(streams, random.pick(streams));
    streams = streamsOf(plan[index + 1]);
    // A worker that is ahead reads on while others still close the window.
    const readAhead = (worker: number): void => {
      const own = () => streams.filter(({ session }) => sessions.get(session)?.worker === worker);
      while (own().length > 0 && random.chance(0.8)) runNext(streams, random.pick(own()));
    };
    return mergeOutputs(fleet.close(window, 1 + random.below(50), readAhead));
  });
  return { lines: outputs.map((points) => points.map(printPoint)), edges: outputs.map(edgesOf), tellers, fleet };
}

function edgesOf(points: Point[]): Map<string, Map<string, bigint>> {
  const finest = points.filter(({ level }) => level === Level.IdId || level === HOST_LEVEL);
  return new Map(
    finest.map((point) => [
      point.level === HOST_LEVEL
        ? `host ${point.client.id}`
        : `${point.client.id} -> ${point.server.id} :${point.serverPort}`,
      new Map([...namedCounts(point)].filter(([name, value]) => value !== 0n && !NOT_COMPARED.has(name))),
    ]),
  );
}

function namedCounts({ fields, tallies }: Point): [string, bigint][] {
  const counts = [...tallies].flatMap(([key, { count, sum }]): [string, bigint][] => [
    [`tally ${key}`, count],
    [`tally ${key} ns`, sum],
  ]);
  return [...fields, ...counts];
}

function sorted(edges: Map<string, Map<string, bigint>>): string[] {
  return [...edges]
    .map(
      ([edge, sums]) =>
        `${edge} ${[...sums]
          .filter(([, value]) => value !== 0n)
          .map((one) => one.join('='))
          .sort()
          .join(' ')}`,
    )
    .sort();
}

/** Says the first line that differs: a diff of thousands of lines takes minutes. */
export function assertSame(actual: string[], expected: string[], what: string): void {
  const index = actual.findIndex((line, at) => line !== expected[at]);
  if (index !== -1 || actual.length !== expected.length) {
    const at = index === -1 ? actual.length : index;
    assert.equal(actual[at] ?? '(nothing)', expected[at] ?? '(nothing)', `${what}, line ${at}`);
  }
}

/** Throws AssertionError when the module books, counts or refuses in another way than the naive ledger. */
export function checkAgainstNaive(module: WebAssembly.Module, seed: number): void {
  const plan = planOf(seed);
  const { edges, tellers, fleet } = replay(module, plan, 1 + (seed % 3), new Random(seed + 1));
  assert.equal(fleet.counter(ReducerCounter.FramesRefused), 0, `SEED=${seed}: frames were refused`);
  const naive = new NaiveLedger();
  plan.forEach(({ window, told }, index) => {
    const items = told.map(
      (item): Told => ('session' in item ? { ...item, teller: tellers.get(item.session)! } : item),
    );
    const expected = naive.close(window, items);
    assertSame(sorted(edges[index]), sorted(expected), `SEED=${seed}, window ${window}`);
  });
  // A socket that was told twice before it lost its side is one loss, or two when it came second.
  const refused = fleet.counter(ReducerCounter.ClaimsRefused);
  assert(
    refused <= naive.refused && refused >= naive.refused / 2,
    `SEED=${seed}: ${refused} of ${naive.refused} claims`,
  );
}

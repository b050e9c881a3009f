import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Instant } from '../lib/clock.ts';
import { seededRandom } from '../lib/random.ts';
import { RECONNECT_MAX_MS, SILENCE_MS_MAX } from '../wire/agent-channel.ts';
import { CloseReason } from '../wire/gen/kernel-events-layout.ts';
import { GoodbyeReason } from '../wire/gen/wire-layout.ts';
import type { Hello } from '../wire/gen/wire-tables.ts';
import {
  Coordinator,
  type CoordinatorAction,
  type CoordinatorOptions,
  RECOVERY_MS,
  SESSION_GRACE_MS,
} from './coordinator.ts';
import { type Admission, connectionId } from './messages.ts';
import { hello } from './testing/told.ts';
import { LATE_COUNT_MAX } from './watermark.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const WINDOW_MS = 10_000;
const LATENESS_MS = 5_000;
/** Start of the reducer: the middle of this window. */
const FIRST = 100;
const START_MS = FIRST * WINDOW_MS + WINDOW_MS / 2;
const INCARNATION = 77n;

function at(ms: number): Instant {
  return { ms, unixNs: BigInt(Math.round(ms)) * 1_000_000n };
}

/** A coordinator whose workers close windows at once unless told otherwise, and what came out of it. */
class Bench {
  nowMs = START_MS;
  readonly coordinator: Coordinator;
  readonly workers: number;
  answersSeals = true;
  readonly sealed: { window: number; atMs: number; isLate: boolean }[] = [];
  /** Of each seal. */
  readonly forgotten: number[] = [];
  readonly committed: number[] = [];
  readonly admissions: (Admission & { worker: number })[] = [];
  readonly refusals: { connection: number; reason: GoodbyeReason }[] = [];
  readonly detached: { twin: number; reason: number; worker: number }[] = [];
  readonly disconnected: number[] = [];
  readonly parted: string[] = [];
  #nextConnection = 1;

  constructor(workers = 2, options: Partial<CoordinatorOptions> = {}) {
    this.workers = workers;
    const times = { windowNs: BigInt(WINDOW_MS) * 1_000_000n, latenessNs: BigInt(LATENESS_MS) * 1_000_000n };
    this.coordinator = new Coordinator({
      ...{ workers, incarnation: INCARNATION, start: at(START_MS) },
      ...times,
      ...options,
    });
  }

  /** Time passes in steps of at most 50 ms, as the engine ticks. */
  until(ms: number): void {
    while (this.nowMs < ms) {
      this.nowMs = Math.min(ms, this.nowMs + 50);
      this.perform(this.coordinator.tick(at(this.nowMs)));
    }
  }

  say(said: Hello, worker = 0, names?: string[]): number {
    const connection = connectionId(worker, this.#nextConnection++);
    const certificate = names && { names, serial: '01', expires: '' };
    const origin = { peer: '10.0.0.1:1', certificate };
    const message = { kind: 'hello', connection, hello: said, payload: new Uint8Array(8), origin } as const;
    this.perform(this.coordinator.receive(worker, message, at(this.nowMs)));
    return connection;
  }

  /** Says hello after the recovery period and returns its admission. */
  join(said: Hello, worker = 0): Admission & { worker: number } {
    const connection = this.say(said, worker);
    const admission = this.admissions.find((each) => each.connection === connection);
    assert.ok(admission !== undefined, `${said.nodeName} was not admitted`);
    return admission;
  }

  tell({ twin, worker }: { twin: number; worker: number }, window: number): void {
    this.perform(this.coordinator.receive(worker, { kind: 'told', twin, window }, at(this.nowMs)));
  }

  leave({ twin, worker, connection }: Admission & { worker: number }, goodbye = false): void {
    this.perform(this.coordinator.receive(worker, { kind: 'left', twin, connection, goodbye }, at(this.nowMs)));
  }

  /** The worker has told its agents of the commit. */
  confirm(worker: number, window: number): void {
    this.perform(this.coordinator.receive(worker, { kind: 'committed', window }, at(this.nowMs)));
  }

  answer(worker: number, window: number): void {
    const message = { kind: 'closed', window, output: new Uint8Array(8) } as const;
    this.perform(this.coordinator.receive(worker, message, at(this.nowMs)));
  }

  perform(actions: readonly CoordinatorAction[]): void {
    for (const action of actions) {
      if (action.kind === 'closed') {
        const sealed = this.sealed.find(({ window }) => window === action.window);
        assert.ok(sealed !== undefined && action.outputs.length === this.workers);
        sealed.isLate = action.isLate;
      } else if (action.kind === 'committed') this.committed.push(action.window);
      else if (action.kind === 'parted') this.parted.push(action.reason);
      else if (action.kind === 'tell') this.#order(action.worker, action.message);
      else if (action.kind === 'tell_all' && action.message.kind === 'seal') this.#seal(action.message);
    }
  }

  #order(worker: number, message: (CoordinatorAction & { kind: 'tell' })['message']): void {
    if (message.kind === 'admit') this.admissions.push({ ...message.admission, worker });
    else if (message.kind === 'refuse') this.refusals.push(message);
    else if (message.kind === 'detach') this.detached.push({ ...message, worker });
    else if (message.kind === 'disconnect') this.disconnected.push(message.connection);
  }

  #seal({ window, forgotten }: { window: number; forgotten: number }): void {
    assert.equal(window, (this.sealed.at(-1)?.window ?? FIRST - 1) + 1, 'windows are sealed one after the other');
    this.sealed.push({ window, atMs: this.nowMs, isLate: false });
    this.forgotten.push(forgotten);
    if (this.answersSeals) for (let worker = 0; worker < this.workers; worker++) this.answer(worker, window);
  }
}

function endOf(window: number): number {
  return (window + 1) * WINDOW_MS;
}

/** A bench past its recovery period, with agents a, b, … of distinct sessions. */
function benchOf(...names: string[]): { bench: Bench; agents: (Admission & { worker: number })[] } {
  const bench = new Bench();
  bench.until(START_MS + RECOVERY_MS);
  const agents = names.map((name, index) => bench.join(hello(name, BigInt(index + 1), { firstWindow: FIRST })));
  return { bench, agents };
}

test('the recovery period outlasts the back-off of an agent and a connect with a handshake, and ends before its patience', () => {
  const CONNECT_MS_MAX = 900;
  assert.ok(RECOVERY_MS > RECONNECT_MAX_MS + CONNECT_MS_MAX);
  assert.ok(RECOVERY_MS + CONNECT_MS_MAX < SILENCE_MS_MAX);
});

test('without a recovery period an agent is answered at once, and the first window closes after the lateness', () => {
  const bench = new Bench(2, { recoveryMs: 0 });
  bench.coordinator.beginListening();
  const connection = bench.say(hello('a', 1n));
  assert.equal(bench.admissions.length, 0);
  bench.coordinator.listening(at(START_MS));
  bench.until(START_MS + 50);
  const [admission] = bench.admissions;
  assert.deepEqual([admission.connection, admission.heldMs], [connection, 50]);
  bench.leave(admission);
  bench.until(START_MS + LATENESS_MS - 50);
  assert.equal(bench.sealed.length, 0);
  bench.until(START_MS + LATENESS_MS);
  assert.equal(bench.sealed.length, 1);
});

test('the recovery period begins when agents can reach the reducer, however long that takes', () => {
  const bench = new Bench();
  bench.coordinator.beginListening();
  bench.until(START_MS + 3 * WINDOW_MS);
  bench.say(hello('a', 1n));
  bench.until(START_MS + 4 * WINDOW_MS);
  const listeningMs = bench.nowMs;
  bench.coordinator.listening(at(listeningMs));
  bench.until(listeningMs + RECOVERY_MS - 50);
  assert.deepEqual([bench.admissions.length, bench.sealed.length], [0, 0]);
  bench.until(listeningMs + RECOVERY_MS);
  assert.equal(bench.admissions.length, 1);
  bench.until(listeningMs + RECOVERY_MS + LATENESS_MS - 50);
  assert.equal(bench.sealed.length, 0);
  bench.until(listeningMs + RECOVERY_MS + LATENESS_MS);
  assert.ok(bench.sealed.length > 0);
});

test('without agents windows close by time, the first one after recovery and lateness', () => {
  const bench = new Bench();
  bench.until(endOf(FIRST + 2));
  const times = bench.sealed.map(({ window, atMs, isLate }) => [window, atMs, isLate]);
  assert.deepEqual(times, [
    [FIRST, START_MS + RECOVERY_MS + LATENESS_MS, false],
    [FIRST + 1, endOf(FIRST + 1), false],
    [FIRST + 2, endOf(FIRST + 2), false],
  ]);
});

test('a window closes when its last agent has told it, but never before its end', () => {
  const { bench, agents } = benchOf('a', 'b');
  bench.until(endOf(FIRST) + 2_000);
  bench.tell(agents[0], FIRST);
  bench.until(endOf(FIRST) + 3_000);
  assert.deepEqual(bench.sealed, []);
  bench.tell(agents[1], FIRST);
  assert.deepEqual(bench.sealed, [{ window: FIRST, atMs: bench.nowMs, isLate: false }]);
  for (const agent of agents) bench.tell(agent, FIRST + 3);
  bench.until(endOf(FIRST + 3));
  assert.deepEqual(
    bench.sealed.slice(1).map(({ atMs }) => atMs),
    [FIRST + 1, FIRST + 2, FIRST + 3].map(endOf),
  );
});

for (const windowMs of [1_000, 60_000, 300_000]) {
  test(`windows of ${windowMs / 1_000} s close when all agents told them, late without one that is silent, and soon without one that is gone`, () => {
    const latenessMs = 500;
    const start = at((FIRST + 0.5) * windowMs);
    const times = { windowNs: BigInt(windowMs) * 1_000_000n, latenessNs: BigInt(latenessMs) * 1_000_000n };
    const bench = new Bench(2, { ...times, start, recoveryMs: 0 });
    bench.nowMs = start.ms;
    const [prompt, silent] = [1n, 2n].map((session) =>
      bench.join(hello(`n${session}`, session, { firstWindow: FIRST })),
    );
    const ahead = bench.join(hello('ahead', 3n, { firstWindow: FIRST + 3_600 }));
    assert.equal(ahead.firstWindow, FIRST);
    const tell = (agents: { twin: number; worker: number }[], window: number): void => {
      bench.until((window + 1) * windowMs + 200);
      for (const agent of agents) bench.tell(agent, window);
    };
    tell([prompt, silent, ahead], FIRST);
    tell([prompt, ahead], FIRST + 1);
    bench.until((FIRST + 2) * windowMs + latenessMs);
    bench.leave(silent);
    tell([prompt, ahead], FIRST + 2);
    assert.deepEqual(
      bench.sealed.map(({ window, atMs, isLate }) => [window, atMs - (window + 1) * windowMs, isLate]).slice(0, 2),
      [
        [FIRST, 200, false],
        [FIRST + 1, latenessMs, true],
      ],
    );
    const last = bench.sealed.at(-1);
    assert.deepEqual([last?.window, last?.atMs, last?.isLate], [FIRST + 2, (FIRST + 3) * windowMs + 200, false]);
  });
}

test('an agent that is late three times in a row is not waited for until it has caught up', () => {
  const { bench, agents } = benchOf('prompt', 'slow');
  const [prompt, slow] = agents;
  for (let window = FIRST; window <= FIRST + 5; window++) {
    bench.until(endOf(window));
    bench.tell(prompt, window);
    bench.until(endOf(window) + LATENESS_MS);
  }
  const delays = bench.sealed.map(({ window, atMs }) => atMs - endOf(window));
  assert.deepEqual(delays, [LATENESS_MS, LATENESS_MS, LATENESS_MS, 0, 0, 0]);
  assert.deepEqual(
    bench.sealed.map(({ isLate }) => isLate),
    [true, true, true, false, false, false],
  );
  bench.tell(slow, FIRST + 5);
  bench.tell(prompt, FIRST + 6);
  bench.until(endOf(FIRST + 6) + LATENESS_MS);
  const { atMs, isLate } = bench.sealed.at(-1) ?? assert.fail();
  assert.deepEqual([atMs, isLate], [endOf(FIRST + 6) + LATENESS_MS, true], 'it is waited for again');
});

test('lateness counts only in a row', () => {
  const { bench, agents } = benchOf('prompt', 'moody');
  const isLate = [true, true, false, true, true, false, true];
  for (const [index, late] of isLate.entries()) {
    bench.until(endOf(FIRST + index));
    bench.tell(agents[0], FIRST + index);
    if (!late) bench.tell(agents[1], FIRST + index);
    bench.until(endOf(FIRST + index) + LATENESS_MS);
  }
  assert.deepEqual(
    bench.sealed.map((seal) => seal.isLate),
    isLate,
  );
});

test('an agent that leaves holds nobody back', () => {
  const { bench, agents } = benchOf('a', 'b');
  bench.until(START_MS + RECOVERY_MS + LATENESS_MS);
  bench.tell(agents[0], FIRST);
  assert.equal(bench.sealed.length, 0);
  bench.leave(agents[1]);
  assert.equal(bench.sealed.length, 1);
});

test('a window is closed when every worker has put it out, and only then is the next one sealed', () => {
  const bench = new Bench();
  bench.answersSeals = false;
  bench.until(endOf(FIRST + 3));
  assert.equal(bench.sealed.length, 1);
  bench.answer(1, FIRST);
  assert.equal(bench.sealed.length, 1);
  bench.answer(0, FIRST);
  assert.deepEqual(
    bench.sealed.map(({ window }) => window),
    [FIRST, FIRST + 1],
  );
  assert.throws(() => bench.answer(0, FIRST), /worker 0 closed window/);
});

test('commits rise once every worker has told its agents, and nothing is committed that is not closed', () => {
  const bench = new Bench();
  bench.until(endOf(FIRST + 2));
  bench.perform(bench.coordinator.exported(FIRST + 1));
  bench.perform(bench.coordinator.exported(FIRST));
  for (let worker = 0; worker < bench.workers; worker++) {
    assert.deepEqual(bench.committed, [], 'a worker is still silent');
    bench.confirm(worker, FIRST + 1);
  }
  assert.deepEqual(bench.committed, [FIRST + 1]);
  bench.perform(bench.coordinator.exported(FIRST + 2));
  for (let worker = 0; worker < bench.workers; worker++) bench.confirm(worker, FIRST + 2);
  assert.deepEqual(bench.committed, [FIRST + 1, FIRST + 2]);
  assert.throws(() => bench.coordinator.exported(FIRST + 3), /was exported/);
});

test('what a snapshot may tell again is not forgotten before the snapshot has been told', () => {
  const { bench, agents } = benchOf('a', 'b');
  const sealAfterExport = (exported: number): number | undefined => {
    bench.perform(bench.coordinator.exported(exported));
    bench.until(endOf(bench.coordinator.openWindow) + LATENESS_MS);
    return bench.forgotten.at(-1);
  };
  const startAnew = (firstWindow: number): void => {
    bench.leave(agents[0]);
    bench.join(hello('a', 1n, { incarnation: 0n, firstWindow }));
  };
  bench.until(endOf(FIRST + 2) + LATENESS_MS);
  assert.equal(sealAfterExport(FIRST), FIRST);
  startAnew(FIRST + 2);
  assert.equal(sealAfterExport(FIRST + 1), FIRST, 'the Welcome of the snapshot knew no more');
  startAnew(FIRST + 3);
  assert.equal(sealAfterExport(FIRST + 2), FIRST, 'the twin may hold a part of the first snapshot');
  bench.tell(agents[0], FIRST + 2);
  assert.equal(sealAfterExport(FIRST + 3), FIRST, 'an older channel told that');
  bench.tell(agents[0], FIRST + 3);
  assert.equal(sealAfterExport(FIRST + 4), FIRST + 4);
  startAnew(FIRST + 4);
  assert.equal(sealAfterExport(FIRST + 5), FIRST + 4);
  bench.leave(agents[0], true);
  assert.equal(sealAfterExport(FIRST + 6), FIRST + 6, 'it said goodbye');
});

test('during recovery nobody is answered; then everybody learns what anybody knows of the incarnation it spoke to', () => {
  const bench = new Bench();
  const before = { incarnation: 5n, firstWindow: FIRST };
  bench.say(hello('a', 1n, { ...before, committedClosedWindow: FIRST - 3 }));
  bench.say(hello('b', 2n, { ...before, committedClosedWindow: FIRST - 4 }));
  bench.say(hello('other', 3n, { incarnation: 6n, firstWindow: FIRST, committedClosedWindow: FIRST - 9 }));
  bench.say(hello('liar', 4n, { ...before, committedClosedWindow: FIRST + 1_000 }));
  bench.until(START_MS + RECOVERY_MS - 50);
  assert.deepEqual(bench.admissions, []);
  bench.until(START_MS + RECOVERY_MS);
  assert.deepEqual(
    bench.admissions.map(({ committedClosedWindow }) => committedClosedWindow - FIRST),
    [-3, -3, -9, -3],
  );
  assert.deepEqual(new Set(bench.admissions.map(({ heldMs }) => heldMs)), new Set([RECOVERY_MS]));
});

test('nobody is late for windows that ended before the first Welcome', () => {
  const bench = new Bench();
  bench.coordinator.beginListening();
  bench.say(hello('a', 1n, { firstWindow: FIRST }));
  bench.until(START_MS + LATE_COUNT_MAX * WINDOW_MS);
  bench.coordinator.listening(at(bench.nowMs));
  const open = FIRST + LATE_COUNT_MAX;
  bench.until(endOf(open) + LATENESS_MS - 50);
  assert.deepEqual(
    bench.sealed.map(({ isLate }) => isLate),
    new Array(LATE_COUNT_MAX).fill(true),
  );
  bench.until(endOf(open) + LATENESS_MS);
  assert.equal(bench.sealed.length, LATE_COUNT_MAX + 1, 'it is still waited for');
});

test('a session resumes at the worker of its twin, whoever accepted the connection', () => {
  const { bench, agents } = benchOf('a', 'b');
  assert.deepEqual(
    agents.map(({ worker }) => worker),
    [0, 1],
    'twins are spread',
  );
  bench.leave(agents[0]);
  const again = bench.join(hello('a', 1n, { incarnation: INCARNATION, firstWindow: FIRST }), 1);
  assert.deepEqual([again.twin, again.worker, again.resume], [agents[0].twin, 0, true]);
  const stranger = bench.join(hello('b', 2n, { incarnation: 0n, firstWindow: FIRST }), 1);
  assert.deepEqual([stranger.twin, stranger.resume], [agents[1].twin, false], 'a channel that starts anew');
  assert.deepEqual(bench.disconnected, [agents[1].connection]);
});

test('workers keep the agents that they accept, and hand them over when one has an eighth more than another', () => {
  const { bench } = benchOf();
  const loads = [0, 0];
  let handedOver = 0;
  const join = (acceptor: number): void => {
    const id = loads[0] + loads[1] + 1;
    const { worker } = bench.join(hello(`n${id}`, BigInt(id), { firstWindow: FIRST }), acceptor);
    loads[worker]++;
    if (worker !== acceptor) handedOver++;
  };
  for (let agent = 0; agent < 10; agent++) join(0);
  assert.deepEqual([loads, handedOver], [[5, 5], 5], 'few agents are spread one by one');
  for (let agent = 0; agent < 190; agent++) join(Math.floor(agent / 2) % 2);
  const handedOverBefore = handedOver;
  for (let agent = 0; agent < 200; agent++) join(Math.floor(agent / 5) % 2);
  assert.equal(handedOver, handedOverBefore, 'runs of five are no uneven spread among a hundred each');
  for (let agent = 0; agent < 200; agent++) join(0);
  assert.ok(loads[0] > loads[1] && loads[0] <= 1 + loads[1] * 1.125, `${loads}`);
});

test('an agent that restarted takes over when it has told its first window; a second live one is refused', () => {
  const { bench, agents } = benchOf('a');
  const twinOfA = hello('a', 9n, { firstWindow: FIRST });
  bench.say(twinOfA);
  assert.deepEqual(
    bench.refusals.map(({ reason }) => reason),
    [GoodbyeReason.DuplicateAgent],
  );
  bench.leave(agents[0]);
  const successor = bench.join(twinOfA);
  assert.deepEqual(bench.detached, []);
  bench.tell(successor, FIRST);
  assert.deepEqual(
    bench.detached.map(({ twin, reason }) => [twin, reason]),
    [[agents[0].twin, CloseReason.AgentRestart]],
  );
});

test('a session without a connection is kept for its grace, then its sockets are nobody’s', () => {
  const { bench, agents } = benchOf('a', 'b');
  bench.leave(agents[0]);
  bench.leave(agents[1], true);
  assert.deepEqual(bench.parted, ['disconnected', 'goodbye']);
  bench.until(bench.nowMs + SESSION_GRACE_MS - 100);
  assert.deepEqual(bench.detached, []);
  bench.until(bench.nowMs + 100);
  assert.deepEqual(
    bench.detached.map(({ twin, reason }) => [twin, reason]),
    [[agents[0].twin, CloseReason.AgentLost]],
  );
});

test('an agent whose clock is ahead is waited for in the present', () => {
  const { bench } = benchOf();
  const ahead = bench.join(hello('a', 1n, { firstWindow: FIRST + 360 }));
  assert.equal(ahead.firstWindow, FIRST);
  bench.until(endOf(FIRST) + LATENESS_MS);
  assert.equal(bench.sealed[0].isLate, true);
});

test('after stop nobody is admitted and nothing is sealed', () => {
  const { bench } = benchOf();
  bench.coordinator.stop(at(bench.nowMs));
  bench.say(hello('a', 1n));
  assert.deepEqual(
    bench.refusals.map(({ reason }) => reason),
    [GoodbyeReason.ReducerStopping],
  );
  bench.until(endOf(FIRST + 3));
  assert.deepEqual(bench.sealed, []);
});

test('a stop closes the open window early when all who told it said goodbye', () => {
  const { bench, agents } = benchOf('a', 'b');
  for (const agent of agents) bench.tell(agent, FIRST);
  for (const agent of agents) bench.leave(agent, true);
  assert.deepEqual(bench.sealed, []);
  bench.coordinator.stop(at(bench.nowMs));
  assert.equal(bench.coordinator.isIdle, false);
  bench.until(bench.nowMs + 50);
  assert.deepEqual(
    bench.sealed.map(({ window, isLate }) => [window, isLate]),
    [[FIRST, false]],
  );
  assert.equal(bench.coordinator.isIdle, true);
});

test('a stop leaves the open window to the next incarnation when somebody may tell it again', () => {
  const { bench, agents } = benchOf('a', 'b');
  for (const agent of agents) bench.tell(agent, FIRST);
  bench.leave(agents[0], true);
  bench.leave(agents[1]);
  bench.coordinator.stop(at(bench.nowMs));
  bench.until(endOf(FIRST + 1));
  assert.deepEqual(bench.sealed, []);
  assert.equal(bench.coordinator.isIdle, true);
});

test('a window of the future that somebody told does not hold a stop', () => {
  const { bench, agents } = benchOf('a');
  bench.tell(agents[0], FIRST + 1_000_000);
  bench.leave(agents[0], true);
  bench.coordinator.stop(at(bench.nowMs));
  bench.until(bench.nowMs + 1_000);
  assert.deepEqual(
    bench.sealed.map(({ window }) => window),
    [FIRST],
  );
  assert.equal(bench.coordinator.isIdle, true);
});

interface ModelAgent {
  admission: Admission & { worker: number };
  told: number;
  /** For every window sealed while it was connected: had it told that window? */
  history: boolean[];
  isOut: boolean;
}

test('windows are sealed at the moment that a naive model says, whatever agents do', (context) => {
  context.diagnostic(`SEED=${SEED}`);
  const random = seededRandom(SEED);
  for (let round = 0; round < 30; round++) playAgainstModel(random);
});

/** The model looks at every agent anew at every step and remembers each window's outcome for each agent. */
function playAgainstModel(random: () => number): void {
  const { bench } = benchOf();
  const below = (limit: number): number => Math.floor(random() * limit);
  const agents: ModelAgent[] = [];
  let open = FIRST;
  let serial = 1;
  const isAwaited = ({ admission, told, isOut }: ModelAgent): boolean =>
    !isOut && admission.firstWindow <= open && told < open;
  const expectSeals = (): void => {
    for (;;) {
      const isEarly = bench.nowMs < endOf(open) || bench.nowMs < START_MS + RECOVERY_MS + LATENESS_MS;
      const awaited = agents.filter(isAwaited);
      if (isEarly || (awaited.length > 0 && bench.nowMs < endOf(open) + LATENESS_MS)) break;
      const seal = bench.sealed[open - FIRST];
      assert.deepEqual(seal, { window: open, atMs: bench.nowMs, isLate: awaited.length > 0 });
      for (const agent of agents) {
        agent.history.push(!awaited.includes(agent));
        const lates = agent.history.slice(-LATE_COUNT_MAX);
        if (lates.length === LATE_COUNT_MAX && !lates.includes(true)) agent.isOut = true;
      }
      open++;
    }
    assert.equal(bench.sealed.length, open - FIRST, `window ${open} was sealed too early`);
  };
  for (let step = 0; step < 400; step++) {
    const agent = agents[below(agents.length || 1)];
    const dice = random();
    if (dice < 0.08 && agents.length < 6) {
      const current = Math.floor(bench.nowMs / WINDOW_MS);
      const admission = bench.join(
        hello(`n${serial}`, BigInt(serial++), { firstWindow: current - below(3) }),
        below(2),
      );
      agents.push({ admission, told: 0, history: [], isOut: false });
    } else if (dice < 0.12 && agent !== undefined) {
      agents.splice(agents.indexOf(agent), 1);
      bench.leave(agent.admission, random() < 0.5);
    } else if (dice < 0.75 && agent !== undefined) {
      agent.told = Math.max(agent.told, Math.floor(bench.nowMs / WINDOW_MS) - below(4));
      if (agent.isOut && agent.told >= open - 1) {
        agent.isOut = false;
        agent.history = [];
      }
      bench.tell(agent.admission, agent.told);
    } else {
      for (let count = random() < 0.5 ? 1 : below(120); count > 0; count--) {
        bench.until(bench.nowMs + 50);
        expectSeals();
      }
    }
    expectSeals();
  }
}

test('when node names are verified, a certificate has to stand for the name, and nobody else is asked', () => {
  const bench = new Bench(2, { verifyNodeNames: true });
  bench.until(START_MS + RECOVERY_MS);
  bench.say(hello('web-1', 1n), 0, ['10.0.0.1', 'Web-1']);
  bench.say(hello('web-2', 2n), 0);
  assert.equal(bench.admissions.length, 2);
  const connection = bench.say(hello('web-3', 3n), 0, ['web-1', 'web-33']);
  assert.deepEqual(
    bench.refusals.map((each) => [each.connection, each.reason]),
    [[connection, GoodbyeReason.NodeName]],
  );
  const lenient = new Bench();
  lenient.until(START_MS + RECOVERY_MS);
  lenient.say(hello('web-3', 3n), 0, ['web-1']);
  assert.equal(lenient.admissions.length, 1);
});

test('while who exports has not taken the last windows none is sealed, and nobody is late for that', () => {
  const { bench, agents } = benchOf('a');
  const { openWindow } = bench.coordinator;
  const sealedBefore = bench.sealed.length;
  bench.coordinator.hold(true, at(bench.nowMs));
  for (let window = openWindow; window < openWindow + 3; window++) bench.tell(agents[0], window);
  bench.until(endOf(openWindow + 3));
  assert.equal(bench.sealed.length, sealedBefore);
  bench.coordinator.hold(false, at(bench.nowMs));
  bench.until(bench.nowMs + 1_000);
  assert.deepEqual(
    bench.sealed.slice(sealedBefore, sealedBefore + 3).map(({ window, isLate }) => [window, isLate]),
    [0, 1, 2].map((more) => [openWindow + more, false]),
  );
});

test('after a hold nobody is late before the lateness has passed again, since a window is read when the one before has closed', () => {
  const { bench, agents } = benchOf('a', 'silent');
  bench.tell(agents[0], FIRST);
  bench.tell(agents[1], FIRST);
  bench.coordinator.hold(true, at(bench.nowMs));
  const releaseMs = endOf(FIRST + 3);
  bench.until(releaseMs);
  bench.coordinator.hold(false, at(releaseMs));
  bench.coordinator.hold(false, at(releaseMs));
  bench.until(releaseMs + 1_000);
  for (const agent of agents) bench.tell(agent, FIRST + 1);
  bench.until(releaseMs + 2_000);
  bench.tell(agents[0], FIRST + 2);
  bench.until(releaseMs + LATENESS_MS - 50);
  assert.deepEqual(
    bench.sealed.map(({ window, atMs, isLate }) => [window, atMs - releaseMs, isLate]),
    [
      [FIRST, 50, false],
      [FIRST + 1, 1_000, false],
    ],
  );
  bench.until(releaseMs + LATENESS_MS);
  assert.deepEqual(bench.sealed[2], { window: FIRST + 2, atMs: releaseMs + LATENESS_MS, isLate: true });
});

test('a stop does not wait for who exports', () => {
  const { bench, agents } = benchOf('a');
  const { openWindow } = bench.coordinator;
  bench.coordinator.hold(true, at(bench.nowMs));
  bench.tell(agents[0], openWindow);
  bench.until(endOf(openWindow) + LATENESS_MS);
  assert.ok(bench.sealed.every(({ window }) => window < openWindow));
  bench.coordinator.stop(at(bench.nowMs));
  bench.leave(agents[0], true);
  bench.until(bench.nowMs + 1_000);
  assert.equal(bench.sealed.at(-1)?.window, openWindow);
});

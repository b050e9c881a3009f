// Random histories of a host through agent.wasm, and a naive reducer that exports what it is told: in the end it must have exported the
// truth, whatever was delayed, lost or told again. TRIBUTARY_SEED=N repeats one history.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { seededRandom } from '../lib/random.ts';
import { FrameKind } from '../wire/gen/wire-layout.ts';
import { AgentCore } from './agent-core.ts';
import type { AgentLimits } from './agent-module.ts';
import { LedgerModel } from './testing/ledger-model.ts';
import { BUILDS, loadModule } from './testing/modules.ts';
import { SocketModel, type Truth } from './testing/socket-model.ts';

const SEEDS =
  process.env.TRIBUTARY_SEED === undefined
    ? Array.from({ length: 40 }, (_, index) => index + 1)
    : [Number(process.env.TRIBUTARY_SEED)];
const WINDOWS = 60;
const STEPS_PER_WINDOW = 40;
const CONTEXT = { clockOffsetNs: 1_700_000_000_000_000_000n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };

interface Faults {
  /** Probabilities in each window. */
  noCredit: number;
  kill: number;
  loseChannel: number;
  commit: number;
}

interface Run {
  core: AgentCore;
  ledger: LedgerModel;
  model: SocketModel;
}

function startRun(module: WebAssembly.Module, random: () => number, limits: AgentLimits = {}): Run {
  const hashSeed = [BigInt(Math.floor(random() * 2 ** 32)), 1n] as const;
  const core = new AgentCore(
    { module, hashSeed, limits, windowNs: 1_000_000_000n, addressSpace: 'default', boot: 'boot' },
    { nameProcess: () => undefined },
  );
  return { core, ledger: new LedgerModel(), model: new SocketModel(random) };
}

/** Lives through WINDOWS windows with faults, then closes the books. */
function live({ core, ledger, model }: Run, random: () => number, faults: Faults): void {
  const snapshot = (window: number) =>
    ledger.receive(core.encodeSnapshot(window, ledger.incarnation, CONTEXT.clockOffsetNs, ledger.takenWindow));
  let isCut = false;
  snapshot(1);
  for (let window = 1; window <= WINDOWS; window++) {
    for (let step = 0; step < STEPS_PER_WINDOW; step++) model.step();
    core.events(model.take());
    if (random() < faults.commit) {
      const booked = ledger.uncommitted;
      const committed = booked[Math.floor(random() * booked.length)] ?? 0;
      ledger.commit(committed);
      core.commit(committed);
    }
    if (random() < faults.kill) {
      ledger.restart();
      snapshot(window);
    } else if (isCut) {
      ledger.loseChannel();
      snapshot(window);
    }
    isCut = random() < faults.loseChannel;
    if (random() < faults.noCredit) continue;
    const payloads = core.encodeWindow(window, CONTEXT);
    // The cut may come anywhere, also after the last frame.
    ledger.receive(isCut ? payloads.slice(0, Math.floor(random() * (payloads.length + 1))) : payloads);
  }
  if (isCut) {
    ledger.loseChannel();
    snapshot(WINDOWS + 1);
  }
  model.pass();
  core.events(model.take());
  ledger.receive(core.encodeWindow(WINDOWS + 1, CONTEXT));
  ledger.commit(WINDOWS + 1);
  core.commit(WINDOWS + 1);
}

function total(tallies: Truth['tallies']): bigint {
  return [...tallies.values()].reduce((sum, { count }) => sum + count, 0n);
}

for (const build of BUILDS) {
  const module = loadModule(build);

  test(`${build}: what is exported is the truth, through delays, kills and lost channels`, () => {
    for (const seed of SEEDS) {
      const random = seededRandom(seed);
      const run = startRun(module, random);
      try {
        live(run, random, { noCredit: 0.2, kill: 0.1, loseChannel: 0.05, commit: 0.6 });
        assert.deepEqual(run.ledger.exported, run.model.truth);
        assert.equal(run.ledger.liveTwins, run.model.live.length);
        const { counters } = run.core;
        assert.equal(Number(counters.socketsLive), run.model.live.length);
        assert.equal(counters.socketsClosed, 0n);
        assert.equal(counters.journalEntries, 0n);
        assert.equal(counters.tallies, 0n);
        assert.equal(counters.talliesRefused + counters.talliesMerged + counters.talliesLost, 0n);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });

  test(`${build}: folding beyond the retention limit keeps bytes and counts`, () => {
    let folds = 0;
    for (const seed of SEEDS) {
      const random = seededRandom(seed);
      const run = startRun(module, random, { closedRetained: 20 });
      try {
        live(run, random, { noCredit: 0.4, kill: 0.1, loseChannel: 0.05, commit: 0.2 });
        const { tallies: exported, ...sums } = run.ledger.exported;
        const { tallies: counted, ...truth } = run.model.truth;
        assert.deepEqual(sums, truth);
        const missing = total(counted) - total(exported);
        const { talliesLost, talliesForgotten } = run.core.counters;
        assert(missing >= talliesLost && missing <= talliesLost + talliesForgotten);
        assert.equal(run.core.counters.folds, 0n);
        assert(run.core.counters.socketsFolded > 0n);
        folds += run.ledger.folds;
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    assert(folds > 0);
  });
}

test('every kind of payload occurs in these histories', () => {
  const random = seededRandom(1);
  const run = startRun(loadModule('agent.wasm'), random);
  live(run, random, { noCredit: 0.2, kill: 0.1, loseChannel: 0, commit: 0.6 });
  const { Announce, Open, Baseline, Tally, Once, UpdateNarrow, UpdateWide, Close, Settled } = FrameKind;
  for (const kind of [Announce, Open, Baseline, Tally, Once, UpdateNarrow, UpdateWide, Close, Settled]) {
    assert((run.ledger.frames.get(kind) ?? 0) > 0, `kind ${kind}`);
  }
});

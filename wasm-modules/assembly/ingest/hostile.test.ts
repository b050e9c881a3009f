import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason } from '../../../host/wire/gen/kernel-events-layout.ts';
import { Level, ReducerCounter, RefusalReason, SessionFlag } from '../../../host/wire/gen/records-layout.ts';
import type { Open } from '../../../host/wire/gen/wire-layout.ts';
import { hello } from '../../../host/wire/testing/hello.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { type Build, compileModule } from '../../testing/compile-module.ts';
import { planFleet } from '../../testing/fleet-plan.ts';
import { Liar } from '../../testing/hostile-frames.ts';
import type { PlannedWindow } from '../../testing/planned-agent.ts';
import { ReducerFleet, type SessionRef } from '../../testing/reducer-fleet.ts';
import { HOST_LEVEL, mergeOutputs, printPoint } from '../../testing/window-output.ts';

const OPEN_WINDOW = 7000;
const WINDOWS = 20;
/** So many seeds from the first on. */
const SEED_COUNT = Number(process.env.SEEDS ?? 1);
const MEMORY_BYTES_MAX = 256 << 20;
/** Whatever a liar may be named by, and no good agent is. */
const OF_LIARS = /evil|172\.16\.|e{64}/;

/** Liars of one fleet: a session lies until it is quarantined or waits for a window, then another begins. */
class Liars {
  readonly #fleet: ReducerFleet;
  readonly #liar: Liar;
  #session = 1_000_000n;
  #ref: SessionRef | undefined;
  given = 0;

  constructor(fleet: ReducerFleet, liar: Liar) {
    this.#fleet = fleet;
    this.#liar = liar;
  }

  lie(window: number): void {
    this.#ref ??= this.#begin();
    const frame = this.#liar.frame(window);
    if (this.#fleet.offer(this.#ref, frame) === frame.length) this.given++;
    const { flags } = this.#fleet.state(this.#ref);
    if ((flags & (SessionFlag.Quarantined | SessionFlag.Held)) === 0) return;
    this.#fleet.detach(this.#ref, CloseReason.AgentLost);
    this.#ref = undefined;
  }

  #begin(): SessionRef {
    const session = this.#session++;
    const ref = this.#fleet.open(0, hello({ session, nodeId: session, bootId: session, nodeName: 'evil-host' }));
    this.#fleet.tell(ref, this.#liar.announcement());
    this.given++;
    return ref;
  }
}

/** The edges of good agents by window, as text. `lies`: frames of liars in each window, dealt out between the good ones. */
function run(module: WebAssembly.Module, plan: PlannedWindow[], lies: number, seed: number) {
  const random = new Random(seed);
  const fleet = new ReducerFleet(module, { openWindow: OPEN_WINDOW });
  const sessions = new Map<bigint, SessionRef>();
  const victims: Open[] = [];
  let liars: Liars | undefined;
  let goodFrames = 0;
  const windows = plan.map(({ window, steps, told }) => {
    const good = [...steps].flatMap(([session, list]) => list.map((step) => ({ session, step })));
    const perStep = liars === undefined ? 0 : Math.ceil(lies / (good.length + 1));
    for (const { session, step } of good) {
      for (let index = 0; index < perStep; index++) liars?.lie(window);
      if (step.kind === 'hello') sessions.set(session, fleet.open(0, step.hello));
      else if (step.kind === 'detach') fleet.detach(sessions.get(session)!, step.reason);
      else {
        fleet.tell(sessions.get(session)!, step.bytes);
        goodFrames++;
      }
    }
    const points = mergeOutputs(fleet.close(window));
    for (const item of told) if (item.kind === 'open' && item.open.joinKey !== 0n) victims.push(item.open);
    if (lies > 0 && victims.length > 0) liars ??= new Liars(fleet, new Liar(random, victims.splice(0)));
    return points
      .filter(({ level }) => level === Level.IdId || level === HOST_LEVEL)
      .map(printPoint)
      .filter((line) => !OF_LIARS.test(line));
  });
  return { windows, fleet, given: goodFrames + (liars?.given ?? 0) };
}

function checkLiars(build: Build, frames: number): void {
  const first = chooseSeed();
  const module = compileModule('reducer/index.ts', build);
  for (let seed = first; seed < first + SEED_COUNT; seed++) checkSeed(module, frames, seed);
}

function checkSeed(module: WebAssembly.Module, frames: number, seed: number): void {
  const plan = planFleet(new Random(seed), OPEN_WINDOW, WINDOWS);
  const alone = run(module, plan, 0, seed);
  // Some of what is offered comes to a session that waits for its window, and is not taken.
  const beset = run(module, plan, Math.ceil((frames * 1.25) / (WINDOWS - 1)), seed + 1);
  const { fleet } = beset;
  for (const [index, lines] of beset.windows.entries()) {
    assert.equal(lines.join('\n'), alone.windows[index].join('\n'), `SEED=${seed}, window ${index}`);
  }
  const [given, accepted, refused] = [
    ReducerCounter.FramesGiven,
    ReducerCounter.FramesAccepted,
    ReducerCounter.FramesRefused,
  ].map((counter) => fleet.counter(counter));
  assert.equal(given, beset.given, `SEED=${seed}: frames were given`);
  assert(given >= frames, `SEED=${seed}: only ${given} frames were given`);
  assert.equal(accepted + refused, given, `SEED=${seed}: accepted + refused = given`);
  const reasons = Object.values(RefusalReason).filter(
    (reason) => reason !== RefusalReason.None && reason < RefusalReason.SocketQuota,
  );
  const byReason = reasons.map((reason) => fleet.refusals(reason)).reduce((sum, frames) => sum + frames);
  assert.equal(byReason, refused, `SEED=${seed}: each refused frame has a reason`);
  assert(refused > given / 10 && accepted > given / 10, `SEED=${seed}: ${accepted} accepted, ${refused} refused`);
  assert(fleet.counter(ReducerCounter.SessionsQuarantined) > 0, `SEED=${seed}: nobody was quarantined`);
  assert(fleet.counter(ReducerCounter.TalliesAdded) > 0, `SEED=${seed}: no tally was booked`);
  assert(fleet.memoryBytes(0) < MEMORY_BYTES_MAX, `SEED=${seed}: ${fleet.memoryBytes(0)} bytes`);
  console.log(
    `${given} frames given, ${accepted} accepted, ${refused} refused for ${reasons.filter((reason) => fleet.refusals(reason) > 0).length} reasons`,
  );
}

test('100 000 frames of liars: no trap, exact accounts, and good agents are served as if alone', () =>
  checkLiars('release', 100_000));

test('the debug build survives liars too', () => checkLiars('debug', 10_000));

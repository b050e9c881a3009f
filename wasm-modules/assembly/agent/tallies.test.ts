// Random counting, telling, committing and starting anew against a naive keeper of every increment by the window that told it. SEED=N
// repeats one history.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTally, TallyKind } from '../../../host/wire/gen/wire-layout.ts';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';

const MODULES = (['release', 'debug'] as const).map((build) => ({
  build,
  module: compileModule('testing/agent-tallies.ts', build),
}));
const { Retransmit, OutOfOrder, HandshakeServer, DnsLookup } = TallyKind;
/** As limits.ts says. */
const WINDOWS_OF_ONE_TALLY = 16;

interface Exports {
  memory: WebAssembly.Memory;
  init(seed: bigint, talliesMax: number): void;
  openSocket(cookie: bigint): number;
  setOpenTold(row: number, isTold: number): void;
  dropSocket(row: number): void;
  tally(owner: number, kind: number, code: number, label: number, count: bigint, sum: bigint): number;
  beginWindow(): void;
  tellNext(window: number): number;
  commitTallies(window: number): void;
  retellTallies(takenWindow: number): void;
  tallyCount(): number;
  refused(): bigint;
  merged(): bigint;
  lost(): bigint;
  forgotten(): bigint;
}

interface Told {
  key: string;
  count: bigint;
  sum: bigint;
}

function start(module: WebAssembly.Module, talliesMax: number, seed = 1): Exports {
  const tallies = new WebAssembly.Instance(module).exports as Exports & WebAssembly.Exports;
  tallies.init(BigInt(seed), talliesMax);
  return tallies;
}

/** Bucket of a sample by logarithm: the oracle of the samples that may be one item. */
function bucketOf(kind: number, sampleNs: bigint): number {
  return kind === HandshakeServer || kind === DnsLookup ? Math.ceil(Math.log2(Number(sampleNs) / 1e9) * 8) - 1 : 0;
}

function keyOf(owner: number, kind: number, code: number, sampleNs: bigint): string {
  return [owner, kind, code, bucketOf(kind, sampleNs)].join('/');
}

function tell(tallies: Exports, window: number): Told[] {
  const told: Told[] = [];
  tallies.beginWindow();
  for (let at = tallies.tellNext(window); at !== 0; at = tallies.tellNext(window)) {
    const { handle, kind, code, count, sum } = readTally(new DataView(tallies.memory.buffer), at >>> 0);
    told.push({ key: keyOf(handle, kind, code, sum / count), count, sum });
  }
  return told;
}

class Keeper {
  staged = new Map<string, Told>();
  windows = new Map<number, Map<string, Told>>();

  count(key: string, count: bigint, sum: bigint): void {
    add(this.staged, { key, count, sum });
  }

  tell(window: number, isKnown: (owner: number) => boolean): Told[] {
    const told = [...this.staged.values()].filter(({ key }) => isKnown(Number(key.split('/')[0])));
    for (const one of told) this.staged.delete(one.key);
    this.windows.set(window, new Map(told.map((one) => [one.key, one])));
    return told;
  }

  commit(window: number): void {
    for (const known of this.windows.keys()) if (known <= window) this.windows.delete(known);
  }

  retell(takenWindow: number): void {
    for (const [window, told] of this.windows) {
      if (window <= takenWindow) continue;
      for (const one of told.values()) add(this.staged, one);
      this.windows.delete(window);
    }
  }

  get rows(): number {
    return this.staged.size + [...this.windows.values()].reduce((sum, told) => sum + told.size, 0);
  }
}

function add(to: Map<string, Told>, { key, count, sum }: Told): void {
  const before = to.get(key);
  to.set(key, { key, count: count + (before?.count ?? 0n), sum: sum + (before?.sum ?? 0n) });
}

function byKey(a: Told, b: Told): number {
  return a.key < b.key ? -1 : 1;
}

for (const { build, module } of MODULES) {
  test(`${build}: every increment is told once on each channel, and again as far as it is not taken or committed`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed}`);
    const random = new Random(seed);
    const tallies = start(module, 100_000, seed);
    const keeper = new Keeper();
    const sockets = Array.from({ length: 20 }, (_, index) => tallies.openSocket(BigInt(index + 1)));
    const known = new Set<number>([0]);
    let committed = 0;
    for (let window = 1; window <= 400; window++) {
      for (let step = random.below(40); step > 0; step--) {
        const owner = random.chance(0.2) ? 0 : random.pick(sockets);
        const kind = random.pick([Retransmit, OutOfOrder, HandshakeServer, DnsLookup]);
        const code = random.below(3);
        const isSample = kind === HandshakeServer || kind === DnsLookup;
        const sampleNs = isSample ? BigInt(1 + (random.uint32() >>> random.below(24))) * 3n : 0n;
        const count = BigInt(1 + random.below(isSample ? 1 : 1000));
        assert.equal(tallies.tally(owner, kind, code, 0, count, sampleNs), 1);
        keeper.count(keyOf(owner, kind, code, sampleNs), count, sampleNs);
      }
      for (const row of sockets) {
        if (known.has(row) || random.chance(0.3)) continue;
        known.add(row);
        tallies.setOpenTold(row, 1);
      }
      const told = tell(tallies, window);
      assert.deepEqual(told.sort(byKey), keeper.tell(window, (owner) => known.has(owner)).sort(byKey));
      if (random.chance(0.5) || window - committed > 10) {
        committed = window - random.below(Math.min(3, window - committed));
        tallies.commitTallies(committed);
        keeper.commit(committed);
      }
      if (random.chance(0.1)) {
        const taken = random.chance(0.5) ? 0 : Math.max(0, window - random.below(3));
        tallies.retellTallies(taken);
        keeper.retell(taken);
        for (const row of sockets) tallies.setOpenTold(row, 0);
        known.clear();
        known.add(0);
      }
      assert.equal(tallies.tallyCount(), keeper.rows);
    }
    assert.deepEqual([tallies.refused(), tallies.merged(), tallies.lost(), tallies.forgotten()], [0n, 0n, 0n, 0n]);
  });

  test(`${build}: windows that nobody commits merge into the newest, and a new reducer is told the sum`, () => {
    const tallies = start(module, 1_000);
    for (let window = 1; window <= 100; window++) {
      tallies.tally(0, OutOfOrder, 0, 0, 1n, 0n);
      tell(tallies, window);
    }
    assert.equal(tallies.tallyCount(), WINDOWS_OF_ONE_TALLY);
    assert.notEqual(tallies.merged(), 0n);
    // The oldest windows are as they were told; what merged waits for the last of its windows.
    tallies.commitTallies(15);
    tallies.retellTallies(0);
    assert.deepEqual(tell(tallies, 101), [{ key: keyOf(0, OutOfOrder, 0, 0n), count: 85n, sum: 0n }]);
  });

  test(`${build}: a full table refuses new tallies, goes on with those that it has, and has room after a commit`, () => {
    const tallies = start(module, 3);
    const count = (code: number): number => tallies.tally(0, Retransmit, code, 0, 5n, 0n);
    assert.deepEqual([0, 1, 2, 3].map(count), [1, 1, 1, 0]);
    assert.equal(count(0), 1);
    assert.equal(tallies.refused(), 5n);
    assert.deepEqual(
      tell(tallies, 1).map((one) => one.count),
      [10n, 5n, 5n],
    );
    assert.equal(count(3), 0);
    tallies.commitTallies(1);
    assert.equal(count(3), 1);
  });

  test(`${build}: what a socket takes with it is counted, told or not`, () => {
    const tallies = start(module, 1_000);
    const row = tallies.openSocket(1n);
    tallies.setOpenTold(row, 1);
    tallies.tally(row, OutOfOrder, 0, 0, 3n, 0n);
    tell(tallies, 1);
    tallies.tally(row, OutOfOrder, 0, 0, 4n, 0n);
    tallies.dropSocket(row);
    assert.deepEqual([tallies.lost(), tallies.forgotten(), tallies.tallyCount()], [4n, 3n, 0]);
    tallies.commitTallies(1);
    assert.deepEqual(tell(tallies, 2), []);
  });
}

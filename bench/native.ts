// How far is reducer.wasm from the same algorithm compiled for this machine?
//
// bench/native/src is the reducer's loop in C++, as far as the mixes reach: same rows, same tables, byte for byte the same output. Both sides read
// the same windows of frames, in turn, each on one thread, by that thread's CPU clock. Sums that differ in any window fail the run.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compileReducer } from '../host/reducer/reducer-module.ts';
import { Report } from './lib/report.ts';
import { ratiosOf, showSpread, spreadOf } from './lib/statistics.ts';
import { FIRST_WINDOW } from './native/input.ts';
import { type CaseOptions, type CaseTimes, measureCase } from './native/measure.ts';
import { STAGES, type StageTimes } from './native/stages.ts';
import { compileNative, compileObject, findCompilers, ToolchainError, writeHeaders } from './native/toolchain.ts';
import type { Mix } from './reducer/fleet.ts';

const MIXES: readonly Mix[] = ['steady', 'short', 'drain'];
const STAGE_NAMES = {
  ingest: 'ingest: verify, apply',
  join: 'match: join',
  book: 'match: close, leaf',
  rollUp: 'aggregate: roll up, output',
  whole: 'whole loop',
};

const { values } = parseArgs({
  options: {
    mix: { type: 'string', default: 'steady,short,drain' },
    sockets: { type: 'string', default: '1000000' },
    agents: { type: 'string', default: '10,1000' },
    rounds: { type: 'string', default: '9' },
    warmup: { type: 'string', default: '6' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- native [options]: how far reducer.wasm is from the same algorithm in C++

  --mix LIST      steady (1 % of the connections end and open anew), short, drain (3 reports of each socket) (all)
  --sockets N     live sockets, or ends of short connections in a window (1000000)
  --agents LIST   numbers of agents (10,1000)
  --rounds N      measured windows of each case (9)
  --warmup N      windows before them (6)
  --json FILE     where the raw numbers go (bench/results/native.json)`);
  process.exit(0);
}

const cases = makeCases();
const folder = mkdtempSync(join(tmpdir(), 'bench-native-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
// The native reducer ends with its input.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
try {
  const compilers = findCompilers();
  await writeHeaders(folder);
  const binary = compileNative(compilers[0], folder);
  const clang = compileObject(folder, FIRST_WINDOW);
  const object = 'module' in clang ? clang.module : undefined;
  const module = await compileReducer();
  const report = new Report('native', values.json);
  console.log(`native: ${compilers[0].version}, -O3 -march=native`);
  console.log('module' in clang ? `clang wasm: ${clang.version}, -O3` : `clang wasm: not measured, ${clang.missing}`);
  for (const [name, options] of cases) {
    const progress = (what: string) => report.progress(`${name}: ${what}`);
    const times = await measureCase(options, { module, binary, object, folder, progress });
    report.keep(name, times);
    report.table(
      `${name}: CPU ns a record, medians; ratios of one window, median of ${options.rounds} (least-greatest)`,
      ['stage', 'reducer.wasm', 'C++', 'C++ wasm', 'reducer.wasm / C++', 'C++ wasm / C++', 'reducer.wasm / C++ wasm'],
      STAGES.map((stage) => stageRow(stage, times)),
    );
    console.log(`longest call while all sockets open: ${(times.openingCallNs / 1e6).toFixed(1)} ms of CPU`);
  }
  report.finish();
} catch (error) {
  if (!(error instanceof ToolchainError)) throw error;
  console.error(`bench native: ${error.message}`);
  process.exitCode = 1;
}

function stageRow(stage: (typeof STAGES)[number], { records, ours, native, clangWasm }: CaseTimes): string[] {
  const perRecord = (list: StageTimes[]) =>
    list.length === 0 ? '-' : spreadOf(list.map((times) => times[stage] / records)).median.toFixed(1);
  const ratio = (list: StageTimes[], baseline: StageTimes[]) => {
    if (list.length === 0 || baseline.length === 0) return '-';
    const of = (times: StageTimes) => times[stage];
    return showSpread(ratiosOf(list.map(of), baseline.map(of)), 2);
  };
  return [
    ...[STAGE_NAMES[stage], perRecord(ours), perRecord(native), perRecord(clangWasm)],
    ...[ratio(ours, native), ratio(clangWasm, native), ratio(ours, clangWasm)],
  ];
}

function makeCases(): [string, CaseOptions][] {
  const mixes = values.mix.split(',');
  const unknown = mixes.find((mix) => !MIXES.some((each) => each === mix));
  if (unknown !== undefined) refuse(`--mix ${unknown}: known are ${MIXES.join(', ')}`);
  const sockets = positive('sockets', values.sockets);
  const run = { rounds: positive('rounds', values.rounds), warmup: positive('warmup', values.warmup) };
  return MIXES.filter((mix) => mixes.includes(mix)).flatMap((mix) =>
    values.agents.split(',').map((text): [string, CaseOptions] => {
      const agents = positive('agents', text);
      const load = { sockets, agents, updates: mix === 'drain' ? 3 : 1, churn: mix === 'steady' ? 0.01 : 0 };
      return [`${mix}, ${sockets} sockets, ${agents} agents`, { mix, ...load, spread: 'uniform', ...run }];
    }),
  );
}

function positive(name: string, text: string): number {
  const number = Number(text);
  return Number.isInteger(number) && number > 0
    ? number
    : refuse(`--${name} ${text}: a whole number above 0 is needed`);
}

function refuse(why: string): never {
  console.error(`bench native: ${why}`);
  process.exit(2);
}

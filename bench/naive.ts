// How far is what one would write first?
//
// reducer.wasm, and a reducer of plain Maps and objects in TypeScript (naive/naive-reducer.ts), read the same windows of frames in one thread, in turn.
// Sums or rows that differ in any window fail the run.

import { parseArgs } from 'node:util';
import { compileReducer } from '../host/reducer/reducer-module.ts';
import { choices, positive, positives } from './lib/options.ts';
import { Report } from './lib/report.ts';
import { ratiosOf, showSpread, spreadOf } from './lib/statistics.ts';
import { type CaseOptions, type CaseTimes, measureCase } from './naive/measure.ts';
import type { Mix } from './reducer/fleet.ts';

const MIXES: readonly Mix[] = ['steady', 'short', 'drain'];

const { values } = parseArgs({
  options: {
    mix: { type: 'string', default: 'steady,short,drain' },
    sockets: { type: 'string', default: '200000' },
    agents: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '7' },
    warmup: { type: 'string', default: '3' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- naive [options]: how far reducer.wasm is from plain Maps and objects in TypeScript

  --mix LIST      steady (1 % of the connections end and open anew), short, drain (3 reports of each socket) (all)
  --sockets LIST  live sockets, or ends of short connections in a window (200000)
  --agents LIST   numbers of agents (10)
  --rounds N      measured windows of each case (7)
  --warmup N      windows before them (3)
  --json FILE     where the raw numbers go (bench/results/naive.json)`);
  process.exit(0);
}

const cases = makeCases();
const module = await compileReducer();
const report = new Report('naive', values.json);
const measured = cases.map(([name, options]): [string, CaseTimes] => [
  name,
  measureCase(options, { module, progress: (what) => report.progress(`${name}: ${what}`) }),
]);
report.keep('cases', Object.fromEntries(measured));
report.table(
  'CPU ns a record; ratio of one window; median (least-greatest)',
  ['case', 'records a window', 'reducer.wasm', 'naive', 'naive / reducer.wasm'],
  measured.map(([name, { records, ours, naive }]) => [
    name,
    String(records),
    ...[ours, naive].map((list) => showSpread(spreadOf(list.map((ns) => ns / records)), 0)),
    showSpread(ratiosOf(naive, ours), 2),
  ]),
);
report.finish();

function makeCases(): [string, CaseOptions][] {
  const run = {
    rounds: positive('naive', 'rounds', values.rounds),
    warmup: positive('naive', 'warmup', values.warmup),
  };
  return choices('naive', 'mix', values.mix, MIXES).flatMap((mix) =>
    positives('naive', 'sockets', values.sockets).flatMap((sockets) =>
      positives('naive', 'agents', values.agents).map((agents): [string, CaseOptions] => {
        const load = { sockets, agents, updates: mix === 'drain' ? 3 : 1, churn: mix === 'steady' ? 0.01 : 0 };
        return [`${mix}, ${sockets} sockets, ${agents} agents`, { mix, ...load, spread: 'uniform', ...run }];
      }),
    ),
  );
}

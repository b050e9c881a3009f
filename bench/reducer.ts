// What does the reducer cost for each record, on its whole path?
//
// Agents on real connections over loopback tell a reducer that runs as users run it; what is counted is the time of its worker threads, from
// the receipt of a frame to the closed window. Every case runs once in each round, in another order each round; numbers of workers are compared
// window by window, in turn. A case whose totals are not exactly what was told fails the run.

import { parseArgs } from 'node:util';
import { Report } from './lib/report.ts';
import { rotate, showSpread, spreadOf } from './lib/statistics.ts';
import type { Mix, Spread } from './reducer/fleet.ts';
import { type Measured, type MeasureOptions, measure } from './reducer/measure.ts';

const MIXES: readonly Mix[] = ['steady', 'short', 'drain'];
const DELAYS_MS = [1, 2, 5, 10, 20, 50, 100, 1000] as const;
const SPREADS: readonly Spread[] = ['uniform', 'zipf'];

const { values } = parseArgs({
  options: {
    mix: { type: 'string', default: 'steady,short,drain' },
    sockets: { type: 'string', default: '1000000' },
    agents: { type: 'string', default: '10,1000' },
    workers: { type: 'string', default: '1,2' },
    churn: { type: 'string', default: '1,10' },
    updates: { type: 'string', default: '3,10' },
    spread: { type: 'string', default: 'uniform,zipf' },
    window: { type: 'string', default: '10' },
    lateness: { type: 'string', default: '5' },
    windows: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '7' },
    profile: { type: 'string' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- reducer [options]: what the reducer costs for each record, on its whole path

  --mix LIST      steady, short, drain (all)
  --sockets N     live sockets, or ends of short connections in a window (1000000)
  --agents LIST   numbers of agents (10,1000)
  --workers LIST  numbers of workers (1,2)
  --churn LIST    percent of the connections that end in a window, of steady (1,10)
  --updates LIST  reports of each socket in a window, of drain (3,10)
  --spread LIST   of connections over servers: uniform, zipf (both)
  --window N      length of a window, seconds (10)
  --lateness N    how long a window waits for agents after its end, seconds (5)
  --windows N     windows of one measurement (3)
  --rounds N      measurements of each case (7)
  --profile DIR   keep the profiles of the reducer's threads there; they cost time, so the numbers are not comparable
  --json FILE     where the raw numbers go (bench/results/reducer.json)`);
  process.exit(0);
}

// The reducer is killed on exit; the fleet ends when its channel to this process does.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const sockets = positives('sockets', values.sockets)[0];
const windowMs = positives('window', values.window)[0] * 1000;
const latenessMs = positives('lateness', values.lateness)[0] * 1000;
const windows = positives('windows', values.windows)[0];
const rounds = positives('rounds', values.rounds)[0];
const workerCounts = positives('workers', values.workers);
const cases = makeCases();
const report = new Report('reducer', values.json);
const results = new Map<string, Measured[]>(
  cases.flatMap(([load]) => workerCounts.map((count) => [caseOf(load, count), []])),
);
for (let round = 0; round < rounds; round++) {
  for (const [load, options] of rotate(cases, round)) {
    report.progress(`round ${round + 1} of ${rounds}: ${load}, workers: ${workerCounts.join(', ')}`);
    const measured = await measure(workerCounts.map((workers) => ({ ...options, workers })));
    for (const [index, count] of workerCounts.entries()) results.get(caseOf(load, count))?.push(measured[index]);
  }
}
report.keep('cases', Object.fromEntries(results));
report.table(
  `${sockets} sockets, windows of ${values.window} s; CPU of the worker threads, median of ${rounds * windows} windows (least-greatest); of the others median of ${rounds} rounds`,
  [
    'case',
    'ns/update',
    'ns/connection',
    'ns/record',
    'records/s of a core',
    'connections/s of a core',
    'process',
    'generator',
    'softirq',
  ],
  [...results].map(([name, list]) => costRow(name, list)),
);
if (workerCounts.length > 1)
  report.table(
    `CPU of a record, windows of the same load in turn: median of ${rounds * windows} ratios (least-greatest)`,
    ['case', ...workerCounts.slice(1).map((count) => `${count} workers / ${workerCounts[0]}`)],
    cases.map(([load]) => ratioRow(load)),
  );
report.table(
  'how long agents wait for what they told, from the end of the window; memory, RSS',
  [
    'case',
    'receipt p50',
    'receipt p99',
    'commit p50',
    'commit most',
    'bytes/record',
    'B/socket',
    'KiB/agent',
    'tallies refused',
  ],
  [...results].map(([name, list]) => waitRow(name, list)),
);
report.table(
  'how long a small frame of another agent waits for its receipt meanwhile: share of the frames up to',
  ['case', 'frames', ...DELAYS_MS.map((bound) => `${bound} ms`), 'most', 'reconnects'],
  [...results].map(([name, list]) => delayRow(name, list)),
);
report.finish();

function caseOf(load: string, workers: number): string {
  return `${load}, ${workers} worker${workers > 1 ? 's' : ''}`;
}

/** What is measured, but for how many workers do it. */
function makeCases(): [string, Omit<MeasureOptions, 'workers'>][] {
  const all: [string, Omit<MeasureOptions, 'workers'>][] = [];
  for (const mix of choices('mix', values.mix, MIXES)) {
    const churns = mix === 'steady' ? positives('churn', values.churn) : [0];
    for (const churn of churns) {
      for (const updates of mix === 'drain' ? positives('updates', values.updates) : [1]) {
        for (const spread of choices('spread', values.spread, SPREADS)) {
          for (const agents of positives('agents', values.agents)) {
            const detail = mix === 'steady' ? `, churn ${churn} %` : mix === 'drain' ? ` of ${updates}` : '';
            const load = { mix, sockets, agents, updates, churn: churn / 100, spread };
            const run = { windowMs, latenessMs, warmup: 2, rounds: windows, profileFolder: values.profile };
            all.push([`${mix}${detail}, ${spread}, ${agents} agents`, { ...load, ...run }]);
          }
        }
      }
    }
  }
  return all;
}

function positives(name: string, text: string): number[] {
  const numbers = text.split(',').map(Number);
  if (numbers.every((value) => Number.isInteger(value) && value > 0)) return numbers;
  return refuse(name, text, 'whole numbers above 0 are needed');
}

function choices<T extends string>(name: string, text: string, known: readonly T[]): T[] {
  const chosen = known.filter((each) => text.split(',').includes(each));
  return chosen.length === text.split(',').length ? chosen : refuse(name, text, `known are ${known.join(', ')}`);
}

function refuse(name: string, text: string, why: string): never {
  console.error(`bench reducer: --${name} ${text}: ${why}`);
  process.exit(2);
}

function costRow(name: string, list: Measured[]): string[] {
  const per = (pick: (one: Measured) => number) => showSpread(spreadOf(list.map((one) => pick(one) / one.records)), 0);
  const perWindow = (count: (one: Measured) => number) => {
    if (count(list[0]) === 0) return '-';
    const costs = list.flatMap((one) => one.roundsNs.map((ns) => (ns * one.roundsNs.length) / count(one)));
    return showSpread(spreadOf(costs), 0);
  };
  const rate = (count: (one: Measured) => number) =>
    `${spreadOf(list.map((one) => count(one) / (one.workersNs / 1e9) / 1e6)).median.toFixed(2)} M`;
  const records = (one: Measured) => one.records;
  return [
    name,
    perWindow((one) => one.updates),
    name.startsWith('short') ? perWindow((one) => one.connections) : '-',
    perWindow(records),
    rate(records),
    name.startsWith('short') ? rate((one) => one.connections) : '-',
    per((one) => one.processNs),
    per((one) => one.generatorNs),
    per((one) => one.softirqMs * 1e6),
  ];
}

/** Of each number of workers to the first. */
function ratioRow(load: string): string[] {
  const [base, ...others] = workerCounts.map((count) => results.get(caseOf(load, count)) ?? []);
  const ratios = (list: Measured[]) =>
    list.flatMap(({ roundsNs }, round) => roundsNs.map((ns, window) => ns / base[round].roundsNs[window]));
  return [load, ...others.map((list) => showSpread(spreadOf(ratios(list)), 2))];
}

function waitRow(name: string, list: Measured[]): string[] {
  const receipts = list.flatMap(({ receiptMs }) => receiptMs).toSorted((a, b) => a - b);
  const commits = list.flatMap(({ commitMs }) => commitMs).toSorted((a, b) => a - b);
  const at = (sorted: number[], share: number) =>
    `${(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(0)} ms`;
  const median = (pick: (one: Measured) => number, digits: number) => spreadOf(list.map(pick)).median.toFixed(digits);
  return [
    name,
    at(receipts, 0.5),
    at(receipts, 0.99),
    at(commits, 0.5),
    at(commits, 1),
    median((one) => one.wireBytes / one.records, 1),
    median((one) => one.bytesPerSocket, 0),
    median((one) => one.bytesPerAgent / 1024, 0),
    median((one) => one.talliesRefused, 0),
  ];
}

function delayRow(name: string, list: Measured[]): string[] {
  const delays = list.flatMap(({ delaysMs }) => delaysMs);
  const upTo = (bound: number) => delays.filter((delay) => delay <= bound).length / delays.length;
  const shares = DELAYS_MS.map((bound) => `${(100 * upTo(bound)).toFixed(2)} %`);
  const reconnects = list.reduce((sum, { probeReconnects }) => sum + probeReconnects, 0);
  return [name, String(delays.length), ...shares, `${Math.max(...delays).toFixed(1)} ms`, String(reconnects)];
}

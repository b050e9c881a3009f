// How fast do points leave through the stock exporters, and who waits for them?
//
// Outputs of reducer.wasm with so many series go through the OTLP exporter to a receiver in another process that counts points, and through /metrics to
// a scraper that counts samples; in the same round there is a pause without either. Meanwhile two event loops are watched: that of this thread, which
// hands windows over as the reducer's main thread does, and that of a worker thread, where the reducer receives.

import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { compileReducer } from '../host/reducer/reducer-module.ts';
import { type Exported, Otlp, Prometheus, Receiver } from './export/exporters.ts';
import { LoopWatch } from './export/loop-watch.ts';
import type { LoopDelay } from './export/order.ts';
import { type ExportedWindow, makeWindow } from './export/window.ts';
import { readProcessUse } from './lib/machine.ts';
import { positive, positives } from './lib/options.ts';
import { Report } from './lib/report.ts';
import { rotate, showSpread, spreadOf } from './lib/statistics.ts';

const { values } = parseArgs({
  options: {
    series: { type: 'string', default: '1000,10000,100000' },
    rounds: { type: 'string', default: '7' },
    warmup: { type: 'string', default: '1' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- export [options]: how fast points leave through the stock exporters, and who waits for them

  --series LIST  connections of different processes, each an edge (1000,10000,100000)
  --rounds N     measured windows of each exporter (7)
  --warmup N     windows before them (1)
  --json FILE    where the raw numbers go (bench/results/export.json)`);
  process.exit(0);
}

const WAYS = ['nothing', 'OTLP', 'Prometheus'] as const;
type Way = (typeof WAYS)[number];
const PAUSE_MS = 500;
const SETTLE_MS = 20;

interface Measured extends Exported {
  /** How much of `peakMib` was there before the first exporter. */
  startMib: number;
  main: LoopDelay;
  worker: LoopDelay;
}

const rounds = positive('export', 'rounds', values.rounds);
const warmup = positive('export', 'warmup', values.warmup);
const sizes = positives('export', 'series', values.series);
const module = await compileReducer();
const report = new Report('export', values.json);
const receiver = new Receiver();
const worker = new Worker(join(import.meta.dirname, 'export/loop-worker.ts'));
const watch = new LoopWatch();
try {
  await receiver.start();
  const costs: string[][] = [];
  const delays: string[][] = [];
  for (const size of sizes) {
    const window = makeWindow(module, size);
    const measured = await measureSize(size, window);
    report.keep(`${size}`, { series: window.series, ...measured });
    for (const way of WAYS) {
      if (way !== 'nothing') costs.push(costRow(window.series, way, measured[way]));
      delays.push(delayRow(window.series, way, measured[way]));
    }
  }
  report.table(
    'export of one window; CPU ns a point, median (least-greatest)',
    [
      ...['series', 'by', 'points', 'bytes a point', 'points/s', 'main thread', 'export thread', 'other threads'],
      ...['whole, ms', 'memory, MiB'],
    ],
    costs,
  );
  report.table(
    'how late event loops were meanwhile, ms: median of the rounds, the worst of all in parentheses',
    ['series', 'by', 'main p50', 'main p99', 'main longest', 'worker p50', 'worker p99', 'worker longest'],
    delays,
  );
  report.finish();
} finally {
  watch.end();
  await worker.terminate();
  await receiver.stop();
}

async function measureSize(size: number, { closed }: ExportedWindow): Promise<Record<Way, Measured[]>> {
  const measured: Record<Way, Measured[]> = { nothing: [], OTLP: [], Prometheus: [] };
  collectGarbage();
  const startMib = readProcessUse(process.pid).rssMib;
  for (let round = -warmup; round < rounds; round++) {
    for (const way of rotate(WAYS, round + warmup)) {
      report.progress(`${size} series, ${way}: ${round < 0 ? 'warm-up' : `round ${round + 1} of ${rounds}`}`);
      const one = await measureWindow(way, closed);
      if (round >= 0) measured[way].push({ ...one, startMib });
    }
  }
  for (const way of ['OTLP', 'Prometheus'] as const) {
    const counts = new Set(measured[way].map(({ points }) => points));
    assert(counts.size === 1 && !counts.has(0), `${way} told another number of points each time: ${[...counts]}`);
  }
  return measured;
}

/** What the window was made with would count as room that an exporter found. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
}

/** The second window of an exporter's thread: a fresh thread compiles the code first. */
async function measureWindow(way: Way, closed: ExportedWindow['closed']): Promise<Omit<Measured, 'startMib'>> {
  const exporter = createExporter(way);
  await exporter?.start();
  try {
    await exporter?.export(closed);
    await askWorker('begin');
    watch.begin();
    // A loop's first sample is the one after which lateness can be seen.
    await sleep(SETTLE_MS);
    const exported = (await exporter?.export(closed)) ?? (await pause());
    await sleep(SETTLE_MS);
    const main = watch.read();
    return { ...exported, main, worker: await askWorker('read') };
  } finally {
    await exporter?.stop();
  }
}

function createExporter(way: Way): Otlp | Prometheus | undefined {
  if (way === 'OTLP') return new Otlp(receiver);
  if (way === 'Prometheus') return new Prometheus(receiver);
  return undefined;
}

async function pause(): Promise<Exported> {
  await sleep(PAUSE_MS);
  return { points: 0, bytes: 0, mainNs: 0, exportNs: 0, otherNs: 0, ms: PAUSE_MS, peakMib: 0 };
}

async function askWorker(order: 'begin' | 'read'): Promise<LoopDelay> {
  worker.postMessage(order);
  const [delay] = (await once(worker, 'message')) as [LoopDelay];
  return delay;
}

function costRow(series: number, way: Way, list: Measured[]): string[] {
  const [{ points, bytes }] = list;
  const perPoint = (pick: (one: Measured) => number) =>
    showSpread(spreadOf(list.map((one) => pick(one) / one.points)), 0);
  return [
    ...[String(series), way, String(points), (bytes / points).toFixed(0)],
    spreadOf(list.map((one) => one.points / (one.ms / 1e3))).median.toFixed(0),
    ...[perPoint(({ mainNs }) => mainNs), perPoint(({ exportNs }) => exportNs), perPoint(({ otherNs }) => otherNs)],
    showSpread(spreadOf(list.map(({ ms }) => ms)), 0),
    showSpread(spreadOf(list.map(({ peakMib, startMib }) => peakMib - startMib)), 0),
  ];
}

function delayRow(series: number, way: Way, list: Measured[]): string[] {
  const show = (pick: (one: Measured) => number) => {
    const { median, max } = spreadOf(list.map(pick));
    return `${median.toFixed(1)} (${max.toFixed(1)})`;
  };
  return [
    ...[String(series), way],
    ...[show(({ main }) => main.p50), show(({ main }) => main.p99), show(({ main }) => main.max)],
    ...[show((one) => one.worker.p50), show((one) => one.worker.p99), show((one) => one.worker.max)],
  ];
}

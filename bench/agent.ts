// What does the agent cost the host that it watches?
//
// Every load runs in turn without an agent, with one that follows TCP only, and with one that has all its defaults, in the same round and
// in another order each round; what is printed is the median of the rounds' ratios, with the least and the greatest. The agent writes what
// it would tell to a file, so that no reducer's work is counted.

import { rmSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runBlast } from './agent/blast.ts';
import { HeldSockets } from './agent/held-sockets.ts';
import { AGENTS, type AgentKind, Bench, type Topology } from './agent/hosts.ts';
import { LOADS, type Load, type LoadResult, runLoad } from './agent/web-load.ts';
import { readProcessorTime, readProcessUse } from './lib/machine.ts';
import { Report } from './lib/report.ts';
import { differencesOf, ratiosOf, rotate, showSpread, spreadOf } from './lib/statistics.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '4' },
    sockets: { type: 'string', default: '1000,10000,100000' },
    window: { type: 'string', default: '10' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- agent [options]: what the agent costs the host that it watches

  --rounds N     rounds of each comparison (7)
  --seconds N    length of one measurement (4)
  --sockets N,N  numbers of live sockets (1000,10000,100000)
  --window N     length of the agent's windows, seconds (10, the agent's default)
  --json FILE    where the raw numbers go (bench/results/agent.json)`);
  process.exit(0);
}

const rounds = positive('rounds', values.rounds);
const seconds = positive('seconds', values.seconds);
const socketCounts = values.sockets.split(',').map((text) => positive('sockets', text));
const windowMs = positive('window', values.window) * 1000;
const report = new Report('agent', values.json);
const bench = new Bench(windowMs);

process.once('SIGINT', () => void bench.stop().finally(() => process.exit(130)));
try {
  await bench.start();
  await compareWebLoads();
  await comparePackets();
  await measureLiveSockets();
  await measureTelemetry();
  report.finish();
} finally {
  await bench.stop();
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`bench agent: --${name} ${text}: a whole number above 0 is needed`);
  process.exit(2);
}

/** CPU per request, requests per second, and what one client that waits for each answer sees. */
async function compareWebLoads(): Promise<void> {
  const topologies: Topology[] = ['one end', 'both ends'];
  const rows: string[][] = [];
  for (const topology of topologies) {
    for (const load of LOADS) {
      const results = await interleave(`${load.name}, ${topology}`, async (kind) => {
        const agent = await bench.startAgent(kind);
        try {
          return await runLoad(bench, topology, load, seconds);
        } finally {
          await agent?.stop();
        }
      });
      rows.push(...webRows(topology, load, results));
    }
  }
  report.table(
    'nginx, 1 KB to it and 10 KB back; ratios to no agent, median (least-greatest)',
    ['load', 'watched', 'agent', 'CPU per request', 'ratio', 'requests/s', 'p50', 'p99'],
    rows,
  );
}

function webRows(topology: Topology, load: Load, results: Record<AgentKind, LoadResult[]>): string[][] {
  const { none } = results;
  return AGENTS.map((kind) => {
    const now = results[kind];
    const cpu = spreadOf(now.map(({ cpuUs }) => cpuUs));
    const isBaseline = kind === 'none';
    const rate = spreadOf(now.map(({ perSecond }) => perSecond));
    const ratio = (pick: (result: LoadResult) => number) => ratiosOf(now.map(pick), none.map(pick));
    const latency = (pick: (result: LoadResult) => number) =>
      isBaseline
        ? `${spreadOf(none.map(pick)).median.toFixed(0)} us`
        : showSigned(differencesOf(now.map(pick), none.map(pick)).median);
    return [
      load.name,
      topology,
      kind,
      `${cpu.median.toFixed(1)} us`,
      isBaseline
        ? '1'
        : showSpread(
            ratio(({ cpuUs }) => cpuUs),
            3,
          ),
      isBaseline
        ? rate.median.toFixed(0)
        : `${showSpread(
            ratio(({ perSecond }) => perSecond),
            3,
          )}x`,
      latency(({ p50Us }) => p50Us),
      latency(({ p99Us }) => p99Us),
    ];
  });
}

function showSigned(us: number): string {
  return `${us < 0 ? '' : '+'}${us.toFixed(0)} us`;
}

/** Small datagrams as fast as they go: the hooks that see packets. */
async function comparePackets(): Promise<void> {
  const results = await interleave('datagrams', async (kind) => {
    const agent = await bench.startAgent(kind);
    try {
      return await runBlast(bench, seconds);
    } finally {
      await agent?.stop();
    }
  });
  const baseline = results.none.map(({ cpuNs }) => cpuNs);
  report.table(
    'UDP, 64 bytes a datagram, as many as one sender can; both ends watched',
    ['agent', 'datagrams/s', 'CPU per datagram', 'more than without'],
    AGENTS.map((kind) => [
      kind,
      spreadOf(results[kind].map(({ perSecond }) => perSecond)).median.toFixed(0),
      `${spreadOf(results[kind].map(({ cpuNs }) => cpuNs)).median.toFixed(0)} ns`,
      kind === 'none'
        ? '-'
        : showSpread(
            differencesOf(
              results[kind].map(({ cpuNs }) => cpuNs),
              baseline,
            ),
            0,
            ' ns',
          ),
    ]),
  );
}

/** Live sockets that all move once a window, the worst that idle connections do. */
async function measureLiveSockets(): Promise<void> {
  const rows: string[][] = [];
  for (const count of socketCounts) {
    report.progress(`${count} live sockets`);
    const held = await HeldSockets.open(bench, count, windowMs);
    const agent = await bench.startAgent('all');
    if (agent === undefined) throw new Error('there is no agent to measure');
    try {
      // The first windows announce the sockets; what follows is the steady state.
      await sleep(2.5 * windowMs);
      const before = readProcessUse(agent.pid);
      const bytesBefore = statSync(agent.path).size;
      const busyBefore = readProcessorTime();
      await sleep(2 * windowMs);
      const after = readProcessUse(agent.pid);
      const elapsed = 2 * windowMs;
      rows.push([
        String(count),
        `${(((after.cpuMs - before.cpuMs) / elapsed) * 100).toFixed(2)} %`,
        `${after.rssMib.toFixed(0)} MiB`,
        `${((statSync(agent.path).size - bytesBefore) / 2 / count).toFixed(1)} B`,
        `${(((readProcessorTime().busyMs - busyBefore.busyMs) / elapsed) * 100).toFixed(0)} %`,
      ]);
    } finally {
      await agent.stop();
      await held.stop();
    }
  }
  report.table(
    `live sockets, each of which moves once a window of ${values.window} s`,
    ['sockets', "agent's CPU (of one core)", 'RSS', 'told per socket and window', 'machine busy'],
    rows,
  );
}

/** What is told of a byte of the application, by one reporting end. */
async function measureTelemetry(): Promise<void> {
  const rows: string[][] = [];
  for (const compressed of [false, true]) {
    for (const load of [...LOADS, undefined]) {
      report.progress(`telemetry of ${load?.name ?? 'bulk'}`);
      const agent = await bench.startAgent('all', compressed);
      if (agent === undefined) throw new Error('there is no agent to measure');
      const bytes = load === undefined ? await bench.runBulk(seconds) : await bytesOf(load);
      await agent.stop();
      const told = statSync(agent.path).size;
      rmSync(agent.path);
      rows.push([
        load?.name ?? 'bulk',
        compressed ? 'yes' : 'no',
        bytes.toFixed(0),
        String(told),
        `${((told / bytes) * 100).toFixed(4)} %`,
      ]);
    }
  }
  report.table(
    'telemetry of one reporting end, everything that was told in the run',
    ['load', 'zstd', 'application bytes', 'told', 'share'],
    rows,
  );
}

async function bytesOf(load: Load): Promise<number> {
  const { requests, bytesPerRequest } = await runLoad(bench, 'one end', load, seconds);
  return requests * bytesPerRequest;
}

async function interleave<T>(what: string, measure: (kind: AgentKind) => Promise<T>): Promise<Record<AgentKind, T[]>> {
  const results: Record<AgentKind, T[]> = { none: [], tcp: [], all: [] };
  for (let round = 0; round < rounds; round++) {
    for (const kind of rotate(AGENTS, round)) {
      report.progress(`${what}: round ${round + 1} of ${rounds}, agent ${kind}`);
      results[kind].push(await measure(kind));
    }
  }
  report.keep(what, results);
  return results;
}

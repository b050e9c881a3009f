// Does the reducer stay as it is at half of what it can do, for half an hour?
//
// One measurement tells what a record costs its worker; then a fleet of which every socket moves in each window, and some end and open anew,
// is made so large that the worker is busy for that share of the time. Each minute shows what the reducer takes and says of itself. Memory
// that grows, a window that is late or told with the next, another number of open connections or other totals than were told fail the run.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readProcessUse } from './lib/machine.ts';
import { Report } from './lib/report.ts';
import { growthOf, spreadOf } from './lib/statistics.ts';
import { FleetHandle } from './reducer/fleet-handle.ts';
import { check, lateWindows, measure } from './reducer/measure.ts';
import { Service } from './reducer/service.ts';

const SAMPLE_MS = 1_000;
/** By how much memory may grow from the first minute to the last; what a single minute takes goes up and down with the collector by more. */
const GROWTH_MAX = 0.02;
/** Those of the measurement before. */
const TRIAL = { sockets: 1_000_000, windowMs: 10_000, warmup: 2, rounds: 2 };

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    share: { type: 'string', default: '50' },
    sockets: { type: 'string' },
    agents: { type: 'string', default: '10' },
    workers: { type: 'string', default: '1' },
    churn: { type: 'string', default: '1' },
    window: { type: 'string', default: '2' },
    lateness: { type: 'string', default: '5' },
    warmup: { type: 'string', default: '150' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- soak [options]: does the reducer stay as it is at half of what it can do, for half an hour?

  --minutes N   how long (30)
  --share N     percent of the time for which the workers are busy (50)
  --sockets N   live sockets; as many as take that share by default
  --agents N    number of agents (10)
  --workers N   number of workers (1)
  --churn N     percent of the connections that end in a window (1)
  --window N    length of a window, seconds (2)
  --lateness N  how long a window waits for agents after its end, seconds (5)
  --warmup N    windows before the first minute: the reducer keeps as many for its API as fit into a bound (150)
  --json FILE   where the raw numbers go (bench/results/soak.json)`);
  process.exit(0);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

interface Minute {
  busy: number;
  rssMib: number;
  active: number;
  late: number;
}

const minutes = positive('minutes');
const windowMs = positive('window') * 1000;
const latenessMs = positive('lateness') * 1000;
const workers = positive('workers');
const agents = positive('agents');
const load = { mix: 'steady', spread: 'uniform', updates: 1, agents, churn: positive('churn') / 100 } as const;
const report = new Report('soak', values.json);
const sockets = values.sockets === undefined ? await socketsOfShare() : positive('sockets');
const told: Minute[] = [];
const { coalesced, difference } = await soak();
report.keep('minutes', told);
report.table(
  `${sockets} sockets of ${agents} agents, all of which move in each window of ${values.window} s, ${values.churn} % end and open anew; ${workers} worker${workers > 1 ? 's' : ''}`,
  ['minute', 'workers busy', 'RSS at most', 'active', 'late windows'],
  told.map(({ busy, rssMib, active, late }, minute) => [
    String(minute + 1),
    `${(100 * busy).toFixed(0)} %`,
    `${rssMib.toFixed(0)} MiB`,
    String(active),
    String(late),
  ]),
);
report.finish();
judge();

/** Of what a record costs in a trial: so many that the workers need `share` of each window for them. */
async function socketsOfShare(): Promise<number> {
  report.progress('what a record costs');
  const [{ workersNs, updates }] = await measure([{ ...load, ...TRIAL, workers, latenessMs }]);
  const share = positive('share') / 100;
  // An even number for each pair of agents.
  return Math.floor((share * workers * windowMs * 1e6) / (workersNs / updates) / agents) * agents;
}

/** Resolves to how often a window was told with the one before, and what the totals at the end differ in, if anything. */
async function soak(): Promise<{ coalesced: number; difference: string | undefined }> {
  const service = await Service.start({ workers, windowMs, latenessMs });
  const fleet = new FleetHandle({ ...load, sockets, port: service.port, windowMs });
  try {
    await fleet.perform({ kind: 'rest' });
    await fleet.perform({ kind: 'open' });
    await fleet.perform({ kind: 'rounds', count: positive('warmup') });
    const lateBefore = lateWindows(await service.metrics());
    const coalescedBefore = fleet.report.coalesced;
    const rounds = fleet.perform({ kind: 'rounds', count: Math.ceil((minutes * 60_000) / windowMs) });
    await Promise.all([rounds, watch(service, lateBefore)]);
    await sleep(windowMs);
    const checked = check(service, fleet.report, { mix: load.mix, sockets, agents, lateBefore });
    const difference = await checked.then(
      () => undefined,
      ({ message }: Error) => message,
    );
    return { coalesced: fleet.report.coalesced - coalescedBefore, difference };
  } finally {
    await fleet.stop();
    await service.stop();
  }
}

async function watch(service: Service, lateBefore: number): Promise<void> {
  const startMs = performance.now();
  while (told.length < minutes) {
    const began = { atMs: performance.now(), ...service.cpuTimes() };
    let rssMib = 0;
    while (performance.now() - startMs < (told.length + 1) * 60_000) {
      await sleep(SAMPLE_MS);
      rssMib = Math.max(rssMib, readProcessUse(service.pid).rssMib);
    }
    const busyNs = service.cpuTimes().workersNs - began.workersNs;
    const metrics = await service.metrics();
    told.push({
      busy: busyNs / 1e6 / (performance.now() - began.atMs) / workers,
      rssMib,
      active: metrics.sum('tributary_flow_active', { tributary_level: 'az_az' }),
      late: lateWindows(metrics) - lateBefore,
    });
    report.progress(`minute ${told.length} of ${minutes}: ${rssMib.toFixed(0)} MiB`);
  }
}

function judge(): void {
  const third = Math.ceil(told.length / 3);
  const memory = told.map(({ rssMib }) => rssMib);
  const [first, last] = [memory.slice(0, third), memory.slice(-third)].map((part) => spreadOf(part).median.toFixed(0));
  const growth = growthOf(memory);
  const others = told.filter(({ active }) => active !== sockets / 2).length;
  const memoryText =
    growth === undefined
      ? 'fewer than three minutes cannot tell whether memory grows'
      : `memory grew by ${(100 * growth).toFixed(2)} % along the line that fits all minutes, from a median of ${first} to ${last} MiB in thirds`;
  console.log(`${memoryText}; ${coalesced} windows were told with the one before`);
  if (difference !== undefined) console.error(difference);
  if ((growth ?? 0) <= GROWTH_MAX && others === 0 && coalesced === 0 && difference === undefined) return;
  console.error(
    `bench soak: not as it was: at most ${100 * GROWTH_MAX} % more memory in the last minute than in the first along that line, always ${sockets / 2} open connections (otherwise in ${others} minutes), no window told with another and all that was told are expected`,
  );
  process.exitCode = 1;
}

function positive(
  name: 'minutes' | 'share' | 'sockets' | 'agents' | 'workers' | 'churn' | 'window' | 'lateness' | 'warmup',
) {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`bench soak: --${name} ${values[name]}: a whole number above 0 is needed`);
  process.exit(2);
}

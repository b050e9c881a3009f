// One measurement: reducers, each with a fleet, as processes beside each other, rounds in which everything moves, and at the end whether the reducers
// counted exactly what was told. A run whose counts differ is void.

import { setTimeout as sleep } from 'node:timers/promises';
import { readProcessorTime, readProcessUse, readThreadTimes } from '../lib/machine.ts';
import { rotate } from '../lib/statistics.ts';
import type { FleetOptions, Mix } from './fleet.ts';
import { FleetHandle } from './fleet-handle.ts';
import type { FleetReport } from './fleet-process.ts';
import { ProbeHandle } from './probe-handle.ts';
import { type Metrics, Service, sampleOf } from './service.ts';

const LOST = 'tributary_events_lost_total';
/** What a lack of room for them takes from is told apart from bytes, connections and open flows. */
const TALLY_REASONS = ['tally_limit', 'histogram_limit'];
/** Rows of the least table of tallies, which is that of their histograms: a fleet with more edges may be refused some. */
const TALLY_EDGES_MAX = 131_072;
/** What was told last is in a scrape once its window has closed and the export thread has taken it: on a busy machine that takes a while. */
const SETTLE_MS_MAX = 20_000;
const SETTLE_STEP_MS = 1_000;

export interface MeasureOptions extends FleetOptions {
  workers: number;
  windowMs: number;
  latenessMs: number;
  /** Rounds before those that are measured, and these. */
  warmup: number;
  rounds: number;
  profileFolder?: string;
}

export interface Measured {
  updates: number;
  connections: number;
  records: number;
  wireBytes: number;
  workersNs: number;
  /** The same of each round. */
  roundsNs: number[];
  processNs: number;
  generatorNs: number;
  softirqMs: number;
  wallMs: number;
  receiptMs: number[];
  commitMs: number[];
  /** From the sending of a small frame of an agent that tells nothing else to its receipt, one after the other. */
  delaysMs: number[];
  /** Windows told with the one before, because that was still under way; connections that broke and were resumed, the other agent's apart. */
  coalesced: number;
  reconnects: number;
  probeReconnects: number;
  bytesPerSocket: number;
  bytesPerAgent: number;
  /** Tallies and histograms of them that found no room, since the start; none when the fleet has at most TALLY_EDGES_MAX edges. */
  talliesRefused: number;
}

/** A reducer that runs, and the fleet that tells it. */
interface Side {
  options: MeasureOptions;
  service: Service;
  fleet: FleetHandle;
  startRss: number;
  idleRss: number;
  liveRss: number;
  lateBefore: number;
  costs: Costs;
}

type Costs = Omit<Measured, 'delaysMs' | 'probeReconnects' | 'bytesPerSocket' | 'bytesPerAgent' | 'talliesRefused'>;

/** The same number of rounds of each, one of each in turn, so that what else the machine does meets all of them. */
export async function measure(all: readonly MeasureOptions[]): Promise<Measured[]> {
  const sides: Side[] = [];
  try {
    for (const options of all) sides.push(await startSide(options));
    for (let round = 0; round < all[0].rounds; round++)
      for (const side of rotate(sides, round)) await measureRound(side);
    const measured: Measured[] = [];
    for (const side of sides) measured.push({ ...side.costs, ...(await finishSide(side)) });
    return measured;
  } finally {
    for (const { fleet, service } of sides) {
      await fleet.stop();
      await service.stop();
    }
  }
}

/** With all sockets open and everything before the rounds committed. */
async function startSide(options: MeasureOptions): Promise<Side> {
  const service = await Service.start(options);
  const fleet = new FleetHandle({ ...options, port: service.port });
  try {
    const rss = () => readProcessUse(service.pid).rssMib;
    const startRss = rss();
    await fleet.perform({ kind: 'rest' });
    const idleRss = rss();
    await fleet.perform({ kind: 'open' });
    await fleet.perform({ kind: 'rounds', count: options.warmup });
    const liveRss = rss();
    // That a whole fleet opens its sockets at once may take longer than a window; what is measured may not.
    const lateBefore = lateWindows(await service.metrics());
    return { options, service, fleet, startRss, idleRss, liveRss, lateBefore, costs: noCosts() };
  } catch (error) {
    await fleet.stop();
    await service.stop();
    throw error;
  }
}

function noCosts(): Costs {
  const nothing = { updates: 0, connections: 0, records: 0, wireBytes: 0, coalesced: 0, reconnects: 0 };
  const noTime = { workersNs: 0, processNs: 0, generatorNs: 0, softirqMs: 0, wallMs: 0 };
  return { ...nothing, ...noTime, roundsNs: [], receiptMs: [], commitMs: [] };
}

async function measureRound({ service, fleet, costs }: Side): Promise<void> {
  const before = { ...reading(service, fleet), ...fleet.report };
  await fleet.perform({ kind: 'rounds', count: 1 });
  const after = { ...reading(service, fleet), ...fleet.report };
  const records = ({ told }: FleetReport) => told.updates + told.opens + told.closes + told.onces;
  costs.updates += after.told.updates - before.told.updates;
  costs.connections += after.told.connections - before.told.connections;
  costs.records += records(after) - records(before);
  costs.wireBytes += after.bytes - before.bytes;
  costs.workersNs += after.workersNs - before.workersNs;
  costs.roundsNs.push(after.workersNs - before.workersNs);
  costs.processNs += after.processNs - before.processNs;
  costs.generatorNs += after.generatorNs - before.generatorNs;
  costs.softirqMs += after.softirqMs - before.softirqMs;
  costs.wallMs += after.wallMs - before.wallMs;
  costs.receiptMs.push(...after.receiptMs);
  costs.commitMs.push(...after.commitMs);
  costs.coalesced += after.coalesced - before.coalesced;
  costs.reconnects = after.lost.length;
}

/** As many rounds again with another agent, which tells small frames: each costs the worker more than a hundred records. Then the totals are compared. */
async function finishSide({ options, service, fleet, ...side }: Side): Promise<Omit<Measured, keyof Costs>> {
  const { mix, windowMs, rounds, sockets, agents } = options;
  const probe = await ProbeHandle.start({ port: service.port, windowMs, nodeId: agents + 1 });
  try {
    await fleet.perform({ kind: 'rounds', count: rounds });
    const { delaysMs, lost } = await probe.take();
    await sleep(windowMs);
    const { lateBefore } = side;
    const metrics = await check(service, fleet.report, { mix, sockets, agents: agents + 1, lateBefore });
    const talliesRefused = metrics
      .nonzero(LOST)
      .filter(isTally)
      .reduce((sum, line) => sum + sampleOf(line), 0);
    return {
      delaysMs,
      probeReconnects: lost.length,
      bytesPerSocket: ((side.liveRss - side.idleRss) * 2 ** 20) / sockets,
      bytesPerAgent: ((side.idleRss - side.startRss) * 2 ** 20) / agents,
      talliesRefused,
    };
  } finally {
    probe.stop();
  }
}

export function lateWindows(metrics: Metrics): number {
  return metrics.sum('tributary_reducer_window_count_total', { tributary_reason: 'late' });
}

function reading(service: Service, fleet: FleetHandle) {
  const generatorNs = readThreadTimes(fleet.pid).reduce((sum, { cpuNs }) => sum + cpuNs, 0);
  const { softirqMs } = readProcessorTime();
  return { ...service.cpuTimes(), generatorNs, softirqMs, wallMs: performance.now() };
}

export interface Expected {
  mix: Mix;
  sockets: number;
  /** All that are connected. */
  agents: number;
  /** Windows that were late before what is checked. */
  lateBefore: number;
}

/**
 * Throws unless the reducer's counters and what it exports are what the fleet told, or become so within SETTLE_MS_MAX: nothing late, lost, refused or
 * counted twice, but for tallies of more than TALLY_EDGES_MAX edges.
 */
export async function check(service: Service, report: FleetReport, expected: Expected): Promise<Metrics> {
  const startMs = performance.now();
  while (true) {
    const metrics = await service.metrics();
    const difference = differenceOf(metrics, report, expected);
    if (difference === undefined) return metrics;
    if (performance.now() - startMs > SETTLE_MS_MAX) throw new Error(difference);
    await sleep(SETTLE_STEP_MS);
  }
}

function differenceOf(
  metrics: Metrics,
  { told, edges, frames, lost }: FleetReport,
  { mix, sockets, agents, lateBefore }: Expected,
): string | undefined {
  const sum = metrics.sum.bind(metrics);
  const level = { tributary_level: 'az_az' };
  const bytes = (direction: string) =>
    sum('tributary_flow_io_bytes_total', { ...level, tributary_flow_direction: direction });
  const found = {
    forwardBytes: bytes('forward'),
    reverseBytes: bytes('reverse'),
    connections: sum('tributary_tcp_connection_count_total', level),
    active: sum('tributary_flow_active', level),
    refused:
      sum('tributary_reducer_frame_count_total') -
      sum('tributary_reducer_frame_count_total', { tributary_reason: 'accepted' }) -
      sum('tributary_reducer_frame_count_total', { tributary_reason: 'repeated' }) +
      sum('tributary_reducer_socket_refused_total'),
    lost: lossesOf(metrics, edges),
    late: lateWindows(metrics) - lateBefore,
    agents: sum('tributary_reducer_agent_active'),
  };
  const expected = {
    ...{ forwardBytes: told.forwardBytes, reverseBytes: told.reverseBytes, connections: told.connections },
    ...{ active: mix === 'short' ? 0 : sockets / 2, refused: 0, lost: [], late: 0, agents },
  };
  // Empty windows go on, so there may be more frames by now.
  const accepted = sum('tributary_reducer_frame_count_total', { tributary_reason: 'accepted' });
  if (JSON.stringify(found) === JSON.stringify(expected) && accepted >= frames) return undefined;
  return `void, the reducer counted otherwise than was told\ntold  ${JSON.stringify({ ...expected, frames })}\nfound ${JSON.stringify({ ...found, frames: accepted })}\n${lost.join('\n')}`;
}

/** What the reducer says that it lost, without what may be refused of tallies of so many edges. */
export function lossesOf(metrics: Metrics, edges: number): string[] {
  return metrics.nonzero(LOST).filter((line) => edges <= TALLY_EDGES_MAX || !isTally(line));
}

function isTally(line: string): boolean {
  return TALLY_REASONS.some((reason) => line.includes(`tributary_reason="${reason}"`));
}

// One measurement: a reducer and a fleet as two processes, rounds in which everything moves, and at the end whether the reducer counted
// exactly what was told. A run whose counts differ is void.

import { setTimeout as sleep } from 'node:timers/promises';
import { readProcessorTime, readProcessUse, readThreadTimes } from '../lib/machine.ts';
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

export async function measure(options: MeasureOptions): Promise<Measured> {
  const { mix, workers, windowMs, latenessMs, profileFolder, warmup, rounds, sockets, agents } = options;
  const service = await Service.start({ workers, windowMs, latenessMs, profileFolder });
  const startRss = readProcessUse(service.pid).rssMib;
  const fleet = new FleetHandle({ ...options, port: service.port });
  let probe: ProbeHandle | undefined;
  try {
    await fleet.perform({ kind: 'rest' });
    const idleRss = readProcessUse(service.pid).rssMib;
    await fleet.perform({ kind: 'open' });
    await fleet.perform({ kind: 'rounds', count: warmup });
    const liveRss = readProcessUse(service.pid).rssMib;
    // That a whole fleet opens its sockets at once may take longer than a window; what is measured may not.
    const lateBefore = lateWindows(await service.metrics());
    const before = reading(service, fleet);
    const toldBefore = fleet.report;
    await fleet.perform({ kind: 'rounds', count: rounds });
    const after = reading(service, fleet);
    const { told, receiptMs, commitMs, bytes, coalesced, lost } = fleet.report;
    // Each frame costs the worker more than a hundred records, so these rounds are no part of what is counted.
    probe = await ProbeHandle.start({ port: service.port, windowMs, nodeId: agents + 1 });
    await fleet.perform({ kind: 'rounds', count: rounds });
    const { delaysMs, lost: probeLost } = await probe.take();
    await sleep(windowMs);
    const metrics = await check(service, fleet.report, { mix, sockets, agents: agents + 1, lateBefore });
    const talliesRefused = metrics
      .nonzero(LOST)
      .filter(isTally)
      .reduce((sum, line) => sum + sampleOf(line), 0);
    const records = (sum: typeof told) => sum.updates + sum.opens + sum.closes + sum.onces;
    return {
      updates: told.updates - toldBefore.told.updates,
      connections: told.connections - toldBefore.told.connections,
      records: records(told) - records(toldBefore.told),
      wireBytes: bytes - toldBefore.bytes,
      workersNs: after.workersNs - before.workersNs,
      processNs: after.processNs - before.processNs,
      generatorNs: after.generatorNs - before.generatorNs,
      softirqMs: after.softirqMs - before.softirqMs,
      wallMs: after.wallMs - before.wallMs,
      ...{
        receiptMs,
        commitMs,
        delaysMs,
        coalesced: coalesced - toldBefore.coalesced,
        reconnects: lost.length,
        probeReconnects: probeLost.length,
      },
      bytesPerSocket: ((liveRss - idleRss) * 2 ** 20) / sockets,
      bytesPerAgent: ((idleRss - startRss) * 2 ** 20) / agents,
      talliesRefused,
    };
  } finally {
    probe?.stop();
    await fleet.stop();
    await service.stop();
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

// One measurement: a reducer and a fleet as two processes, rounds in which everything moves, and at the end whether the reducer counted
// exactly what was told. A run whose counts differ is void.

import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readProcessorTime, readProcessUse, readThreadTimes } from '../lib/machine.ts';
import type { FleetOptions, Mix } from './fleet.ts';
import { FleetHandle } from './fleet-handle.ts';
import type { FleetReport } from './fleet-process.ts';
import type { ProbeReport, ProbeSettings } from './probe-process.ts';
import { type Metrics, Service, sampleOf } from './service.ts';

const LOST = 'tributary_events_lost_total';
/** What a lack of room for them takes from is told apart from bytes, connections and open flows. */
const TALLY_REASONS = ['tally_limit', 'histogram_limit'];
const PROBE = join(import.meta.dirname, 'probe-process.ts');

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
  /** Windows told with the one before, because that was still under way; connections that broke and were resumed. */
  coalesced: number;
  reconnects: number;
  bytesPerSocket: number;
  bytesPerAgent: number;
  /** Tallies and histograms of them that found no room, since the start: a fleet may have more edges than these tables have rows. */
  talliesRefused: number;
}

export async function measure(options: MeasureOptions): Promise<Measured> {
  const { mix, workers, windowMs, latenessMs, profileFolder, warmup, rounds, sockets, agents } = options;
  const service = await Service.start({ workers, windowMs, latenessMs, profileFolder });
  const startRss = readProcessUse(service.pid).rssMib;
  const fleet = new FleetHandle({ ...options, port: service.port });
  let probe: Probe | undefined;
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
    probe = await Probe.start({ port: service.port, windowMs, nodeId: agents + 1 });
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
        reconnects: lost.length + probeLost.length,
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

/** Throws unless the reducer's counters and what it exports are what the fleet told: nothing late, lost, refused or counted twice, tallies apart. */
export async function check(
  service: Service,
  { told, frames, lost }: FleetReport,
  { mix, sockets, agents, lateBefore }: Expected,
): Promise<Metrics> {
  const metrics = await service.metrics();
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
    lost: metrics.nonzero(LOST).filter((line) => !isTally(line)),
    late: lateWindows(metrics) - lateBefore,
    agents: sum('tributary_reducer_agent_active'),
  };
  const expected = {
    ...{ forwardBytes: told.forwardBytes, reverseBytes: told.reverseBytes, connections: told.connections },
    ...{ active: mix === 'short' ? 0 : sockets / 2, refused: 0, lost: [], late: 0, agents },
  };
  // Empty windows go on, so there may be more frames by now.
  const accepted = sum('tributary_reducer_frame_count_total', { tributary_reason: 'accepted' });
  if (JSON.stringify(found) === JSON.stringify(expected) && accepted >= frames) return metrics;
  throw new Error(
    `void, the reducer counted otherwise than was told\ntold  ${JSON.stringify({ ...expected, frames })}\nfound ${JSON.stringify({ ...found, frames: accepted })}\n${lost.join('\n')}`,
  );
}

function isTally(line: string): boolean {
  return TALLY_REASONS.some((reason) => line.includes(`tributary_reason="${reason}"`));
}

class Probe {
  readonly #child: ChildProcess;

  /** Resolves when it is welcome. */
  static async start(settings: ProbeSettings): Promise<Probe> {
    const probe = new Probe(settings);
    await probe.#told();
    return probe;
  }

  private constructor(settings: ProbeSettings) {
    this.#child = fork(PROBE, [JSON.stringify(settings)]);
  }

  /** What it has timed. */
  async take(): Promise<ProbeReport> {
    this.#child.send('report');
    return await this.#told();
  }

  async #told(): Promise<ProbeReport> {
    const { promise, resolve, reject } = Promise.withResolvers<ProbeReport>();
    const ended = (code: number | null) => reject(new Error(`the probe ended with ${code}`));
    this.#child.once('message', resolve).once('exit', ended);
    const report = await promise;
    this.#child.off('exit', ended);
    return report;
  }

  stop(): void {
    this.#child.kill();
  }
}

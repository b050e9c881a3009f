// wrk against nginx: a request of 1 KB, an answer of 10 KB.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readProcessorTime } from '../lib/machine.ts';
import { type Bench, type Topology, WEB_PORT } from './hosts.ts';

export interface Load {
  name: string;
  /** A connection for each request. */
  closes: boolean;
  connections: number;
}

export const LOADS: Load[] = [
  { name: 'keep-alive', closes: false, connections: 16 },
  { name: 'connection per request', closes: true, connections: 16 },
  { name: 'keep-alive, one client', closes: false, connections: 1 },
  { name: 'connection per request, one client', closes: true, connections: 1 },
];

export interface LoadResult {
  requests: number;
  perSecond: number;
  /** Of the whole machine, client and agent included. */
  cpuUs: number;
  p50Us: number;
  p99Us: number;
  /** Application bytes of both directions. */
  bytesPerRequest: number;
}

/** Told by wrk on one line, which its own report is not made for. */
const SCRIPT = (closes: boolean) => `
wrk.headers["X-Fill"] = string.rep("x", ${closes ? 930 : 949})
${closes ? 'wrk.headers["Connection"] = "close"' : ''}
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`;
const REQUEST_BYTES = 1000;

/** Throws when a request failed: what fails costs something else. */
export async function runLoad(bench: Bench, topology: Topology, load: Load, seconds: number): Promise<LoadResult> {
  const script = join(bench.directory, `load-${load.closes ? 'close' : 'keep'}.lua`);
  writeFileSync(script, SCRIPT(load.closes));
  const { host, address } = bench.place(topology);
  const before = readProcessorTime();
  const output = await host.exec(
    ...(['wrk', '-t1', `-c${load.connections}`, `-d${seconds}s`, '-s', script] as const),
    `http://${address}:${WEB_PORT}/`,
  );
  const after = readProcessorTime();
  const [requests, durationUs, bytes, p50Us, p99Us, errors] = (/^RESULT (.*)$/m.exec(output)?.[1] ?? '')
    .split(' ')
    .map(Number);
  if (!(requests > 0)) throw new Error(`wrk made no request:\n${output}`);
  if (errors > 0) throw new Error(`${errors} of ${requests} requests of ${load.name} failed:\n${output}`);
  return {
    requests,
    perSecond: requests / (durationUs / 1e6),
    cpuUs: ((after.busyMs - before.busyMs) * 1000) / requests,
    p50Us,
    p99Us,
    bytesPerRequest: REQUEST_BYTES + bytes / requests,
  };
}

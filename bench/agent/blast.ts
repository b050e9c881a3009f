// Datagrams from one sender as fast as it can, from host to host.

import { readProcessorTime } from '../lib/machine.ts';
import type { Bench } from './hosts.ts';

const PORT = 5202;

export interface BlastResult {
  perSecond: number;
  /** Of the whole machine for each datagram that was sent. */
  cpuNs: number;
}

export async function runBlast(bench: Bench, seconds: number): Promise<BlastResult> {
  bench.run(bench.server, 'iperf3', '-s', '-1', '-p', String(PORT));
  await bench.listening(PORT);
  const before = readProcessorTime();
  const output = await bench.server.exec(
    ...(['iperf3', '-J', '-u', '-b', '0', '-l', '64', '-t', String(seconds), '-p', String(PORT)] as const),
    ...['-c', '127.0.0.1'],
  );
  const after = readProcessorTime();
  const { end } = JSON.parse(output) as { end: { sum: { packets: number; seconds: number } } };
  return {
    perSecond: end.sum.packets / end.sum.seconds,
    cpuNs: ((after.busyMs - before.busyMs) * 1e6) / end.sum.packets,
  };
}

// iperf3 on two hosts of a lab, and what it says that it moved.
import assert from 'node:assert/strict';
import { type Lab, listening } from './lab.ts';

/** Payload bytes. What had arrived but was not read when the test ended lies between the two; the busier the machine, the more. */
export interface IperfReport {
  sent: number;
  received: number;
}

/** A server on `host` for one test; resolves when it listens. */
export async function startIperfServer(lab: Lab, host: string, port: number): Promise<void> {
  lab.run(host, 'iperf3', '-s', '-1', '-p', String(port));
  await listening(lab.network.host(host), port);
}

/** Runs one test of `host` against `address` to its end; paced by `-b`, so that little is unread when it ends. */
export async function runIperf(
  lab: Lab,
  host: string,
  address: string,
  port: number,
  ...args: string[]
): Promise<IperfReport> {
  const output = await lab.network.host(host).exec('iperf3', '-J', '-c', address, '-p', String(port), ...args);
  const { end } = JSON.parse(output) as { end: Record<'sum_sent' | 'sum_received', { bytes: number }> };
  return { sent: end.sum_sent.bytes, received: end.sum_received.bytes };
}

/** Within 0.1 % of what iperf3 says. */
export function assertBooked(bytes: number, { sent, received }: IperfReport): void {
  assert.ok(
    bytes >= received * 0.999 && bytes <= sent * 1.001,
    `${bytes} bytes, iperf3 sent ${sent} and received ${received}`,
  );
}

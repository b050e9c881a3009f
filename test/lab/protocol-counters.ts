// The kernel's own counters of a host: each has those of its network namespace.
import type { LabHost } from './network.ts';

/** E.g. `Tcp`, `PassiveOpens` of /proc/net/snmp, or `TcpExt`, `TCPOFOQueue` of /proc/net/netstat. */
export async function readCounter(host: LabHost, protocol: string, name: string): Promise<number> {
  const lines = (await host.exec('cat', '/proc/net/snmp', '/proc/net/netstat'))
    .split('\n')
    .filter((line) => line.startsWith(`${protocol}: `));
  const [names, values] = lines.map((line) => line.split(' '));
  const at = names.indexOf(name);
  if (at < 0) throw new Error(`the kernel has no ${protocol} ${name}`);
  return Number(values[at]);
}

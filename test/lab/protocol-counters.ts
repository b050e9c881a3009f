// The kernel's own counters of a host: each has those of its network namespace.
import type { LabHost } from './network.ts';

/** E.g. `Tcp`, `PassiveOpens` of /proc/net/snmp, `TcpExt`, `TCPOFOQueue` of /proc/net/netstat, or `Udp6`, `NoPorts` of /proc/net/snmp6. */
export async function readCounter(host: LabHost, protocol: string, name: string): Promise<number> {
  const files = ['/proc/net/snmp', '/proc/net/netstat', '/proc/net/snmp6'];
  const lines = (await host.exec('cat', ...files)).split('\n').map((line) => line.split(/\s+/));
  const [names, values] = lines.filter(([title]) => title === `${protocol}:`);
  const value =
    names === undefined ? lines.find(([title]) => title === protocol + name)?.[1] : values[names.indexOf(name)];
  if (value === undefined) throw new Error(`the kernel has no ${protocol} ${name}`);
  return Number(value);
}

// The addresses by which the host, or the namespace that the agent is limited to, can be reached.
import { execFile } from 'node:child_process';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import ipaddr from 'ipaddr.js';

const run = promisify(execFile);
const PATIENCE_MS = 2_000;
/** These mean something else on every host. */
const LOCAL_RANGES: readonly string[] = ['loopback', 'linkLocal', 'unspecified'];

/** 16 bytes each, IPv4 as ::ffff:a.b.c.d, in a fixed order; loopback and link-local addresses are left out. */
export async function readHostAddresses(netnsPath: string | undefined): Promise<Uint8Array[]> {
  const texts = netnsPath === undefined ? ownAddresses() : await addressesInside(netnsPath);
  const addresses = [...new Set(texts)]
    .map((text) => ipaddr.parse(text))
    .filter((address) => !LOCAL_RANGES.includes(address.range()));
  return addresses.map(toBytes).sort(Buffer.compare);
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((ones = []) => ones.map(({ address }) => address.split('%')[0]));
}

/** Another namespace's addresses: a thread of Node cannot enter it, a short-lived process can. Rejects when there is no nsenter. */
async function addressesInside(netnsPath: string): Promise<string[]> {
  const files = ['/proc/self/net/fib_trie', '/proc/self/net/if_inet6'];
  const { stdout } = await run('nsenter', [`--net=${netnsPath}`, 'cat', ...files], { timeout: PATIENCE_MS });
  return parseKernelTables(stdout);
}

/** The local addresses in /proc/net/fib_trie (a line with the address, then one with "host LOCAL") and /proc/net/if_inet6. */
export function parseKernelTables(text: string): string[] {
  const ipv4 = [...text.matchAll(/\|-- (\d+\.\d+\.\d+\.\d+)\n\s+\/32 host LOCAL/g)].map((match) => match[1]);
  const ipv6 = [...text.matchAll(/^([0-9a-f]{32}) /gm)].map((match) => match[1].replace(/(.{4})(?=.)/g, '$1:'));
  return [...ipv4, ...ipv6];
}

function toBytes(address: ipaddr.IPv4 | ipaddr.IPv6): Uint8Array {
  return Uint8Array.from(
    address.kind() === 'ipv4' ? (address as ipaddr.IPv4).toIPv4MappedAddress().toByteArray() : address.toByteArray(),
  );
}

import { BlockList, isIP } from 'node:net';
import { UsageError } from '../../lib/usage-error.ts';

/** Where to listen or to connect to. */
export type ListenAddress = { path: string } | { host: string; port: number };

const FORMS = 'HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH';

/** sun_path holds 108 bytes with its NUL (unix(7)); Node would cut a longer one. */
export const SOCKET_PATH_BYTES_MAX = 107;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** `:PORT` means every interface. Throws UsageError TRB_ADDRESS. */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith('unix:')) return { path: parsePath(text) };
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d+)$/.exec(text);
  if (match === null) throw new UsageError('TRB_ADDRESS', `"${text}" is not an address: ${FORMS}`);
  const [, ipv6, name, digits] = match;
  if (ipv6 !== undefined && isIP(ipv6) !== 6) throw new UsageError('TRB_ADDRESS', `"${ipv6}" is not an IPv6 address`);
  const port = Number(digits);
  if (port > 65_535) throw new UsageError('TRB_ADDRESS', `port ${digits} in "${text}" is above 65535`);
  return { host: ipv6 ?? (name === '' ? '::' : name), port };
}

export function formatAddress(address: ListenAddress): string {
  if ('path' in address) return `unix:${address.path}`;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Nothing that is sent there leaves this host. */
export function isLocal(address: ListenAddress): boolean {
  if ('path' in address || address.host === 'localhost') return true;
  const version = isIP(address.host);
  return version !== 0 && LOOPBACK.check(address.host, version === 4 ? 'ipv4' : 'ipv6');
}

function parsePath(text: string): string {
  const path = text.slice('unix:'.length);
  if (path === '' || Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new UsageError('TRB_ADDRESS', `the path in "${text}" has 0 or more than ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  return path;
}

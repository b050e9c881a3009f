// The guest's own counters, which are what the collector is compared with.
import { readFileSync } from 'node:fs';

function read(protocol: string, name: string): number {
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${protocol}: `))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf(name)]);
}

/** Returns what asks how far the counter has moved since now. */
export function watchSnmp(protocol: string, name: string): () => number {
  const before = read(protocol, name);
  return () => read(protocol, name) - before;
}

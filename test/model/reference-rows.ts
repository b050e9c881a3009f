/**
 * The reference model, second half: the news of flows summed into rows of seven levels (docs/architecture.md, step 8).
 */
import type { FlowNews, Tallied } from './reference-flows.ts';
import { NOTHING, type Node } from './reference-names.ts';

/** Client end first, in the order of records.Level. */
const LEVELS = [
  ['id', 'id'],
  ['id', 'az'],
  ['az', 'id'],
  ['az', 'az'],
  ['role', 'az'],
  ['az', 'role'],
  ['role', 'role'],
] as const;

/** Buckets of times: base 2^(1/8), the least up to about a microsecond. */
const BUCKETS_PER_DOUBLING = 8;
const LEAST_BUCKET = -160;

/** In place of a level. */
const HOST_LEVEL = 7;

export interface Row {
  head: string;
  level: number;
  client: Node;
  server: Node;
  protocol: number;
  serverPort: number;
  sums: Map<string, bigint>;
  fromWindow: number;
  rttMinUs: number;
  rttMaxUs: number;
  buckets: Map<number, number>;
  processes: [Set<string>, Set<string>];
  tallies: Map<string, Counted>;
}

export interface Counted {
  count: bigint;
  sum: bigint;
  buckets: Map<number, number>;
}

/** In no order; hosts, which have tallies alone, as rows of a level 7. */
export function rowsOf(news: readonly FlowNews[], hosts: readonly { host: Node; tallied: Tallied }[]): Row[] {
  const rows = new Map<string, Row>();
  for (const flow of news) {
    for (const [level, [client, server]] of LEVELS.entries()) {
      const { protocol, serverPort } = flow;
      const ends = { client: nodeAt(flow.client, client), server: nodeAt(flow.server, server) };
      addFlow(rowAt(rows, { level, ...ends, protocol, serverPort }, flow.fromWindow), flow, level === 0);
    }
  }
  for (const { host, tallied } of hosts) {
    const place = { level: HOST_LEVEL, client: host, server: host, protocol: 0, serverPort: 0 };
    addTally(rowAt(rows, place, 0), tallied);
  }
  return [...rows.values()];
}

/** The row of `rows` at this place; an empty one when there was none. */
export function rowAt(
  rows: Map<string, Row>,
  place: Pick<Row, 'level' | 'client' | 'server' | 'protocol' | 'serverPort'>,
  fromWindow: number,
): Row {
  const { level, client, server, protocol, serverPort } = place;
  const head = `${level} ${printNode(client)} -> ${printNode(server)} ${protocol}/${serverPort}`;
  const row: Row = rows.get(head) ?? {
    ...{ head, ...place, sums: new Map(), fromWindow, rttMinUs: 0, rttMaxUs: 0, buckets: new Map() },
    ...{ processes: [new Set(), new Set()], tallies: new Map() },
  };
  rows.set(head, row);
  return row;
}

function addFlow(row: Row, flow: FlowNews, isLeaf: boolean): void {
  const add = (name: string, value: bigint): void => {
    row.sums.set(name, (row.sums.get(name) ?? 0n) + value);
  };
  for (const [name, value] of Object.entries(flow.fields)) add(name, value);
  add('active', flow.isOpen ? 1n : 0n);
  row.fromWindow = Math.min(row.fromWindow, flow.fromWindow);
  const { rttUs } = flow;
  if (rttUs > 0) {
    add('rttCount', 1n);
    add('rttSumUs', BigInt(rttUs));
    row.rttMinUs = row.rttMinUs === 0 ? rttUs : Math.min(row.rttMinUs, rttUs);
    row.rttMaxUs = Math.max(row.rttMaxUs, rttUs);
    addTo(row.buckets, bucketOf(rttUs / 1e6), 1);
  }
  for (const tallied of flow.tallies) addTally(row, tallied);
  if (!isLeaf) return;
  for (const [index, { executable }] of [flow.client, flow.server].entries())
    if (executable !== '') row.processes[index].add(executable);
}

function addTally(row: Row, { kind, side, code, label, count, sum }: Tallied): void {
  const key = `${kind} ${side} ${code} ${label}`;
  const counted = row.tallies.get(key) ?? { count: 0n, sum: 0n, buckets: new Map() };
  row.tallies.set(key, { ...counted, count: counted.count + count, sum: counted.sum + sum });
  // Samples that are told together lie in one bucket, so their mean does.
  if (sum > 0n) addTo(counted.buckets, bucketOf(Number(sum) / Number(count) / 1e9), Number(count));
}

export function addTo(buckets: Map<number, number>, bucket: number, count: number): void {
  buckets.set(bucket, (buckets.get(bucket) ?? 0) + count);
}

/** Upper-inclusive, as the exponential histogram of OpenTelemetry. */
function bucketOf(value: number): number {
  return Math.max(LEAST_BUCKET, Math.ceil(Math.log2(value) * BUCKETS_PER_DOUBLING) - 1);
}

/** What a level shows of a node. */
function nodeAt(node: Node, level: 'id' | 'az' | 'role'): Node {
  if (level === 'id') return node;
  const { kind, role, zone } = node;
  return { ...NOTHING, kind, role, zone: level === 'az' ? zone : '' };
}

function printNode({ id, role, zone, kind, host, address, process, container, containerName, image }: Node): string {
  return [id, role, zone, kind, host, address, process, container, containerName, image, ''].join('|');
}

/** A line of text. */
export function printRow({ head, sums, fromWindow, rttMinUs, rttMaxUs, buckets, processes, tallies }: Row): string {
  const values = new Map(sums)
    .set('fromWindow', BigInt(fromWindow))
    .set('rttMinUs', BigInt(rttMinUs))
    .set('rttMaxUs', BigInt(rttMaxUs));
  const printed = [...values].filter(([, value]) => value !== 0n).sort(([a], [b]) => (a < b ? -1 : 1));
  const counted = [...tallies]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, { count, sum, buckets: of }]) => ` | ${key} = ${count} ${sum} ${printBuckets(of)}`);
  const [client, server] = processes.map((names) => [...names].sort().join(' '));
  const within = client === '' && server === '' ? '' : `(${client} -> ${server})`;
  return `${head} ${printed.join(' ')} ${printBuckets(buckets)}${counted.join('')}${within}`;
}

function printBuckets(buckets: Map<number, number>): string {
  return [...buckets].sort(([a], [b]) => a - b).join(' ');
}

// Rows of closed windows: one for each edge of each level, and one for each host. Rows of several workers, or of adjacent windows, merge by key;
// order is that of the key's bytes, so the same windows give the same list whoever made them.
import { type EdgePoint, Level, NodeKind } from '../wire/gen/records-layout.ts';
import { type Image, type Pod, readImage, readPod } from './container-names.ts';
import { type EdgeProcesses, mergeProcesses } from './edge-processes.ts';
import { type Histogram, mergeHistograms } from './histogram.ts';
import { endLevels } from './levels.ts';
import { addTallies, addTally, copyTallies, type TalliesByKey } from './tallies.ts';

export interface Node extends Image, Pod {
  kind: NodeKind;
  id: string;
  role: string;
  zone: string;
  host: string;
  address: string;
  process: string;
  /** Its id. */
  container: string;
  containerName: string;
}

/** The fields of an EdgePoint that add up over workers and windows. A copy of a literal takes a quarter of what an object made of its fields takes. */
export const NO_SUMS = {
  forwardBytes: 0,
  reverseBytes: 0,
  forwardPackets: 0,
  reversePackets: 0,
  forwardRetransmits: 0,
  reverseRetransmits: 0,
  residualBytes: 0,
  judgedBytes: 0,
  lateBytes: 0,
  connections: 0,
  closed: 0,
  refused: 0,
  timedOut: 0,
  abandoned: 0,
  unreachable: 0,
  failedOther: 0,
  resetsClient: 0,
  resetsServer: 0,
  flowsBoth: 0,
  flowsClient: 0,
  flowsServer: 0,
  rttCount: 0,
  rttSumUs: 0,
  clientBytesSent: 0,
  clientBytesReceived: 0,
  clientPacketsSent: 0,
  clientPacketsReceived: 0,
  serverBytesSent: 0,
  serverBytesReceived: 0,
  serverPacketsSent: 0,
  serverPacketsReceived: 0,
} satisfies Partial<Record<keyof EdgePoint, number>>;

export type SumField = keyof typeof NO_SUMS;

export const SUM_FIELDS = Object.keys(NO_SUMS) as SumField[];

/** One edge of a level; or one host, which is both of its ends and has tallies alone. */
export interface EdgeRow {
  key: Buffer;
  isHost: boolean;
  /** False: it has tallies alone, as a host has, and a piece of a row that is told in several. */
  hasColumns: boolean;
  level: Level;
  protocol: number;
  serverPort: number;
  client: Node;
  server: Node;
  /** Exact up to 2^53. */
  sums: Record<SumField, number>;
  /** Connections open at the end of the last window. */
  active: number;
  /** First window that the bytes cover: less than the row's window when some were late. */
  fromWindow: number;
  rttMinUs: number;
  rttMaxUs: number;
  histogram: Histogram | undefined;
  /** Of a row of id_id that has some. */
  processes: EdgeProcesses | undefined;
  tallies: TalliesByKey;
}

const TRANSPORTS: Record<number, string> = { 6: 'tcp', 17: 'udp' };

/** `network.transport` of an IANA protocol number; the number itself for what has no name there. */
export function transportName(protocol: number): string {
  return TRANSPORTS[protocol] ?? String(protocol);
}

export type RowsByKey = Map<string, EdgeRow>;

/** Adds `later` to `rows` in place; `active` is taken from `later`. */
export function mergeRows(rows: RowsByKey, later: Iterable<EdgeRow>): RowsByKey {
  for (const row of later) mergeRow(rows, row, row.active);
  return rows;
}

/**
 * `rows` so that `known` and they have at most `countMax` keys, and one of (other) for each level and protocol: what has no place there is
 * added to (other), as the stages do at their limits. `overflow`: rows that were.
 */
export function boundRows(
  rows: RowsByKey,
  known: Pick<RowsByKey, 'has' | 'size'>,
  countMax: number,
): { rows: RowsByKey; overflow: number } {
  const bounded: RowsByKey = new Map();
  let room = Math.max(0, countMax - known.size);
  let overflow = 0;
  for (const [key, row] of rows) {
    if (isOther(row)) addOther(bounded, row);
    else if (known.has(key)) bounded.set(key, row);
    else if (room > 0) {
      bounded.set(key, row);
      room--;
    } else {
      overflow++;
      addOther(bounded, toOther(row));
    }
  }
  return { rows: bounded, overflow };
}

/** A row that others of its level and protocol are added to. A window may have it before or after those. */
function isOther({ client, server, serverPort }: EdgeRow): boolean {
  return client.kind === NodeKind.Other && server.kind === NodeKind.Other && serverPort === 0;
}

/** Adds `other`, and what it has open, to `rows` of the same window; it stays as it is. */
function addOther(rows: RowsByKey, other: EdgeRow): void {
  mergeRow(rows, other, other.active + (rows.get(mapKey(other))?.active ?? 0));
}

/**
 * `rows` so that `known`, which have `count`, and they have at most `countMax` distinct tallies, those of (other) not counted: what has no place there is added to
 * (other) without its label. `overflow`: tallies that were moved.
 */
export function boundTallies(
  rows: RowsByKey,
  known: ReadonlyMap<string, EdgeRow>,
  { count, countMax }: { count: number; countMax: number },
): { rows: RowsByKey; overflow: number } {
  const bounded: RowsByKey = new Map();
  let total = count;
  let overflow = 0;
  for (const [key, row] of rows) {
    const isOther = row.client.kind === NodeKind.Other;
    const knownTallies = known.get(key)?.tallies;
    const more = isOther ? 0 : countNew(row.tallies, knownTallies);
    if (!isOther && total + more <= countMax) {
      total += more;
      bounded.set(key, row);
      continue;
    }
    const kept: TalliesByKey = new Map();
    for (const [tallyKey, tally] of row.tallies) {
      const isNew = !isOther && knownTallies?.has(tallyKey) !== true;
      if (isNew && total >= countMax) {
        overflow++;
        const other = { ...toOther(row), ...NOTHING, tallies: new Map() };
        addTally(other.tallies, { ...tally, label: '' });
        mergeRow(bounded, other, bounded.get(mapKey(other))?.active ?? 0);
        continue;
      }
      if (isNew) total++;
      kept.set(tallyKey, tally);
    }
    mergeRow(bounded, { ...row, tallies: kept }, row.active);
  }
  return { rows: bounded, overflow };
}

function countNew(tallies: TalliesByKey, known: TalliesByKey | undefined): number {
  if (known === undefined) return tallies.size;
  let count = 0;
  for (const key of tallies.keys()) if (!known.has(key)) count++;
  return count;
}

/** By the bytes of the key: level, client, server, protocol, port; hosts last. */
export function sortedRows(rows: RowsByKey): EdgeRow[] {
  return [...rows.values()].sort((a, b) => Buffer.compare(a.key, b.key));
}

/** Of a row that has tallies alone. */
const NOTHING = {
  sums: NO_SUMS,
  active: 0,
  fromWindow: 0xffffffff,
  rttMinUs: 0,
  rttMaxUs: 0,
  histogram: undefined,
  processes: undefined,
};

/** Before the level in the key of a host. */
const HOST_KEY = Buffer.of(0xff);

export function hostRow(host: Node): EdgeRow {
  const place = { level: Level.IdId, protocol: 0, serverPort: 0 };
  const name = keyOfNode(host);
  return {
    ...place,
    key: Buffer.concat([HOST_KEY, keyOf(place, name, name)]),
    isHost: true,
    hasColumns: false,
    client: host,
    server: host,
    ...NOTHING,
    tallies: new Map(),
  };
}

const OTHER: Node = {
  kind: NodeKind.Other,
  id: '(other)',
  role: '(other)',
  zone: '',
  host: '',
  address: '',
  process: '',
  container: '',
  containerName: '',
  ...readImage(''),
  ...readPod(''),
};
const OTHER_ROLE: Node = { ...OTHER, id: '' };

function toOther(row: EdgeRow): EdgeRow {
  if (row.isHost) return { ...row, ...hostRow(OTHER), tallies: row.tallies };
  const { client, server } = endLevels(row.level);
  const ends = {
    client: client === 'id' ? OTHER : OTHER_ROLE,
    server: server === 'id' ? OTHER : OTHER_ROLE,
  };
  const { level, protocol } = row;
  return {
    ...row,
    ...ends,
    processes: undefined,
    serverPort: 0,
    key: keyOf({ level, protocol, serverPort: 0 }, keyOfNode(ends.client), keyOfNode(ends.server)),
  };
}

type KeyFields = Pick<EdgePoint, 'level' | 'protocol' | 'serverPort'>;

export function keyOf({ level, protocol, serverPort }: KeyFields, client: string, server: string): Buffer {
  const text = `${client}\0\0${server}`;
  const textBytes = Buffer.byteLength(text);
  const key = Buffer.allocUnsafe(1 + textBytes + 3);
  key[0] = level;
  key.write(text, 1);
  key[1 + textBytes] = protocol;
  key.writeUInt16BE(serverPort, 1 + textBytes + 1);
  return key;
}

/** What a node is in the key of a row. */
export function keyOfNode(node: Node): string {
  return [
    String.fromCharCode(node.kind),
    node.role,
    node.zone,
    node.id,
    node.host,
    node.address,
    node.process,
    node.container,
    node.containerName,
    node.imageName,
    node.imageTag,
    node.podUid,
    node.podQos,
    node.podNamespace,
    node.podName,
  ].join('\0');
}

export function mapKey(row: EdgeRow): string {
  return row.key.toString('latin1');
}

export function mergeRow(rows: RowsByKey, row: EdgeRow, active: number): void {
  const key = mapKey(row);
  const known = rows.get(key);
  if (known === undefined) rows.set(key, copyRow(row));
  else addInto(known, row, active);
}

/** A row whose sums can be changed without changing those of `row`. */
export function copyRow(row: EdgeRow): EdgeRow {
  return {
    ...row,
    sums: { ...row.sums },
    tallies: copyTallies(row.tallies),
  };
}

/** Adds what `row` says of the same edge. */
export function addInto(total: EdgeRow, row: EdgeRow, active: number): void {
  for (const field of SUM_FIELDS) total.sums[field] += row.sums[field];
  total.active = active;
  total.fromWindow = Math.min(total.fromWindow, row.fromWindow);
  if (row.rttMinUs > 0) total.rttMinUs = total.rttMinUs === 0 ? row.rttMinUs : Math.min(total.rttMinUs, row.rttMinUs);
  total.rttMaxUs = Math.max(total.rttMaxUs, row.rttMaxUs);
  total.histogram = mergeHistograms(total.histogram, row.histogram);
  addTallies(total.tallies, row.tallies);
  total.processes = mergeProcesses(total.processes, row.processes);
}

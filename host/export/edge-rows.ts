// What closed windows say, as rows: one for each edge of each level. Rows of several workers, or of adjacent windows, merge by key;
// order is that of the key's bytes, so the same windows give the same list whoever made them.
import {
  EDGE_POINT_OFFSET,
  EDGE_POINT_SIZE,
  type EdgePoint,
  HISTOGRAM_RECORD_SIZE,
  Level,
  NODE_RECORD_SIZE,
  NodeKind,
  readEdgePoint,
  readHistogramRecord,
  readNodeRecord,
  readWindowOutput,
  WINDOW_OUTPUT_SIZE,
} from '../wire/gen/records-layout.ts';
import { endLevels } from './levels.ts';

export interface Node {
  kind: NodeKind;
  id: string;
  role: string;
  zone: string;
  host: string;
  address: string;
  process: string;
  container: string;
}

/** Counts of base-2 exponential buckets (OpenTelemetry metrics data model): `counts[i]` is the bucket with index `offset + i`. */
export interface Histogram {
  scale: number;
  offset: number;
  counts: number[];
}

/** Fields of an EdgePoint that add up over workers and windows. */
const SUM_FIELDS = [
  'forwardBytes',
  'reverseBytes',
  'forwardPackets',
  'reversePackets',
  'forwardRetransmits',
  'reverseRetransmits',
  'residualBytes',
  'judgedBytes',
  'lateBytes',
  'connections',
  'closed',
  'refused',
  'timedOut',
  'abandoned',
  'unreachable',
  'failedOther',
  'resetsClient',
  'resetsServer',
  'flowsBoth',
  'flowsClient',
  'flowsServer',
  'rttCount',
  'rttSumUs',
  'clientBytesSent',
  'clientBytesReceived',
  'clientPacketsSent',
  'clientPacketsReceived',
  'serverBytesSent',
  'serverBytesReceived',
  'serverPacketsSent',
  'serverPacketsReceived',
] as const satisfies readonly (keyof EdgePoint)[];

export type SumField = (typeof SUM_FIELDS)[number];

export interface EdgeRow {
  key: Buffer;
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
}

const TRANSPORTS: Record<number, string> = { 6: 'tcp', 17: 'udp' };

/** `network.transport` of an IANA protocol number; the number itself for what has no name there. */
export function transportName(protocol: number): string {
  return TRANSPORTS[protocol] ?? String(protocol);
}

export type RowsByKey = Map<string, EdgeRow>;

/** The rows of one closed window, from the outputs of all workers. `levels`: which to decode. */
export function decodeWindow(outputs: readonly Uint8Array[], levels: ReadonlySet<Level>): RowsByKey {
  const rows: RowsByKey = new Map();
  for (const output of outputs) {
    for (const row of decodeOutput(output, levels))
      mergeRow(rows, row, row.active + (rows.get(mapKey(row))?.active ?? 0));
  }
  return rows;
}

/** Number of points of an output in each level, by level. */
export function countRows(output: Uint8Array): number[] {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  const head = readWindowOutput(view, 0);
  const counts = new Array<number>(Level.RoleRole + 1).fill(0);
  const firstPoint = WINDOW_OUTPUT_SIZE + head.nodeBytes;
  for (let index = 0; index < head.pointCount; index++) {
    counts[view.getUint8(firstPoint + index * EDGE_POINT_SIZE + EDGE_POINT_OFFSET.level)]++;
  }
  return counts;
}

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
    if (known.has(key)) bounded.set(key, row);
    else if (room > 0) {
      bounded.set(key, row);
      room--;
    } else {
      overflow++;
      const other = toOther(row);
      mergeRow(bounded, other, other.active + (bounded.get(mapKey(other))?.active ?? 0));
    }
  }
  return { rows: bounded, overflow };
}

/** By the bytes of the key: level, client, server, protocol, port. */
export function sortedRows(rows: RowsByKey): EdgeRow[] {
  return [...rows.values()].sort((a, b) => Buffer.compare(a.key, b.key));
}

function* decodeOutput(output: Uint8Array, levels: ReadonlySet<Level>): Generator<EdgeRow> {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  const head = readWindowOutput(view, 0);
  const nodes = readNodes(view, head.nodeCount);
  const firstPoint = WINDOW_OUTPUT_SIZE + head.nodeBytes;
  const histograms = firstPoint + head.pointCount * EDGE_POINT_SIZE;
  for (let offset = firstPoint; offset < histograms; offset += EDGE_POINT_SIZE) {
    if (!levels.has(view.getUint8(offset + EDGE_POINT_OFFSET.level) as Level)) continue;
    const point = readEdgePoint(view, offset);
    const histogram = point.histogram === 0 ? undefined : readHistogram(view, histograms + point.histogram - 1);
    yield toRow(point, nodes[point.clientNode], nodes[point.serverNode], histogram);
  }
}

function readNodes(view: DataView, count: number): Node[] {
  const nodes: Node[] = [];
  for (let offset = WINDOW_OUTPUT_SIZE; nodes.length < count; ) {
    const record = readNodeRecord(view, offset);
    let at = offset + NODE_RECORD_SIZE;
    const text = (bytes: number): string => {
      at += bytes;
      return Buffer.from(view.buffer, view.byteOffset + at - bytes, bytes).toString();
    };
    nodes.push({
      kind: record.kind as NodeKind,
      id: text(record.idBytes),
      role: text(record.roleBytes),
      zone: text(record.zoneBytes),
      host: text(record.hostBytes),
      address: text(record.addressBytes),
      process: text(record.processBytes),
      container: text(record.containerBytes),
    });
    offset = at + (-at & 7);
  }
  return nodes;
}

function readHistogram(view: DataView, offset: number): Histogram {
  const record = readHistogramRecord(view, offset);
  const first = offset + HISTOGRAM_RECORD_SIZE;
  const counts = Array.from({ length: record.bucketCount }, (_, index) => view.getUint32(first + 4 * index, true));
  return { scale: record.scale, offset: record.offset, counts };
}

function toRow(point: EdgePoint, client: Node, server: Node, histogram: Histogram | undefined): EdgeRow {
  return {
    key: keyOf(point, client, server),
    level: point.level as Level,
    protocol: point.protocol,
    serverPort: point.serverPort,
    client,
    server,
    sums: Object.fromEntries(SUM_FIELDS.map((field) => [field, Number(point[field])])) as Record<SumField, number>,
    active: Number(point.active),
    fromWindow: point.fromWindow,
    rttMinUs: point.rttMinUs,
    rttMaxUs: point.rttMaxUs,
    histogram,
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
};
const OTHER_ROLE: Node = { ...OTHER, id: '' };

function toOther(row: EdgeRow): EdgeRow {
  const { client, server } = endLevels(row.level);
  const ends = {
    client: client === 'id' ? OTHER : OTHER_ROLE,
    server: server === 'id' ? OTHER : OTHER_ROLE,
  };
  const { level, protocol } = row;
  return { ...row, ...ends, serverPort: 0, key: keyOf({ level, protocol, serverPort: 0 }, ends.client, ends.server) };
}

type KeyFields = Pick<EdgePoint, 'level' | 'protocol' | 'serverPort'>;

function keyOf(point: KeyFields, client: Node, server: Node): Buffer {
  const text = [client, server]
    .map((node) =>
      [
        String.fromCharCode(node.kind),
        node.role,
        node.zone,
        node.id,
        node.host,
        node.address,
        node.process,
        node.container,
      ].join('\0'),
    )
    .join('\0\0');
  const tail = Buffer.of(point.protocol, point.serverPort >> 8, point.serverPort & 0xff);
  return Buffer.concat([Buffer.of(point.level), Buffer.from(text), tail]);
}

function mapKey(row: EdgeRow): string {
  return row.key.toString('latin1');
}

function mergeRow(rows: RowsByKey, row: EdgeRow, active: number): void {
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
    histogram: row.histogram && { ...row.histogram, counts: [...row.histogram.counts] },
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
}

/** Sum of two histograms of one scale. */
export function mergeHistograms(a: Histogram | undefined, b: Histogram | undefined): Histogram | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const offset = Math.min(a.offset, b.offset);
  const end = Math.max(a.offset + a.counts.length, b.offset + b.counts.length);
  const counts = new Array<number>(end - offset).fill(0);
  for (const { offset: first, counts: part } of [a, b])
    part.forEach((count, index) => {
      counts[first - offset + index] += count;
    });
  return { scale: a.scale, offset, counts };
}

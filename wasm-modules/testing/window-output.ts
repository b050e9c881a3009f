// Window outputs as one line of text per point, in the order in which they were written, and their merge as canonical-order.ts says.
import assert from 'node:assert/strict';
import {
  EDGE_POINT_SIZE,
  type EdgePoint,
  HISTOGRAM_RECORD_SIZE,
  LABEL_RECORD_SIZE,
  PROCESSES_RECORD_SIZE,
  readEdgePoint,
  readHistogramRecord,
  readLabelRecord,
  readProcessesRecord,
  readTallyPoint,
  readWindowOutput,
  TALLY_POINT_SIZE,
  type TallyPoint,
  WINDOW_OUTPUT_SIZE,
} from '../../host/wire/gen/records-layout.ts';
import { type NodeTexts, readNodeTexts } from './stage-worker.ts';

/** In place of a level: all that a host counted, at both of whose ends it stands. */
export const HOST_LEVEL = 7;
const NO_NODE = 0xffffffff;

export interface Counted {
  count: bigint;
  sum: bigint;
  buckets: Map<number, number>;
}

/** A point of a decoded output or of the naive model. `buckets`: histogram index → count. `tallies`: by tallyKey. */
export interface Point {
  level: number;
  client: NodeTexts;
  server: NodeTexts;
  protocol: number;
  serverPort: number;
  fields: Map<string, bigint>;
  buckets: Map<number, number>;
  tallies: Map<string, Counted>;
  /** Executables within its units and containers, as printed by `printProcesses`; of a leaf that has some. */
  processes?: string;
}

export function tallyKey(kind: number, side: number, code: number, label: string): string {
  return `${kind} ${side} ${code} ${label}`;
}

const KEY_FIELDS = new Set(['level', 'clientNode', 'serverNode', 'protocol', 'serverPort', 'histogram']);
const LEAST_FIELDS = new Set(['fromWindow', 'rttMinUs']);

export function decodeOutput(output: Uint8Array): Point[] {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  const head = readWindowOutput(view, 0);
  const nodes: NodeTexts[] = [];
  let offset = WINDOW_OUTPUT_SIZE;
  while (nodes.length < head.nodeCount) {
    const { node, end } = readNodeTexts(view, offset);
    nodes.push(node);
    offset = end;
  }
  const labels: string[] = [];
  for (const end = offset + head.labelBytes; offset < end; ) {
    const { textBytes } = readLabelRecord(view, offset);
    labels.push(Buffer.from(output.subarray(offset + LABEL_RECORD_SIZE).subarray(0, textBytes)).toString());
    offset += LABEL_RECORD_SIZE + textBytes + (-textBytes & 7);
  }
  assert.equal(labels.length, head.labelCount);
  const firstTally = offset + head.pointCount * EDGE_POINT_SIZE;
  const histograms = firstTally + head.tallyCount * TALLY_POINT_SIZE;
  const points: Point[] = [];
  for (; offset < firstTally; offset += EDGE_POINT_SIZE) {
    const point = readEdgePoint(view, offset);
    const buckets = point.histogram === 0 ? new Map() : readBuckets(view, histograms + point.histogram - 1);
    points.push(toPoint(point, nodes, buckets));
  }
  const byKey = new Map(points.map((point) => [placeOf(point.level, point.client, point.server, point), point]));
  for (; offset < histograms; offset += TALLY_POINT_SIZE) {
    const tally = readTallyPoint(view, offset);
    const [key, counted] = toCounted(tally, labels, (at) => readBuckets(view, histograms + at - 1));
    const level = tally.serverNode === NO_NODE ? HOST_LEVEL : tally.level;
    const client = nodes[tally.clientNode];
    const server = level === HOST_LEVEL ? client : nodes[tally.serverNode];
    const place = placeOf(level, client, server, tally);
    if (level === HOST_LEVEL && !byKey.has(place)) {
      const { protocol, serverPort } = tally;
      const host = {
        level,
        client,
        server,
        protocol,
        serverPort,
        fields: new Map(),
        buckets: new Map(),
        tallies: new Map(),
      };
      byKey.set(place, host);
      points.push(host);
    }
    const point = byKey.get(place);
    assert(point !== undefined && !point.tallies.has(key), `tally ${key} has no place of its own`);
    point.tallies.set(key, counted);
  }
  readProcesses(view, output.byteLength - head.processBytes, points);
  return points;
}

function readProcesses(view: DataView, first: number, points: Point[]): void {
  const names = new Map<number, [string[], string[]]>();
  for (let offset = first; offset < view.byteLength; ) {
    const record = readProcessesRecord(view, offset);
    const text = Buffer.from(view.buffer, view.byteOffset + offset + PROCESSES_RECORD_SIZE, record.textBytes);
    const told = text.toString().split('\0').slice(0, -1);
    assert.equal(told.length, record.nameCount);
    const ends = names.get(record.point) ?? [[], []];
    ends[record.side - 1] = record.more > 0 ? [...told, `+${record.more}`] : told;
    names.set(record.point, ends);
    offset += PROCESSES_RECORD_SIZE + record.textBytes + (-record.textBytes & 7);
  }
  for (const [point, ends] of names) points[point].processes = printProcesses(ends);
}

export function printProcesses([client, server]: [string[], string[]]): string {
  return `(${client.join(' ')} -> ${server.join(' ')})`;
}

function placeOf(
  level: number,
  client: NodeTexts,
  server: NodeTexts,
  { protocol, serverPort }: { protocol: number; serverPort: number },
): string {
  return [level, client.handle, server.handle, protocol, serverPort].join();
}

function toCounted(
  { kind, side, code, label, count, sum, histogram }: TallyPoint,
  labels: string[],
  read: (at: number) => Map<number, number>,
): [string, Counted] {
  const buckets = histogram === 0 ? new Map<number, number>() : read(histogram);
  return [tallyKey(kind, side, code, label === 0 ? '' : labels[label - 1]), { count, sum, buckets }];
}

function toPoint(point: EdgePoint, nodes: NodeTexts[], buckets: Map<number, number>): Point {
  const { level, protocol, serverPort } = point;
  const values = Object.entries(point).filter(([name]) => !KEY_FIELDS.has(name));
  const fields = new Map(values.map(([name, value]) => [name, BigInt(value)]));
  return {
    level,
    client: nodes[point.clientNode],
    server: nodes[point.serverNode],
    protocol,
    serverPort,
    fields,
    buckets,
    tallies: new Map(),
  };
}

function readBuckets(view: DataView, offset: number): Map<number, number> {
  const { offset: first, bucketCount } = readHistogramRecord(view, offset);
  const buckets = new Map<number, number>();
  for (let index = 0; index < bucketCount; index++) {
    const count = view.getUint32(offset + HISTOGRAM_RECORD_SIZE + 4 * index, true);
    if (count > 0) buckets.set(first + index, count);
  }
  return buckets;
}

const NODE_ORDER = [
  ...(['id', 'role', 'zone', 'kind', 'host', 'address'] as const),
  ...(['process', 'container', 'containerName', 'image', 'pod'] as const),
] as const;

export function compareNodes(left: NodeTexts, right: NodeTexts): number {
  for (const field of NODE_ORDER) {
    const [a, b] = [left[field], right[field]];
    const order = typeof a === 'number' ? a - Number(b) : Buffer.compare(Buffer.from(a), Buffer.from(String(b)));
    if (order !== 0) return order;
  }
  return 0;
}

export function comparePoints(left: Point, right: Point): number {
  return (
    left.level - right.level ||
    compareNodes(left.client, right.client) ||
    compareNodes(left.server, right.server) ||
    left.protocol - right.protocol ||
    left.serverPort - right.serverPort
  );
}

/** The points of the outputs of several workers for one window. */
export function mergeOutputs(outputs: Uint8Array[]): Point[] {
  const points = outputs.flatMap(decodeOutput).sort(comparePoints);
  const merged: Point[] = [];
  for (const point of points) {
    const last = merged.at(-1);
    if (last !== undefined && comparePoints(last, point) === 0) addPoint(last, point);
    else merged.push(point);
  }
  return merged;
}

/** Adds `point` to `into`: sums, least and greatest, buckets, tallies. */
export function addPoint(into: Point, point: Point): void {
  for (const [name, value] of point.fields) {
    const known = into.fields.get(name) ?? 0n;
    if (name === 'rttMaxUs') into.fields.set(name, value > known ? value : known);
    else if (LEAST_FIELDS.has(name)) into.fields.set(name, least(known, value));
    else into.fields.set(name, known + value);
  }
  addBuckets(into.buckets, point.buckets);
  for (const [key, { count, sum, buckets }] of point.tallies) addCounted(into.tallies, key, count, sum, buckets);
}

function addBuckets(into: Map<number, number>, buckets: Map<number, number>): void {
  for (const [index, count] of buckets) into.set(index, (into.get(index) ?? 0) + count);
}

export function addCounted(
  into: Map<string, Counted>,
  key: string,
  count: bigint,
  sum: bigint,
  buckets: Map<number, number>,
): void {
  const known = into.get(key) ?? { count: 0n, sum: 0n, buckets: new Map() };
  into.set(key, { count: known.count + count, sum: known.sum + sum, buckets: new Map(known.buckets) });
  addBuckets(into.get(key)?.buckets ?? new Map(), buckets);
}

/** 0 is no value: no window and no round trip is 0. */
function least(a: bigint, b: bigint): bigint {
  if (a === 0n || b === 0n) return a + b;
  return a < b ? a : b;
}

/** Fails at the first line that differs: a difference of thousands of lines takes minutes to print. */
export function assertSameLines(actual: string[], expected: string[]): void {
  actual.forEach((line, index) => {
    assert.equal(line, expected[index], `line ${index}`);
  });
  assert.equal(actual.length, expected.length);
}

export function printPoint({
  level,
  client,
  server,
  protocol,
  serverPort,
  fields,
  buckets,
  tallies,
  processes,
}: Point): string {
  const node = (texts: NodeTexts) => NODE_ORDER.map((field) => texts[field]).join('|');
  const values = [...fields].filter(([, value]) => value !== 0n).sort(([a], [b]) => (a < b ? -1 : 1));
  const print = (map: Map<number, number>) => [...map].sort(([a], [b]) => a - b).join(' ');
  const counted = [...tallies]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, tally]) => ` | ${key} = ${tally.count} ${tally.sum} ${print(tally.buckets)}`);
  return `${level} ${node(client)} -> ${node(server)} ${protocol}/${serverPort} ${values.join(' ')} ${print(buckets)}${counted.join('')}${processes ?? ''}`;
}

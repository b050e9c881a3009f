// Window outputs as one line of text per point, in the order in which they were written, and their merge as canonical-order.ts says.
import assert from 'node:assert/strict';
import {
  EDGE_POINT_SIZE,
  type EdgePoint,
  HISTOGRAM_RECORD_SIZE,
  readEdgePoint,
  readHistogramRecord,
  readWindowOutput,
  WINDOW_OUTPUT_SIZE,
} from '../../host/wire/gen/records-layout.ts';
import { type NodeTexts, readNodeTexts } from './stage-worker.ts';

/** A point of a decoded output or of the naive model. `buckets`: histogram index → count. */
export interface Point {
  level: number;
  client: NodeTexts;
  server: NodeTexts;
  protocol: number;
  serverPort: number;
  fields: Map<string, bigint>;
  buckets: Map<number, number>;
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
  const histograms = offset + head.pointCount * EDGE_POINT_SIZE;
  const points: Point[] = [];
  for (; offset < histograms; offset += EDGE_POINT_SIZE) {
    const point = readEdgePoint(view, offset);
    const buckets = point.histogram === 0 ? new Map() : readBuckets(view, histograms + point.histogram - 1);
    points.push(toPoint(point, nodes, buckets));
  }
  return points;
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

const NODE_ORDER = ['id', 'role', 'zone', 'kind', 'host', 'address', 'process', 'container'] as const;

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

/** Adds `point` to `into`: sums, least and greatest, buckets. */
export function addPoint(into: Point, point: Point): void {
  for (const [name, value] of point.fields) {
    const known = into.fields.get(name) ?? 0n;
    if (name === 'rttMaxUs') into.fields.set(name, value > known ? value : known);
    else if (LEAST_FIELDS.has(name)) into.fields.set(name, least(known, value));
    else into.fields.set(name, known + value);
  }
  for (const [index, count] of point.buckets) into.buckets.set(index, (into.buckets.get(index) ?? 0) + count);
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

export function printPoint({ level, client, server, protocol, serverPort, fields, buckets }: Point): string {
  const node = (texts: NodeTexts) => NODE_ORDER.map((field) => texts[field]).join('|');
  const values = [...fields].filter(([, value]) => value !== 0n).sort(([a], [b]) => (a < b ? -1 : 1));
  const counts = [...buckets].sort(([a], [b]) => a - b);
  return `${level} ${node(client)} -> ${node(server)} ${protocol}/${serverPort} ${values.join(' ')} ${counts.join(' ')}`;
}

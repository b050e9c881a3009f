// What closed windows say, as rows: one for each edge of each level. Rows of several workers, or of adjacent windows, merge by key;
// order is that of the key's bytes, so the same windows give the same list whoever made them.
import {
  EDGE_POINT_OFFSET,
  EDGE_POINT_SIZE,
  type EdgePoint,
  Level,
  NODE_RECORD_SIZE,
  NodeKind,
  readEdgePoint,
  readNodeRecord,
  readWindowOutput,
  TALLY_POINT_SIZE,
  type TallyPoint,
  WINDOW_OUTPUT_SIZE,
  type WindowOutput,
} from '../wire/gen/records-layout.ts';
import { type Image, type Pod, readImage, readPod } from './container-names.ts';
import { type EdgeProcesses, mergeProcesses, readProcesses } from './edge-processes.ts';
import { type Histogram, mergeHistograms, readHistogram } from './histogram.ts';
import { endLevels, type LevelName, levelName } from './levels.ts';
import { addTallies, addTally, copyTallies, readTallies, type TalliesByKey, type TallySection } from './tallies.ts';

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
const NO_SUMS = {
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

const SUM_FIELDS = Object.keys(NO_SUMS) as SumField[];

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

/** The rows of one closed window, from the outputs of all workers. `levels`: which to decode. */
export function decodeWindow(outputs: readonly Uint8Array[], levels: ReadonlySet<Level>): RowsByKey {
  const rows: RowsByKey = new Map();
  for (const output of outputs) {
    for (const row of decodeOutput(output, levels)) {
      const key = mapKey(row);
      const known = rows.get(key);
      // Nobody else has the row.
      if (known === undefined) rows.set(key, row);
      else addInto(known, row, row.active + known.active);
    }
  }
  return rows;
}

/** Levels of which some worker's rows were added to (other), because all workers had more than the budget. */
export function foldedLevels(outputs: readonly Uint8Array[]): ReadonlySet<Level> {
  const levels = new Set<Level>();
  for (const output of outputs) {
    const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
    const { foldedLevels: bits } = readWindowOutput(view, 0);
    for (const level of Object.values(Level)) if (((bits >> level) & 1) !== 0) levels.add(level);
  }
  return levels;
}

/** Number of points of an output in each level, by level. They are in the order of their levels, so most of them need not be read. */
export function countRows(output: Uint8Array): number[] {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  const { nodeBytes, labelBytes, pointCount } = readWindowOutput(view, 0);
  const firstLevel = WINDOW_OUTPUT_SIZE + nodeBytes + labelBytes + EDGE_POINT_OFFSET.level;
  const levelOf = (index: number) => view.getUint8(firstLevel + index * EDGE_POINT_SIZE);
  let end = 0;
  return Array.from({ length: Level.RoleRole + 1 }, (_, level) => {
    const begin = end;
    end = firstIndex(begin, pointCount, (index) => levelOf(index) > level);
    return end - begin;
  });
}

/** The same of all workers, by the names of the levels. */
export function countSeries(outputs: readonly Uint8Array[]): Partial<Record<LevelName, number>> {
  const series: Partial<Record<LevelName, number>> = {};
  for (const output of outputs) {
    countRows(output).forEach((count, level) => {
      const name = levelName(level as Level);
      series[name] = (series[name] ?? 0) + count;
    });
  }
  return series;
}

/** The first from `begin` to `end` for which `isBehind` holds, as it does for all after it; `end` when there is none. */
function firstIndex(begin: number, end: number, isBehind: (index: number) => boolean): number {
  let low = begin;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBehind(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
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

/** What hosts counted in one closed window, a row for each, from the outputs of all workers. */
export function decodeHosts(outputs: readonly Uint8Array[]): RowsByKey {
  const rows: RowsByKey = new Map();
  for (const output of outputs) {
    const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
    const head = readWindowOutput(view, 0);
    const nodes = readNodes(view, head.nodeCount);
    for (const { point, tally } of readTallies(view, sectionsOf(head), (_, isHost) => isHost)) {
      const row = hostRow(nodes[point.clientNode]);
      addTally(row.tallies, tally);
      mergeRow(rows, row, 0);
    }
  }
  return rows;
}

function* decodeOutput(output: Uint8Array, levels: ReadonlySet<Level>): Generator<EdgeRow> {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  const head = readWindowOutput(view, 0);
  const nodes = readNodes(view, head.nodeCount);
  const keys = nodes.map(keyOfNode);
  const sections = sectionsOf(head);
  const { points, tallies: pointsEnd, histograms } = sections;
  const isWanted = (level: number): boolean => levels.has(level as Level);
  const tallies = readTallies(view, sections, (level, isHost) => !isHost && isWanted(level));
  const processes = readProcesses(view, histograms + head.histogramBytes);
  let tally = tallies.next();
  for (let offset = points; offset < pointsEnd; offset += EDGE_POINT_SIZE) {
    if (!isWanted(view.getUint8(offset + EDGE_POINT_OFFSET.level))) continue;
    const point = readEdgePoint(view, offset);
    const histogram = point.histogram === 0 ? undefined : readHistogram(view, histograms + point.histogram - 1);
    const { clientNode, serverNode } = point;
    const key = keyOf(point, keys[clientNode], keys[serverNode]);
    const row = toRow(point, { key, client: nodes[clientNode], server: nodes[serverNode], histogram });
    row.processes = processes.get((offset - points) / EDGE_POINT_SIZE);
    // Tallies come in the order of their rows.
    for (; !tally.done && isOfPoint(tally.value.point, point); tally = tallies.next())
      addTally(row.tallies, tally.value.tally);
    yield row;
  }
}

function sectionsOf(head: WindowOutput): TallySection & { points: number } {
  const labels = WINDOW_OUTPUT_SIZE + head.nodeBytes;
  const points = labels + head.labelBytes;
  const tallies = points + head.pointCount * EDGE_POINT_SIZE;
  const histograms = tallies + head.tallyCount * TALLY_POINT_SIZE;
  return { labels, labelBytes: head.labelBytes, points, tallies, tallyCount: head.tallyCount, histograms };
}

function isOfPoint(tally: TallyPoint, point: EdgePoint): boolean {
  return (
    tally.level === point.level &&
    tally.clientNode === point.clientNode &&
    tally.serverNode === point.serverNode &&
    tally.protocol === point.protocol &&
    tally.serverPort === point.serverPort
  );
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
      containerName: text(record.containerNameBytes),
      ...readImage(text(record.imageBytes)),
      ...readPod(text(record.podBytes)),
    });
    offset = at + (-at & 7);
  }
  return nodes;
}

type NamedPlace = Pick<EdgeRow, 'key' | 'client' | 'server' | 'histogram'>;

function toRow(point: EdgePoint, { key, client, server, histogram }: NamedPlace): EdgeRow {
  return {
    key,
    isHost: false,
    hasColumns: true,
    level: point.level as Level,
    protocol: point.protocol,
    serverPort: point.serverPort,
    client,
    server,
    sums: sumsOf(point),
    active: Number(point.active),
    fromWindow: point.fromWindow,
    rttMinUs: point.rttMinUs,
    rttMaxUs: point.rttMaxUs,
    histogram,
    processes: undefined,
    tallies: new Map(),
  };
}

function sumsOf(point: EdgePoint): Record<SumField, number> {
  const sums = { ...NO_SUMS };
  for (const field of SUM_FIELDS) sums[field] = Number(point[field]);
  return sums;
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

function hostRow(host: Node): EdgeRow {
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

function keyOf({ level, protocol, serverPort }: KeyFields, client: string, server: string): Buffer {
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
function keyOfNode(node: Node): string {
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

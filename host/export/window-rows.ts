// What the outputs of closed windows (schemas/records.fbs, WindowOutput) say, as rows.
import {
  EDGE_POINT_OFFSET,
  EDGE_POINT_SIZE,
  type EdgePoint,
  Level,
  NODE_RECORD_SIZE,
  type NodeKind,
  readEdgePoint,
  readNodeRecord,
  readWindowOutput,
  TALLY_POINT_SIZE,
  type TallyPoint,
  WINDOW_OUTPUT_SIZE,
  type WindowOutput,
} from '../wire/gen/records-layout.ts';
import { readImage, readPod } from './container-names.ts';
import { readProcesses } from './edge-processes.ts';
import {
  addInto,
  type EdgeRow,
  hostRow,
  keyOf,
  keyOfNode,
  mapKey,
  mergeRow,
  NO_SUMS,
  type Node,
  type RowsByKey,
  SUM_FIELDS,
  type SumField,
} from './edge-rows.ts';
import { readHistogram } from './histogram.ts';
import { type LevelName, levelName } from './levels.ts';
import { addTally, readTallies, type TallySection } from './tallies.ts';

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

// What /api/v1/edges and /api/v1/edges/history answer, and what the CLI and the live view show.
import { hash } from 'node:crypto';
import { NO_NAMES, type ProcessNames } from '../export/edge-processes.ts';
import {
  addInto,
  copyRow,
  type EdgeRow,
  type Node,
  type RowsByKey,
  sortedRows,
  transportName,
} from '../export/edge-rows.ts';
import { LEVEL_NAMES, type LevelName, resolutionOf } from '../export/levels.ts';
import { decodeWindow } from '../export/window-rows.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { Edge, EdgeEnd, EdgesAnswer, EdgeWindow, HistoryAnswer, OwnNumbers } from './edge-answer.ts';
import { sortEdges } from './edge-order.ts';
import { type EdgesQuery, edgeTest, type HistoryQuery } from './edge-query.ts';
import { toTallies } from './tally-answer.ts';
import type { WindowRange, WindowStore } from './window-store.ts';

/** 132 bits, which no two edges share. */
const KEY_CHARACTERS = 22;

/** The edges of one level over `windows` closed windows up to `until`, or the newest, in canonical order. */
export function readEdges(store: WindowStore, level: LevelName, windows: number, until?: number): Promise<EdgesAnswer> {
  return readRows(store, { level, windows, until }, toEdge);
}

/** The same of one window that is in no store, with the tallies of each edge. */
export function detailedEdgesOf({ window, windowNs, outputs }: ClosedWindow, level: LevelName): EdgesAnswer {
  const rows = decodeWindow(outputs, new Set([LEVEL_NAMES[level]]));
  return toAnswer(level, { windowNs, firstWindow: window, lastWindow: window, rows }, toDetailedEdge);
}

type ToEdge = (row: EdgeRow, range: WindowRange) => Edge;

async function readRows(
  store: WindowStore,
  { level, windows, until }: Pick<EdgesQuery, 'level' | 'windows' | 'until'>,
  toEdge: ToEdge,
): Promise<EdgesAnswer> {
  const range = await store.read(LEVEL_NAMES[level], windows, until);
  if (range === undefined) return { level, windowNs: 0, firstWindow: null, lastWindow: null, edges: [] };
  return toAnswer(level, range, toEdge);
}

function toAnswer(level: LevelName, range: WindowRange, toEdge: ToEdge): EdgesAnswer {
  const { windowNs, firstWindow, lastWindow } = range;
  return { level, windowNs, firstWindow, lastWindow, edges: sortedRows(range.rows).map((row) => toEdge(row, range)) };
}

/** What is left of the edges by the filter, in the order and number that was asked for. */
export async function queryEdges(store: WindowStore, query: EdgesQuery): Promise<EdgesAnswer> {
  const answer = await readRows(store, query, query.detail === 'tallies' ? toDetailedEdge : toEdge);
  const found = answer.edges.filter(edgeTest(query));
  const ordered = query.by === undefined ? found : sortEdges(found, query.by);
  return { ...answer, edges: ordered.slice(0, query.limit) };
}

/** One edge, window by window. Undefined when no window of the range tells of it. */
export async function readHistory(
  store: WindowStore,
  { level, key, windows, until }: HistoryQuery,
): Promise<HistoryAnswer | undefined> {
  const find = rowFinder(key);
  const told: EdgeWindow[] = [];
  let firstWindow: number | undefined;
  let last = { windowNs: 0, window: 0 };
  let total: EdgeRow | undefined;
  for await (const { window, windowNs, rows } of store.readEach(LEVEL_NAMES[level], windows, until)) {
    firstWindow ??= window;
    last = { windowNs, window };
    if (total !== undefined) total.active = 0;
    const row = find(rows);
    if (row === undefined) continue;
    told.push({ window, ...toCounts(row) });
    if (total === undefined) total = copyRow(row);
    else addInto(total, row, row.active);
  }
  if (firstWindow === undefined || total === undefined) return undefined;
  const place = { windowNs: last.windowNs, firstWindow, lastWindow: last.window };
  return {
    ...{ level, ...place },
    edge: toDetailedEdge(total, { ...place, rows: new Map() }),
    rttHistogram: total.histogram ?? null,
    windows: told,
  };
}

/** Finds the row with `key` in the rows of one window after the other; hashes no edge twice. */
function rowFinder(key: string): (rows: RowsByKey) => EdgeRow | undefined {
  const others = new Set<string>();
  let found: string | undefined;
  return (rows) => {
    if (found !== undefined) return rows.get(found);
    for (const [mapKey, row] of rows) {
      if (others.has(mapKey)) continue;
      if (keyText(row) === key) {
        found = mapKey;
        return row;
      }
      others.add(mapKey);
    }
    return undefined;
  };
}

function keyText({ key }: EdgeRow): string {
  return hash('sha256', key, 'base64url').slice(0, KEY_CHARACTERS);
}

function toEdge(row: EdgeRow, { windowNs, firstWindow, lastWindow }: WindowRange): Edge {
  return {
    key: keyText(row),
    client: toEnd(row.client, row.processes?.client),
    server: toEnd(row.server, row.processes?.server),
    transport: transportName(row.protocol),
    serverPort: row.serverPort === 0 ? null : row.serverPort,
    ...toCounts(row),
    spanSeconds: ((lastWindow - Math.min(firstWindow, row.fromWindow) + 1) * windowNs) / 1e9,
  };
}

function toDetailedEdge(row: EdgeRow, range: WindowRange): Edge {
  return { ...toEdge(row, range), tallies: toTallies(row) };
}

function toCounts({ sums, active, rttMinUs, rttMaxUs }: EdgeRow): Omit<EdgeWindow, 'window'> {
  return {
    bytes: { forward: sums.forwardBytes, reverse: sums.reverseBytes },
    packets: { forward: sums.forwardPackets, reverse: sums.reversePackets },
    retransmits: { forward: sums.forwardRetransmits, reverse: sums.reverseRetransmits },
    rtt:
      sums.rttCount === 0
        ? null
        : {
            count: sums.rttCount,
            minUs: rttMinUs,
            maxUs: rttMaxUs,
            meanUs: Math.round(sums.rttSumUs / sums.rttCount),
          },
    connections: sums.connections,
    closed: sums.closed,
    active,
    failures: {
      refused: sums.refused,
      timedOut: sums.timedOut,
      abandoned: sums.abandoned,
      unreachable: sums.unreachable,
      other: sums.failedOther,
    },
    resets: { client: sums.resetsClient, server: sums.resetsServer },
    match: { both: sums.flowsBoth, client: sums.flowsClient, server: sums.flowsServer },
    own: { client: ownOfClient(sums), server: ownOfServer(sums) },
    residualBytes: sums.residualBytes,
    judgedBytes: sums.judgedBytes,
    lateBytes: sums.lateBytes,
  };
}

function ownOfClient(sums: EdgeRow['sums']): OwnNumbers | null {
  const isSeen = sums.flowsBoth + sums.flowsClient + sums.clientBytesSent + sums.clientBytesReceived > 0;
  if (!isSeen) return null;
  return {
    bytes: { sent: sums.clientBytesSent, received: sums.clientBytesReceived },
    packets: { sent: sums.clientPacketsSent, received: sums.clientPacketsReceived },
    retransmits: sums.forwardRetransmits,
  };
}

function ownOfServer(sums: EdgeRow['sums']): OwnNumbers | null {
  const isSeen = sums.flowsBoth + sums.flowsServer + sums.serverBytesSent + sums.serverBytesReceived > 0;
  if (!isSeen) return null;
  return {
    bytes: { sent: sums.serverBytesSent, received: sums.serverBytesReceived },
    packets: { sent: sums.serverPacketsSent, received: sums.serverPacketsReceived },
    retransmits: sums.reverseRetransmits,
  };
}

function toEnd({ kind, ...texts }: Node, within: ProcessNames = NO_NAMES): EdgeEnd {
  const processes = texts.process === '' ? [...within.names] : [texts.process];
  return { kind: resolutionOf(kind), ...texts, processes, moreProcesses: within.more };
}

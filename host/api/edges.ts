// What /api/v1/edges and /api/v1/edges/history answer, and what the CLI and the live view show.
import { hash } from 'node:crypto';
import { NO_NAMES, type ProcessNames } from '../export/edge-processes.ts';
import { type EdgeRow, type Node, sortedRows, transportName } from '../export/edge-rows.ts';
import { type Histogram, mergeHistograms } from '../export/histogram.ts';
import { LEVEL_NAMES, type LevelName, resolutionOf } from '../export/levels.ts';
import type { Edge, EdgeEnd, EdgesAnswer, EdgeWindow, HistoryAnswer, OwnNumbers } from './edge-answer.ts';
import { sortEdges } from './edge-order.ts';
import { type EdgesQuery, edgeTest, type HistoryQuery } from './edge-query.ts';
import { toTallies } from './tally-answer.ts';
import type { WindowRange, WindowStore } from './window-store.ts';

/** 132 bits, which no two edges share. */
const KEY_CHARACTERS = 22;

/** The edges of one level over `windows` closed windows up to `until`, or the newest, in canonical order. */
export function readEdges(store: WindowStore, level: LevelName, windows: number, until?: number): EdgesAnswer {
  return readRows(store, { level, windows, until }, toEdge);
}

/** The same with the tallies of each edge. */
export function readDetailedEdges(store: WindowStore, level: LevelName, windows: number, until?: number): EdgesAnswer {
  return readRows(store, { level, windows, until }, toDetailedEdge);
}

function readRows(
  store: WindowStore,
  { level, windows, until }: Pick<EdgesQuery, 'level' | 'windows' | 'until'>,
  toEdge: (row: EdgeRow, range: WindowRange) => Edge,
): EdgesAnswer {
  const range = store.read(LEVEL_NAMES[level], windows, until);
  if (range === undefined) return { level, windowNs: 0, firstWindow: null, lastWindow: null, edges: [] };
  const { windowNs, firstWindow, lastWindow } = range;
  return { level, windowNs, firstWindow, lastWindow, edges: sortedRows(range.rows).map((row) => toEdge(row, range)) };
}

/** What is left of the edges by the filter, in the order and number that was asked for. */
export function queryEdges(store: WindowStore, query: EdgesQuery): EdgesAnswer {
  const answer = readRows(store, query, query.detail === 'tallies' ? toDetailedEdge : toEdge);
  const found = answer.edges.filter(edgeTest(query));
  const ordered = query.by === undefined ? found : sortEdges(found, query.by);
  return { ...answer, edges: ordered.slice(0, query.limit) };
}

/** One edge, window by window. Undefined when no window of the range tells of it. */
export function readHistory(
  store: WindowStore,
  { level, key, windows, until }: HistoryQuery,
): HistoryAnswer | undefined {
  const range = store.read(LEVEL_NAMES[level], windows, until);
  const total = range && findRow(range.rows.values(), key);
  if (range === undefined || total === undefined) return undefined;
  const told: EdgeWindow[] = [];
  let histogram: Histogram | undefined;
  for (const { window, rows } of store.readEach(LEVEL_NAMES[level], windows, until)) {
    const row = rows.get(total.key.toString('latin1'));
    if (row === undefined) continue;
    told.push({ window, ...toCounts(row) });
    histogram = mergeHistograms(histogram, row.histogram);
  }
  const { windowNs, firstWindow, lastWindow } = range;
  return {
    ...{ level, windowNs, firstWindow, lastWindow },
    edge: toDetailedEdge(total, range),
    rttHistogram: histogram ?? null,
    windows: told,
  };
}

function findRow(rows: Iterable<EdgeRow>, key: string): EdgeRow | undefined {
  for (const row of rows) if (keyText(row) === key) return row;
  return undefined;
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

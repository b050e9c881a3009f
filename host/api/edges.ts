// What /api/v1/edges answers and `tributary edges` prints.
import { type EdgeRow, type Node, sortedRows, transportName } from '../export/edge-rows.ts';
import { LEVEL_NAMES, type LevelName, resolutionOf } from '../export/levels.ts';
import type { WindowStore } from './window-store.ts';

export interface EdgeEnd extends Omit<Node, 'kind'> {
  /** How the node was named. */
  kind: string;
}

export interface BothWays {
  forward: number;
  reverse: number;
}

export interface Edge {
  client: EdgeEnd;
  server: EdgeEnd;
  transport: string;
  /** Null when it is not known which end is the server. */
  serverPort: number | null;
  bytes: BothWays;
  packets: BothWays;
  retransmits: BothWays;
  /** Microseconds; null without a sample. */
  rtt: { count: number; minUs: number; maxUs: number; meanUs: number } | null;
  connections: number;
  closed: number;
  /** Open at the end of `lastWindow`. */
  active: number;
  failures: { refused: number; timedOut: number; abandoned: number; unreachable: number; other: number };
  resets: { client: number; server: number };
  /** Flows that moved in a window, by the ends that saw them. */
  match: { both: number; client: number; server: number };
  residualBytes: number;
  judgedBytes: number;
  lateBytes: number;
  /** Seconds over which the bytes moved: longer than the windows when some were late. */
  spanSeconds: number;
}

export interface EdgesAnswer {
  level: LevelName;
  windowNs: number;
  /** Unix time divided by windowNs; null before the first window has closed. */
  firstWindow: number | null;
  lastWindow: number | null;
  edges: Edge[];
}

/** The edges of one level over the last `windows` closed windows, in canonical order. */
export function readEdges(store: WindowStore, level: LevelName, windows: number): EdgesAnswer {
  const range = store.read(LEVEL_NAMES[level], windows);
  if (range === undefined) return { level, windowNs: 0, firstWindow: null, lastWindow: null, edges: [] };
  const { windowNs, firstWindow, lastWindow, rows } = range;
  const edges = sortedRows(rows).map((row) =>
    toEdge(row, ((lastWindow - Math.min(firstWindow, row.fromWindow) + 1) * windowNs) / 1e9),
  );
  return { level, windowNs, firstWindow, lastWindow, edges };
}

function toEdge({ sums, ...row }: EdgeRow, spanSeconds: number): Edge {
  return {
    client: toEnd(row.client),
    server: toEnd(row.server),
    transport: transportName(row.protocol),
    serverPort: row.serverPort === 0 ? null : row.serverPort,
    bytes: { forward: sums.forwardBytes, reverse: sums.reverseBytes },
    packets: { forward: sums.forwardPackets, reverse: sums.reversePackets },
    retransmits: { forward: sums.forwardRetransmits, reverse: sums.reverseRetransmits },
    rtt:
      sums.rttCount === 0
        ? null
        : {
            count: sums.rttCount,
            minUs: row.rttMinUs,
            maxUs: row.rttMaxUs,
            meanUs: Math.round(sums.rttSumUs / sums.rttCount),
          },
    connections: sums.connections,
    closed: sums.closed,
    active: row.active,
    failures: {
      refused: sums.refused,
      timedOut: sums.timedOut,
      abandoned: sums.abandoned,
      unreachable: sums.unreachable,
      other: sums.failedOther,
    },
    resets: { client: sums.resetsClient, server: sums.resetsServer },
    match: { both: sums.flowsBoth, client: sums.flowsClient, server: sums.flowsServer },
    residualBytes: sums.residualBytes,
    judgedBytes: sums.judgedBytes,
    lateBytes: sums.lateBytes,
    spanSeconds,
  };
}

function toEnd({ kind, ...texts }: Node): EdgeEnd {
  return { kind: resolutionOf(kind), ...texts };
}

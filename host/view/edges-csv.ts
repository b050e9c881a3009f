// Edges as comma-separated values (RFC 4180). Columns are only ever added, at the end.
import { stringify } from 'csv-stringify/sync';
import type { Edge, EdgesAnswer } from '../api/edge-answer.ts';

type Cell = string | number | null | undefined;

const END_COLUMNS = ['kind', 'id', 'role', 'zone', 'host', 'address', 'process', 'container'] as const;
const CONTAINER_COLUMNS = {
  container_name: 'containerName',
  image_name: 'imageName',
  image_tag: 'imageTag',
  pod_uid: 'podUid',
  pod_qos: 'podQos',
  pod_namespace: 'podNamespace',
  pod_name: 'podName',
} as const;

const COLUMNS: Record<string, (edge: Edge, answer: EdgesAnswer) => Cell> = {
  start_time: (_, { firstWindow, windowNs }) => timeOf(firstWindow, windowNs),
  end_time: (_, { lastWindow, windowNs }) => timeOf(lastWindow === null ? null : lastWindow + 1, windowNs),
  level: (_, { level }) => level,
  key: ({ key }) => key,
  ...endColumns('client'),
  ...endColumns('server'),
  transport: ({ transport }) => transport,
  server_port: ({ serverPort }) => serverPort,
  bytes_forward: ({ bytes }) => bytes.forward,
  bytes_reverse: ({ bytes }) => bytes.reverse,
  packets_forward: ({ packets }) => packets.forward,
  packets_reverse: ({ packets }) => packets.reverse,
  retransmits_forward: ({ retransmits }) => retransmits.forward,
  retransmits_reverse: ({ retransmits }) => retransmits.reverse,
  rtt_count: ({ rtt }) => rtt?.count ?? 0,
  rtt_min_us: ({ rtt }) => rtt?.minUs,
  rtt_mean_us: ({ rtt }) => rtt?.meanUs,
  rtt_max_us: ({ rtt }) => rtt?.maxUs,
  connections: ({ connections }) => connections,
  closed: ({ closed }) => closed,
  active: ({ active }) => active,
  failures_refused: ({ failures }) => failures.refused,
  failures_timed_out: ({ failures }) => failures.timedOut,
  failures_abandoned: ({ failures }) => failures.abandoned,
  failures_unreachable: ({ failures }) => failures.unreachable,
  failures_other: ({ failures }) => failures.other,
  resets_client: ({ resets }) => resets.client,
  resets_server: ({ resets }) => resets.server,
  match_both: ({ match }) => match.both,
  match_client: ({ match }) => match.client,
  match_server: ({ match }) => match.server,
  residual_bytes: ({ residualBytes }) => residualBytes,
  judged_bytes: ({ judgedBytes }) => judgedBytes,
  late_bytes: ({ lateBytes }) => lateBytes,
  span_seconds: ({ spanSeconds }) => spanSeconds,
  ...ownColumns('client'),
  ...ownColumns('server'),
  ...processesColumn('client'),
  ...processesColumn('server'),
  ...containerColumns('client'),
  ...containerColumns('server'),
};

export const CSV_COLUMNS: readonly string[] = Object.keys(COLUMNS);

/** A name that a spreadsheet would compute gets an apostrophe in front: any program chooses its name. A lone line feed is quoted, too. */
const FORM = { record_delimiter: 'windows', escape_formulas: true, quoted_match: /[\r\n]/ } as const;

export function csvHead(): string {
  return stringify([CSV_COLUMNS], FORM);
}

/** One record for each edge. */
export function csvRecords(answer: EdgesAnswer, edges: readonly Edge[]): string {
  const cells = Object.values(COLUMNS);
  return stringify(
    edges.map((edge) => cells.map((cell) => cell(edge, answer) ?? '')),
    FORM,
  );
}

function endColumns(side: 'client' | 'server'): Record<string, (edge: Edge) => Cell> {
  const column = (field: (typeof END_COLUMNS)[number]) =>
    [`${side}_${field}`, (edge: Edge) => edge[side][field]] as const;
  return Object.fromEntries(END_COLUMNS.map(column));
}

/** Separated by what no name of a file has. */
function processesColumn(side: 'client' | 'server'): Record<string, (edge: Edge) => Cell> {
  return { [`${side}_processes`]: (edge) => edge[side].processes.join('/') };
}

function containerColumns(side: 'client' | 'server'): Record<string, (edge: Edge) => Cell> {
  const columns = Object.entries(CONTAINER_COLUMNS);
  return Object.fromEntries(columns.map(([name, field]) => [`${side}_${name}`, (edge: Edge) => edge[side][field]]));
}

/** Empty when the end was not seen. */
function ownColumns(side: 'client' | 'server'): Record<string, (edge: Edge) => Cell> {
  return {
    [`${side}_bytes_sent`]: ({ own }) => own[side]?.bytes.sent,
    [`${side}_bytes_received`]: ({ own }) => own[side]?.bytes.received,
    [`${side}_packets_sent`]: ({ own }) => own[side]?.packets.sent,
    [`${side}_packets_received`]: ({ own }) => own[side]?.packets.received,
    [`${side}_retransmits`]: ({ own }) => own[side]?.retransmits,
  };
}

/** RFC 3339, UTC. */
function timeOf(window: number | null, windowNs: number): string {
  return window === null ? '' : new Date((window * windowNs) / 1e6).toISOString();
}

// Edges as a table for people and as lines for logs.
import stringWidth from 'string-width';
import type { Edge, EdgeEnd, EdgesAnswer } from '../api/edge-answer.ts';
import { failureCount, type SortKey } from '../api/edge-order.ts';
import { type EndLevel, endLevels, LEVEL_NAMES, type LevelName } from '../export/levels.ts';
import { formatCount, formatLatency, formatRate, formatShare } from './format.ts';
import { fitText, type Line, type Piece, printable, type Tone, textOf } from './line.ts';

/** A pipe has no width; a log line of this length still reads. */
export const PIPE_COLUMNS = 160;

interface Column {
  title: string;
  align: 'left' | 'right';
  text: (edge: Edge) => string;
  /** In place of it, where all columns have room for that. */
  fullText?: (edge: Edge) => string;
  tone?: (edge: Edge) => Tone;
  /** End of the text that stays when it is cut. */
  tail?: (edge: Edge) => string;
  sorts?: readonly SortKey[];
  /** Gives way on a narrow terminal, the greatest first; never the column that the edges are sorted by. */
  spare?: number;
}

export interface TableOptions {
  width: number;
  /** At most so many edges. */
  rows?: number;
  by?: SortKey;
}

/** Lines have at most `width` columns, if that is 80 or more: names give way first, then the spare columns. */
export function renderTable(answer: EdgesAnswer, edges: readonly Edge[], options: TableOptions): string[] {
  return layTable(answer.level, edges, options).map((line) => textOf(line).trimEnd());
}

/** The head and one line for each edge. */
export function layTable(level: LevelName, edges: readonly Edge[], { width, rows, by }: TableOptions): Line[] {
  const shown = edges.slice(0, rows);
  const { columns, cells, widths } = fitColumns(columnsFor(level, shown, by), shown, width);
  const lay = (text: string, index: number, tone: Tone, tail?: string): Piece => {
    const gap = index === columns.length - 1 ? '' : GAP;
    return { text: fitText(text, widths[index], columns[index].align, tail) + gap, tone };
  };
  const head = columns.map(({ title, sorts }, index) =>
    lay(title, index, by !== undefined && sorts?.includes(by) ? 'strong' : 'dim'),
  );
  const layEdge = (edge: Edge, row: number): Line =>
    columns.map(({ tone, tail }, index) => lay(cells[row][index], index, tone?.(edge) ?? 'plain', tail?.(edge)));
  return [head, ...shown.map(layEdge)];
}

const GAP = '  ';

function columnsFor(level: LevelName, shown: readonly Edge[], by: SortKey | undefined): Column[] {
  const levels = endLevels(LEVEL_NAMES[level]);
  const failureTone = (edge: Edge): Tone => (failureCount(edge) > 0 ? 'bad' : 'plain');
  const isFailing = shown.some((edge) => failureCount(edge) > 0);
  const columns: Column[] = [
    { title: 'CLIENT', align: 'left', text: (edge) => endName(edge.client, levels.client) },
    {
      ...{ title: 'SERVER', align: 'left', tail: serviceText },
      text: (edge) => serverName(edge, levels.server) + serviceText(edge),
    },
    {
      ...{ title: 'SENT', align: 'right', sorts: ['rate', 'bytes'] },
      text: (edge) => formatRate(edge.bytes.forward / edge.spanSeconds),
    },
    {
      ...{ title: 'RECEIVED', align: 'right', sorts: ['rate', 'bytes'] },
      text: (edge) => formatRate(edge.bytes.reverse / edge.spanSeconds),
    },
    {
      ...{ title: 'RTT', align: 'right', sorts: ['rtt'] },
      text: (edge) => (edge.rtt === null ? '-' : formatLatency(edge.rtt.meanUs)),
    },
    { title: 'RETRANS', align: 'right', text: retransmitShare, sorts: ['retransmits'], spare: 1 },
    { title: 'ACTIVE', align: 'right', text: (edge) => formatCount(edge.active), sorts: ['active'], spare: 2 },
    { title: 'NEW', align: 'right', text: (edge) => formatCount(edge.connections), sorts: ['new'], spare: 4 },
    {
      ...{ title: 'FAILED', align: 'right', sorts: ['failures'], spare: isFailing ? 0 : 3 },
      text: (edge) => formatCount(failureCount(edge)),
      fullText: failuresInFull,
      tone: failureTone,
    },
    { title: 'SEEN', align: 'left', text: seenBy },
  ];
  return columns.map((column) => (by !== undefined && column.sorts?.includes(by) ? { ...column, spare: 0 } : column));
}

/** `2026-11-25T14:18:02.000Z client -> server:443 tcp sent 1.20 MB/s received - rtt 800 us retrans - active 3 new 1 seen both` */
export function renderLine(answer: EdgesAnswer, edge: Edge): string {
  const endMs = answer.lastWindow === null ? 0 : ((answer.lastWindow + 1) * answer.windowNs) / 1e6;
  const parts = [
    new Date(endMs).toISOString(),
    edgeName(edge, answer.level),
    `sent ${formatRate(edge.bytes.forward / edge.spanSeconds)}`,
    `received ${formatRate(edge.bytes.reverse / edge.spanSeconds)}`,
    `rtt ${edge.rtt === null ? '-' : formatLatency(edge.rtt.meanUs)}`,
    `retrans ${retransmitShare(edge)}`,
    `active ${edge.active}`,
    `new ${edge.connections}`,
    ...failureTexts(edge),
    `seen ${seenBy(edge)}`,
  ];
  return parts.join(' ');
}

/** `client -> server:443 tcp` */
export function edgeName(edge: Edge, level: LevelName): string {
  const levels = endLevels(LEVEL_NAMES[level]);
  return `${endName(edge.client, levels.client)} -> ${serverName(edge, levels.server)}${portText(edge)} ${edge.transport}`;
}

/** The reasons for which connects failed, with their numbers. */
export function failureTexts({ failures }: Pick<Edge, 'failures'>): string[] {
  return failureReasons(failures).map(([reason, count]) => `${reason} ${count}`);
}

/** `2 refused, 1 timed out`: the title of the column comes first. */
function failuresInFull({ failures }: Edge): string {
  const reasons = failureReasons(failures).map(([reason, count]) => `${count} ${reason}`);
  return reasons.length === 0 ? formatCount(0) : reasons.join(', ');
}

function failureReasons(failures: Edge['failures']): [string, number][] {
  return Object.entries(failures)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => [reason.replace('timedOut', 'timed out'), count]);
}

function retransmitShare({ retransmits, packets }: Edge): string {
  return formatShare(retransmits.forward + retransmits.reverse, packets.forward + packets.reverse);
}

/** Which ends reported: both, or the one. */
function seenBy({ match, connections, active }: Edge): string {
  if (match.both > 0) return match.client + match.server > 0 ? 'partly' : 'both';
  if (match.client > 0) return 'client';
  if (match.server > 0) return 'server';
  return connections + active > 0 ? 'idle' : '-';
}

function endName(end: EdgeEnd, level: EndLevel): string {
  if (level === 'id') return printable(end.id === '' ? end.role : end.id);
  return printable(level === 'az' && end.zone !== '' ? `${end.role}@${end.zone}` : end.role);
}

function serverName(edge: Edge, level: EndLevel): string {
  const name = endName(edge.server, level);
  return name.includes(':') && level === 'id' && edge.server.address !== '' ? `[${name}]` : name;
}

/** `:443`, `:53/udp`: a table has no column for what is nearly always TCP. */
function serviceText(edge: Edge): string {
  return edge.transport === 'tcp' ? portText(edge) : `${portText(edge)}/${edge.transport}`;
}

function portText({ serverPort }: Edge): string {
  return serverPort === null ? '' : `:${serverPort}`;
}

const NAME_WIDTH_MIN = 10;
/** Who talks to whom matters more than ACTIVE and NEW: they go before a name is cut to less than this. */
const NAME_WIDTH_SPARED = 20;

interface FittedColumns {
  columns: readonly Column[];
  cells: string[][];
  widths: number[];
}

function fitColumns(columns: readonly Column[], edges: readonly Edge[], width: number): FittedColumns {
  const full = measure(
    columns.map(({ text, fullText = text, ...column }) => ({ ...column, text: fullText })),
    edges,
  );
  return excessOf(full.widths, width) <= 0 ? full : cutColumns(columns, edges, width);
}

function cutColumns(columns: readonly Column[], edges: readonly Edge[], width: number): FittedColumns {
  const measured = measure(columns, edges);
  const most = Math.max(...columns.map(({ spare = 0 }) => spare));
  const least = most > 1 ? NAME_WIDTH_SPARED : NAME_WIDTH_MIN;
  if (shrinkNames(measured.widths, width, least) || most === 0) return measured;
  return cutColumns(
    columns.filter(({ spare = 0 }) => spare !== most),
    edges,
    width,
  );
}

function measure(columns: readonly Column[], edges: readonly Edge[]): FittedColumns {
  const cells = edges.map((edge) => columns.map((column) => column.text(edge)));
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...cells.map((row) => stringWidth(row[index]))),
  );
  return { columns, cells, widths };
}

function excessOf(widths: readonly number[], width: number): number {
  return widths.reduce((total, part) => total + part + GAP.length, -GAP.length) - width;
}

/** Cuts the two name columns until the line fits. False when it does not with `least` columns for each. */
function shrinkNames(widths: number[], width: number, least: number): boolean {
  let excess = excessOf(widths, width);
  while (excess > 0) {
    const widest = widths[0] >= widths[1] ? 0 : 1;
    if (widths[widest] <= least) return false;
    widths[widest]--;
    excess--;
  }
  return true;
}

// Edges as a table for people and as lines for logs.
import type { Edge, EdgeEnd, EdgesAnswer } from '../api/edge-answer.ts';
import { failureCount } from '../api/edge-order.ts';
import { type EndLevel, endLevels, LEVEL_NAMES } from '../export/levels.ts';
import { formatCount, formatLatency, formatRate, formatShare } from './format.ts';

/** A pipe has no width; a log line of this length still reads. */
export const PIPE_COLUMNS = 160;

interface Column {
  title: string;
  align: 'left' | 'right';
  text: (edge: Edge) => string;
  /** Gives way on a narrow terminal, the greatest first. */
  spare?: number;
}

/** At most `rows` edges. Lines have at most `width` characters, if that is 80 or more: names give way first, then the spare columns. */
export function renderTable(
  answer: EdgesAnswer,
  edges: readonly Edge[],
  width: number,
  rows = Number.POSITIVE_INFINITY,
): string[] {
  const shown = edges.slice(0, rows);
  const levels = endLevels(LEVEL_NAMES[answer.level]);
  const all: Column[] = [
    { title: 'CLIENT', align: 'left', text: (edge) => endName(edge.client, levels.client) },
    { title: 'SERVER', align: 'left', text: (edge) => serverName(edge, levels.server) },
    { title: 'SENT', align: 'right', text: (edge) => formatRate(edge.bytes.forward / edge.spanSeconds) },
    { title: 'RECEIVED', align: 'right', text: (edge) => formatRate(edge.bytes.reverse / edge.spanSeconds) },
    { title: 'RTT', align: 'right', text: (edge) => (edge.rtt === null ? '-' : formatLatency(edge.rtt.meanUs)) },
    { title: 'RETRANS', align: 'right', text: retransmitShare },
    { title: 'ACTIVE', align: 'right', text: (edge) => formatCount(edge.active) },
    { title: 'NEW', align: 'right', text: (edge) => formatCount(edge.connections), spare: 2 },
    { title: 'FAILED', align: 'right', text: (edge) => formatCount(failureCount(edge)), spare: 1 },
    { title: 'SEEN', align: 'left', text: seenBy },
  ];
  const { columns, cells, widths } = fitColumns(all, shown, width);
  const line = (texts: string[]): string =>
    texts
      .map((text, index) => fit(text, widths[index], columns[index].align))
      .join('  ')
      .trimEnd();
  return [line(columns.map((column) => column.title)), ...cells.map(line)];
}

/** `2026-11-25T14:18:02.000Z client -> server:443 tcp sent 1.20 MB/s received - rtt 800 us retrans - active 3 new 1 seen both` */
export function renderLine(answer: EdgesAnswer, edge: Edge): string {
  const levels = endLevels(LEVEL_NAMES[answer.level]);
  const endMs = answer.lastWindow === null ? 0 : ((answer.lastWindow + 1) * answer.windowNs) / 1e6;
  const parts = [
    new Date(endMs).toISOString(),
    `${endName(edge.client, levels.client)} -> ${serverName(edge, levels.server)}`,
    edge.transport,
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

function failureTexts({ failures }: Edge): string[] {
  return Object.entries(failures)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason.replace('timedOut', 'timed out')} ${count}`);
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

/** Any program chooses its name: it must not be able to command the terminal or to begin a line. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '\u{fffd}');
}

function serverName(edge: Edge, level: EndLevel): string {
  const name = endName(edge.server, level);
  const shown = name.includes(':') && level === 'id' && edge.server.address !== '' ? `[${name}]` : name;
  return edge.serverPort === null ? shown : `${shown}:${edge.serverPort}`;
}

const NAME_WIDTH_MIN = 10;

interface FittedColumns {
  columns: readonly Column[];
  cells: string[][];
  widths: number[];
}

function fitColumns(columns: readonly Column[], edges: readonly Edge[], width: number): FittedColumns {
  const cells = edges.map((edge) => columns.map((column) => column.text(edge)));
  const widths = columns.map(({ title }, index) => Math.max(title.length, ...cells.map((row) => row[index].length)));
  const spare = columns.reduce<Column | undefined>(
    (most, column) => ((column.spare ?? 0) > (most?.spare ?? 0) ? column : most),
    undefined,
  );
  if (shrinkNames(widths, width) || spare === undefined) return { columns, cells, widths };
  return fitColumns(
    columns.filter((column) => column !== spare),
    edges,
    width,
  );
}

/** Cuts the two name columns until the line fits. False when it does not. */
function shrinkNames(widths: number[], width: number): boolean {
  let excess = widths.reduce((total, part) => total + part + 2, -2) - width;
  while (excess > 0) {
    const widest = widths[0] >= widths[1] ? 0 : 1;
    if (widths[widest] <= NAME_WIDTH_MIN) return false;
    widths[widest]--;
    excess--;
  }
  return true;
}

function fit(text: string, width: number, align: 'left' | 'right'): string {
  const cut = text.length > width ? `${text.slice(0, width - 1)}…` : text;
  return align === 'left' ? cut.padEnd(width) : cut.padStart(width);
}

// The whole screen as lines: a title, what is filtered, the table or what was opened in its place, the pipeline's health and the keys.
import type { Edge, EdgesAnswer, HistoryAnswer } from '../api/edge-answer.ts';
import { sortEdges } from '../api/edge-order.ts';
import { layDetail } from './edge-detail.ts';
import { layTable } from './edges-table.ts';
import { readFilter } from './filter-text.ts';
import { cutLine, type Line, line, type Piece, printable } from './line.ts';
import { type ShownEdges, SORT_LETTERS, type ViewState } from './view-state.ts';

export interface ScreenSize {
  columns: number;
  rows: number;
}

/** What was last asked of the reducer. */
export interface ScreenData {
  /** Whose connections these are. */
  title: string;
  answer: EdgesAnswer | undefined;
  /** Of the edge that is open. */
  history: HistoryAnswer | undefined;
  health: string;
  /** Why there is no newer answer. */
  trouble?: string;
  /** The last line that was logged. */
  notice?: string;
}

/** Title, filter, table head; health, keys. */
const TABLE_FRAME_ROWS = 5;

export interface FilteredEdges extends ShownEdges {
  edges: readonly Edge[];
  problem?: string;
}

/** The edges that the filter leaves, in their order. */
export function filterEdges(state: ViewState, { answer }: ScreenData, { rows }: ScreenSize): FilteredEdges {
  const { test, problem } = readFilter(state.filterText, state.level);
  const edges = sortEdges((answer?.edges ?? []).filter(test), state.by);
  return { edges, problem, keys: edges.map(({ key }) => key), pageRows: Math.max(1, rows - TABLE_FRAME_ROWS) };
}

/** Exactly `size.rows` lines of at most `size.columns` columns. */
export function layScreen(state: ViewState, data: ScreenData, filtered: FilteredEdges, size: ScreenSize): Line[] {
  const bodyRows = Math.max(0, size.rows - 4);
  const body = layBody(state, data, filtered, { columns: size.columns, rows: bodyRows }).slice(0, bodyRows);
  const lines = [
    titleLine(state, data, filtered),
    filterLine(state, filtered),
    ...body,
    ...new Array<Line>(bodyRows - body.length).fill([]),
    healthOf(data),
    line(keysText(state), 'dim'),
  ];
  return lines.slice(0, size.rows).map((each) => cutLine(each, size.columns));
}

function healthOf({ health, trouble, notice }: ScreenData): Line {
  const problem = trouble ?? notice;
  return problem === undefined ? line(health, 'dim') : line(printable(problem), 'bad');
}

function layBody(state: ViewState, data: ScreenData, filtered: FilteredEdges, size: ScreenSize): Line[] {
  if (state.isHelp) return HELP;
  if (state.isOpen) return layOpened(data, size);
  const { edges, keys, pageRows } = filtered;
  if (edges.length === 0) return [[], line(emptyText(data))];
  const at = state.selected === undefined ? -1 : keys.indexOf(state.selected);
  const first = at < 0 ? 0 : Math.floor(at / pageRows) * pageRows;
  const table = layTable(state.level, edges.slice(first), { width: size.columns, rows: pageRows, by: state.by });
  return table.map((row, index) => (at >= 0 && index === at - first + 1 ? select(row) : row));
}

function layOpened({ history }: ScreenData, { columns, rows }: ScreenSize): Line[] {
  if (history === undefined) return [[], line('nothing is kept of this edge any more; Esc goes back')];
  return layDetail(history, columns, rows);
}

function select(row: Line): Line {
  return row.map(({ text }): Piece => ({ text, tone: 'selected' }));
}

function emptyText({ answer }: ScreenData): string {
  if (answer === undefined || answer.lastWindow === null) return 'waiting for the first window to close';
  if (answer.edges.length === 0) return 'waiting for the first connection that moves';
  return 'no edge meets the filter';
}

function titleLine({ by, level, isPaused }: ViewState, { title, answer }: ScreenData, { edges }: FilteredEdges): Line {
  const total = answer?.edges.length ?? 0;
  const count = edges.length === total ? `${total}` : `${edges.length} of ${total}`;
  return [
    { text: title, tone: 'strong' },
    { text: ` · ${count} edges at ${level} by ${by}`, tone: 'plain' },
    ...(isPaused ? [{ text: ' · PAUSED', tone: 'bad' } as const] : []),
  ];
}

function filterLine({ filterText, isTyping }: ViewState, { problem }: FilteredEdges): Line {
  if (!isTyping && filterText === '') return [];
  return [
    { text: `/${filterText}`, tone: 'strong' },
    ...(isTyping ? [{ text: ' ', tone: 'selected' } as const] : []),
    ...(problem === undefined ? [] : [{ text: `  ${problem}`, tone: 'bad' } as const]),
  ];
}

function keysText({ isTyping, isOpen, isHelp }: ViewState): string {
  if (isHelp) return 'any key goes back';
  if (isTyping) return 'Enter keeps the filter   Esc drops it   ^U empties it   arrows select';
  if (isOpen) return 'Esc back   up down other edges   p pause   ? help   q quit';
  return `${Object.keys(SORT_LETTERS).join(' ')} sort  / filter  l level  p pause  arrows Enter open  ? help  q quit`;
}

const HELP_TEXTS: [string, string][] = [
  ['r t x f a n', 'sort by rate, RTT, retransmits, failures, active, new'],
  ['/', 'filter as you type; several words have to hold together:'],
  ['', '  curl 10.0.0.0/8 8080 udp: in any name, address, port, protocol'],
  ['', '  from: to: process: unit: container: address: port: protocol:'],
  ['', '  a*b is a whole name, =curl exactly this name; failed'],
  ['l L', 'next and previous level of the tree: id, az (role@zone), role'],
  ['up down j k', 'select an edge; PgUp PgDn Home End too'],
  ['Enter', 'open it: ends, residual, failures, last windows, spread of RTT'],
  ['Esc', 'back; otherwise drop the selection, then the filter'],
  ['p space', 'pause: what is shown can be sorted, filtered and opened'],
  ['q ^C', 'quit'],
  ['', ''],
  ['SENT', 'client to server, RECEIVED the other way, per second'],
  ['RTT', 'mean of the smoothed round-trip times in these windows'],
  ['RETRANS', 'share of packets that were sent again'],
  ['FAILED', 'connects refused, timed out, abandoned or unreachable'],
  ['SEEN', 'which ends told of the traffic: both, client, server, partly'],
];

const HELP: Line[] = HELP_TEXTS.map(([keys, text]) => [
  { text: keys.padEnd(13), tone: 'strong' },
  { text, tone: 'plain' },
]);

// One edge, opened: who its ends are, what they moved, how well, what failed and why, and the last windows as charts.
import type { EdgeEnd, EdgeWindow, HistoryAnswer, OwnNumbers } from '../api/edge-answer.ts';
import { failureCount } from '../api/edge-order.ts';
import { histogramChart, histogramLine, sparkline } from './charts.ts';
import { tallyTexts } from './edge-tallies.ts';
import { edgeName, failureTexts } from './edges-table.ts';
import { formatBytes, formatLatency, formatRate, formatShare } from './format.ts';
import { cutLine, type Line, line, type Piece, printable } from './line.ts';

/** Fills at most `width` columns and `rows` lines; the histogram gives way first, then what the ends counted besides. */
export function layDetail(history: HistoryAnswer, width: number, rows: number): Line[] {
  const { edge, level } = history;
  const numbers: Line[] = [
    line(edgeName(edge, level), 'strong'),
    row('client', describeEnd(edge.client)),
    ...layContainer(edge.client),
    row('server', describeEnd(edge.server)),
    ...layContainer(edge.server),
    ...layNumbers(history),
    ...layTotals(history),
  ];
  const charts = layWindows(history, width);
  const lines = [...numbers, ...layTallies(edge, width, rows - numbers.length - charts.length), ...charts];
  const room = rows - lines.length;
  if (room > 0) lines.push(...layHistogram(history, width, room));
  return lines.slice(0, rows).map((each) => cutLine(each, width));
}

const LABEL_WIDTH = 12;

function row(label: string, ...texts: (string | Piece)[]): Line {
  const pieces = texts.map((text): Piece => (typeof text === 'string' ? { text, tone: 'plain' } : text));
  return [{ text: label.padEnd(LABEL_WIDTH), tone: 'dim' }, ...pieces];
}

const KIND_TEXTS: Record<string, string> = {
  container: 'container',
  service: 'unit',
  process: 'process',
  host: 'host',
  private_address: 'private address',
  public_address: 'public address',
  dns: 'DNS name',
};

function describeEnd(end: EdgeEnd): string {
  const kind = KIND_TEXTS[end.kind] ?? end.kind;
  const name = end.process || end.address || end.role;
  const parts = [`${kind} ${name}`];
  if (end.host !== '' && end.kind !== 'host') parts.push(`on ${end.host}`);
  if (end.zone !== '') parts.push(`in ${end.zone}`);
  return printable(parts.join(' ') + describeProcesses(end));
}

/** What is known of its image and its pod. */
function layContainer({ imageName, imageTag, podUid, podQos, podNamespace, podName }: EdgeEnd): Line[] {
  const image = [imageName, imageTag].filter((part) => part !== '').join(':');
  const pod = podName === '' ? podUid : [podNamespace, podName].filter((part) => part !== '').join('/');
  const parts = [image && `image ${image}`, pod && `pod ${pod}`, podQos].filter((part) => part !== '');
  return parts.length === 0 ? [] : [row('', printable(parts.join(', ')))];
}

/** Names of processes within a unit or container that are shown. */
const PROCESSES_SHOWN_MAX = 4;

function describeProcesses({ kind, processes, moreProcesses }: EdgeEnd): string {
  if (kind === 'process' || processes.length === 0) return '';
  const more = processes.length - PROCESSES_SHOWN_MAX + moreProcesses;
  const names = processes.slice(0, PROCESSES_SHOWN_MAX).join(', ');
  return `: ${names}${more > 0 ? ` +${more}` : ''}`;
}

/** What is booked, and beside it what each end reported by itself: of a direction one end knows what was sent, the other what came. */
function layNumbers({ edge: { bytes, packets, retransmits, own } }: HistoryAnswer): Line[] {
  const { client, server } = own;
  const amount = (size: number, count: number): string => `${formatBytes(size)}, ${count}`;
  const sent = (end: OwnNumbers | null): string => (end === null ? NOT_SEEN : amount(end.bytes.sent, end.packets.sent));
  const received = (end: OwnNumbers | null): string =>
    end === null ? NOT_SEEN : amount(end.bytes.received, end.packets.received);
  const again = (end: OwnNumbers | null): string => (end === null ? NOT_SEEN : String(end.retransmits));
  const lost = formatShare(retransmits.forward + retransmits.reverse, packets.forward + packets.reverse);
  const total = retransmits.forward + retransmits.reverse;
  return [
    row('bytes, pkts', { text: columns('booked', 'client says', 'server says'), tone: 'dim' }),
    row('sent', columns(amount(bytes.forward, packets.forward), sent(client), received(server))),
    row('received', columns(amount(bytes.reverse, packets.reverse), received(client), sent(server))),
    row('sent again', columns(total === 0 ? '0' : `${total} (${lost})`, again(client), again(server))),
    ...layApart(own),
  ];
}

const NOT_SEEN = 'not seen';
const NUMBER_WIDTH = 22;

function columns(...texts: string[]): string {
  return texts
    .map((text) => text.padEnd(NUMBER_WIDTH))
    .join('')
    .trimEnd();
}

/** Over these windows; the residual is what is left of it when connections have closed. */
function layApart({ client, server }: HistoryAnswer['edge']['own']): Line[] {
  if (client === null || server === null) return [];
  const sent = Math.abs(client.bytes.sent - server.bytes.received);
  const received = Math.abs(server.bytes.sent - client.bytes.received);
  if (sent + received === 0) return [];
  return [row('apart', `${formatBytes(sent)} sent, ${formatBytes(received)} received, with what is under way`)];
}

/** One line where there is no more room: it stands before the charts, of which the last then is cut. */
function layTallies({ tallies = [] }: HistoryAnswer['edge'], width: number, rows: number): Line[] {
  const texts = tallyTexts(tallies, width - LABEL_WIDTH, Math.min(Math.max(rows, 1), TALLY_ROWS_MAX));
  return texts.map((text, index) => row(index === 0 ? 'besides' : '', text));
}

const TALLY_ROWS_MAX = 3;

function layTotals({ edge }: HistoryAnswer): Line[] {
  return edge.transport === 'udp' ? layDatagramTotals(edge) : layConnectionTotals(edge);
}

function layDatagramTotals(edge: HistoryAnswer['edge']): Line[] {
  const { connections, closed, active } = edge;
  return [
    row('flows', `${connections} new, ${closed} over, ${active} active`),
    row('seen by', seenText(edge)),
    row('lost', lossText(edge)),
  ];
}

/** Of flows that are over, so that nothing is under way any more. */
function lossText({ judgedBytes, residualBytes }: HistoryAnswer['edge']): string {
  if (judgedBytes === 0) return 'not judged yet: no flow that both ends saw is over';
  const share = residualBytes === 0 ? '' : ` (${formatShare(residualBytes, judgedBytes)})`;
  return `${formatBytes(residualBytes)}${share} of ${formatBytes(judgedBytes)} in flows that are over`;
}

function seenText({ match }: HistoryAnswer['edge']): string {
  return `both ends ${match.both}, client alone ${match.client}, server alone ${match.server}`;
}

function layConnectionTotals(edge: HistoryAnswer['edge']): Line[] {
  const { rtt, resets } = edge;
  const failures = failureTexts(edge);
  const rttText =
    rtt === null
      ? 'no sample'
      : `least ${formatLatency(rtt.minUs)}, mean ${formatLatency(rtt.meanUs)}, most ${formatLatency(rtt.maxUs)}, ${rtt.count} samples`;
  return [
    row('rtt', rttText),
    row('connections', `${edge.connections} new, ${edge.closed} closed, ${edge.active} active`),
    row('failed', failures.length === 0 ? 'none' : { text: failures.join(', '), tone: 'bad' }),
    row('resets', `${resets.client} by the client, ${resets.server} by the server`),
    row('seen by', seenText(edge)),
    row('residual', residualText(edge)),
  ];
}

/** Of connections that are over, so that nothing is under way any more. */
function residualText({ judgedBytes, residualBytes }: HistoryAnswer['edge']): string {
  if (judgedBytes === 0) return 'not judged yet: no connection that both ends saw has closed';
  const share = residualBytes === 0 ? '' : ` (${formatShare(residualBytes, judgedBytes)})`;
  return `the ends differ by ${formatBytes(residualBytes)}${share} over ${formatBytes(judgedBytes)} of closed connections`;
}

function layWindows({ edge, windows, windowNs, firstWindow, lastWindow }: HistoryAnswer, width: number): Line[] {
  if (firstWindow === null || lastWindow === null) return [];
  const seconds = windowNs / 1e9;
  const count = Math.min(lastWindow - firstWindow + 1, width - LABEL_WIDTH - PEAK_WIDTH);
  const told = new Map(windows.map((each) => [each.window, each]));
  const chart = (
    label: string,
    value: (window: EdgeWindow) => number | undefined,
    still: number | undefined,
    format: (value: number) => string,
  ): Line => {
    const values = Array.from({ length: count }, (_, index) => {
      const window = told.get(lastWindow - count + 1 + index);
      return window === undefined ? still : value(window);
    });
    return row(label, sparkline(values), {
      text: `  most ${format(Math.max(0, ...values.map((each) => each ?? 0)))}`,
      tone: 'dim',
    });
  };
  return [
    row('', { text: `the last ${count} windows of ${seconds} s`, tone: 'dim' }),
    chart('sent', ({ bytes }) => bytes.forward / seconds, 0, formatRate),
    chart('received', ({ bytes }) => bytes.reverse / seconds, 0, formatRate),
    ...(edge.rtt === null ? [] : [chart('rtt', ({ rtt }) => rtt?.meanUs, undefined, formatLatency)]),
    ...(failureCount(edge) === 0 ? [] : [chart('failed', failureCount, 0, String)]),
  ];
}

const PEAK_WIDTH = 18;

function layHistogram({ rttHistogram, edge, level }: HistoryAnswer, width: number, rows: number): Line[] {
  if (rttHistogram === null) {
    if (edge.rtt === null) return [];
    return [row('rtt spread', { text: `no histogram is kept at ${level}`, tone: 'dim' })];
  }
  const count = `  ${edge.rtt?.count ?? 0} samples`;
  if (rows < CHART_ROWS_MIN) {
    const chart = histogramLine(rttHistogram, width - LABEL_WIDTH - count.length);
    return [row('rtt spread', chart, { text: count, tone: 'dim' })];
  }
  const chart = histogramChart(rttHistogram, Math.min(width, CHART_WIDTH_MAX) - LABEL_WIDTH, rows);
  return chart.map((text, index) => row(index === 0 ? 'rtt spread' : '', text));
}

const CHART_WIDTH_MAX = 100;
/** With fewer rows the buckets lie side by side in one. */
const CHART_ROWS_MIN = 8;

// What the ends of an opened edge counted beside its columns: drops, DNS and TCP health, what hurts most first, in as few lines as there are.

import type { TallyAnswer } from '../api/tally-answer.ts';
import { TALLIES } from '../export/gen/metrics.ts';
import { formatLatency } from './format.ts';
import { printable } from './line.ts';

/** In this order. What has no word here is in `edges --detail tallies`. */
const WORDS: readonly [metric: string, word: string][] = [
  [TALLIES.packetDrop.profiles.otel, 'dropped'],
  [TALLIES.udpDrop.profiles.otel, 'no room in the socket'],
  [TALLIES.dnsTimeout.profiles.otel, 'DNS timeouts'],
  [TALLIES.tcpRetransmitKind.profiles.otel, 'sent again'],
  [TALLIES.tcpZeroWindow.profiles.otel, 'window shut'],
  [TALLIES.tcpConnectError.profiles.otel, 'connect errors'],
  [TALLIES.dnsLookup.profiles.otel, 'DNS'],
  [TALLIES.tcpOutOfOrder.profiles.otel, 'out of order'],
  [TALLIES.dnsTruncated.profiles.otel, 'DNS truncated'],
  [TALLIES.tcpHandshakeServer.profiles.otel, 'handshake, server'],
  [TALLIES.tcpHandshakeClient.profiles.otel, 'handshake, client'],
];
/** Of one metric. */
const PARTS_SHOWN_MAX = 3;
const SEPARATOR = '; ';

/** At most `rows` lines of at most `width` columns; what has no room is counted at the end. */
export function tallyTexts(tallies: readonly TallyAnswer[], width: number, rows: number): string[] {
  const texts = WORDS.flatMap(([metric, word]) =>
    describe(
      word,
      tallies.filter((tally) => tally.metric === metric),
    ),
  );
  const lines: string[] = [];
  let shown = 0;
  for (const text of texts) {
    const last = lines.at(-1);
    const joined = last === undefined ? text : last + SEPARATOR + text;
    if (last !== undefined && joined.length <= width) lines[lines.length - 1] = joined;
    else if (lines.length < rows) lines.push(text);
    else break;
    shown++;
  }
  const left = texts.length - shown;
  if (left === 0 || lines.length === 0) return lines;
  const more = ` +${left}`;
  return [...lines.slice(0, -1), lines[lines.length - 1].slice(0, width - more.length) + more];
}

function describe(word: string, tallies: readonly TallyAnswer[]): string[] {
  const count = tallies.reduce((sum, tally) => sum + tally.count, 0);
  if (count === 0) return [];
  const seconds = tallies.reduce((sum, tally) => sum + (tally.seconds ?? 0), 0);
  if (seconds > 0) return [`${word} ${formatLatency((seconds / count) * 1e6)} mean of ${count}`];
  const parts = countParts(tallies);
  if (parts.length === 0) return [`${word} ${count}`];
  const more = parts.length > PARTS_SHOWN_MAX ? ', …' : '';
  const named = parts.slice(0, PARTS_SHOWN_MAX).map(([name, part]) => `${name} ${part}`);
  return [printable(`${word} ${count} (${named.join(', ')}${more})`)];
}

/** By the first attribute that is not the side, most first. */
function countParts(tallies: readonly TallyAnswer[]): [name: string, count: number][] {
  const parts = new Map<string, number>();
  for (const { attributes, count } of tallies) {
    const [name] = Object.entries(attributes).flatMap(([key, value]) => (key === SIDE ? [] : [String(value)]));
    if (name !== undefined && name !== '') parts.set(name, (parts.get(name) ?? 0) + count);
  }
  return [...parts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
}

const SIDE = 'tributary.side';

import assert from 'node:assert/strict';
import { test } from 'node:test';
import stringWidth from 'string-width';
import type { Edge, HistoryAnswer } from '../api/edge-answer.ts';
import type { TallyAnswer } from '../api/tally-answer.ts';
import { addressEnd, makeEdge, processEnd, unitEnd } from '../api/testing/edge.ts';
import { textOf } from './line.ts';
import { filterEdges, layScreen, type ScreenData, type ScreenSize } from './screen-lines.ts';
import { firstState, type ViewState } from './view-state.ts';

const FIRST = firstState('rate', 'id_id');
const NONE = makeEdge().failures;

const EDGES: Edge[] = Array.from({ length: 100 }, (_, index) =>
  makeEdge({
    key: `edge ${index}`,
    client: processEnd('host', `client-${index}`),
    server: index % 2 === 0 ? unitEnd('host', 'a-unit-with-a-long-name.service') : addressEnd('2001:db8::7'),
    bytes: { forward: 1_000 * (100 - index), reverse: 5 },
    failures: { ...NONE, refused: index },
  }),
);

const HISTORY: HistoryAnswer = {
  ...{ level: 'id_id', windowNs: 1e9, firstWindow: 1, lastWindow: 60, windows: [] },
  edge: makeEdge({
    ...EDGES[7],
    failures: { ...NONE, refused: 3, timedOut: 2 },
    rtt: { count: 9, minUs: 10, meanUs: 20, maxUs: 90 },
    match: { both: 4, client: 1, server: 0 },
    bytes: { forward: 2_000, reverse: 5 },
    packets: { forward: 20, reverse: 1 },
    retransmits: { forward: 2, reverse: 0 },
    own: {
      client: { bytes: { sent: 2_000, received: 5 }, packets: { sent: 20, received: 1 }, retransmits: 2 },
      server: { bytes: { sent: 5, received: 1_900 }, packets: { sent: 1, received: 18 }, retransmits: 0 },
    },
    residualBytes: 12,
    judgedBytes: 120_000,
  }),
  rttHistogram: { scale: 3, offset: -130, counts: [1, 0, 3, 5] },
};

const DATA: ScreenData = {
  title: 'tributary on host',
  answer: { level: 'id_id', windowNs: 1e9, firstWindow: 1, lastWindow: 1, edges: EDGES },
  history: HISTORY,
  health: '1 agent',
};

function lay(state: ViewState, size: ScreenSize, data = DATA): string[] {
  return layScreen(state, data, filterEdges(state, data, size), size).map(textOf);
}

test('every screen fills its rows and no line exceeds its columns', () => {
  const states: ViewState[] = [
    FIRST,
    { ...FIRST, isHelp: true },
    { ...FIRST, isOpen: true, selected: 'edge 7' },
    { ...FIRST, filterText: 'x'.repeat(200), isTyping: true },
    { ...FIRST, isPaused: true, selected: 'edge 99' },
  ];
  for (const state of states)
    for (const columns of [80, 81, 120, 200])
      for (const rows of [10, 24, 60]) {
        const lines = lay(state, { columns, rows });
        assert.equal(lines.length, rows);
        for (const text of lines) assert.ok(stringWidth(text) <= columns, `${columns}: ${text}`);
      }
});

test('the help is whole in 80 columns and 24 rows', () => {
  const lines = lay({ ...FIRST, isHelp: true }, { columns: 80, rows: 24 });
  for (const text of lines) assert.ok(!text.includes('…'), text);
  assert.ok(lines.some((text) => text.startsWith('SEEN')));
});

test('the page with the selected edge is shown', () => {
  const size = { columns: 120, rows: 24 };
  const { pageRows } = filterEdges(FIRST, DATA, size);
  const shows = (selected: string | undefined, client: string): boolean =>
    lay({ ...FIRST, selected }, size).some((text) => text.startsWith(`host/${client} `));
  assert.ok(shows(undefined, 'client-0') && !shows(undefined, `client-${pageRows}`));
  assert.ok(shows(`edge ${pageRows}`, `client-${pageRows}`) && !shows(`edge ${pageRows}`, 'client-0'));
  assert.ok(shows('edge 99', 'client-99'));
});

test('an open edge tells what each end says, and of an end that was not seen no number', () => {
  const size = { columns: 80, rows: 24 };
  const open: ViewState = { ...FIRST, isOpen: true, selected: 'edge 7' };
  const text = lay(open, size).join('\n');
  for (const line of [
    /^bytes, pkts +booked +client says +server says$/m,
    /^sent +2 kB, 20 +2 kB, 20 +1.90 kB, 18$/m,
    /^received +5 B, 1 +5 B, 1 +5 B, 1$/m,
    /^sent again +2 \(9.52 %\) +2 +0$/m,
    /^apart +100 B sent, 0 B received, with what is under way$/m,
  ])
    assert.match(text, line);
  const { client } = HISTORY.edge.own;
  const alone = { ...HISTORY, edge: { ...HISTORY.edge, own: { client, server: null } } };
  const half = lay(open, size, { ...DATA, history: alone }).join('\n');
  assert.match(half, /^sent +2 kB, 20 +2 kB, 20 +not seen$/m);
  assert.doesNotMatch(half, /^apart/m);
});

test('an open edge tells what its ends counted besides, what hurts most first, and how much has no room', () => {
  const tally = (
    metric: string,
    count: number,
    attributes: TallyAnswer['attributes'],
    seconds: number | null = null,
  ) => {
    return { metric, count, attributes: { 'tributary.side': 'client', ...attributes }, seconds, histogram: null };
  };
  const kind = (name: string) => ({ 'tributary.tcp.retransmit.kind': name });
  const tallies = [
    tally('tributary.tcp.handshake.server.duration', 4, {}, 0.002),
    tally('tributary.tcp.retransmit.segment.count', 1, kind('fast')),
    tally('tributary.tcp.retransmit.segment.count', 7, kind('timeout')),
    tally('dns.lookup.duration', 10, { 'dns.question.name': 'a.example' }, 0.05),
    tally('tributary.packet.drop.count', 3, { 'tributary.drop.reason': 'NO_SOCKET\u001b[2J' }),
  ];
  const open: ViewState = { ...FIRST, isOpen: true, selected: 'edge 7' };
  const data = { ...DATA, history: { ...HISTORY, edge: { ...HISTORY.edge, tallies } } };
  const wide = lay(open, { columns: 160, rows: 50 }, data).join('\n');
  assert.match(
    wide,
    /^besides +dropped 3 \(NO_SOCKET.*\); sent again 8 \(timeout 7, fast 1\); DNS 5 ms mean of 10; handshake, server 500 us mean of 4$/m,
  );
  assert.ok(!wide.includes('\u001b'));
  const narrow = lay(open, { columns: 80, rows: 24 }, data);
  assert.match(narrow.join('\n'), /^besides +dropped 3 .* \+\d$/m);
  assert.ok(narrow.length <= 24 && narrow.every((text) => text.length <= 80));
});

test('an open edge names four processes of a unit or container and counts the others', () => {
  const [client, server] = ['web.service', 'php.service'].map((unit) => unitEnd('host', unit));
  const edge = {
    ...HISTORY.edge,
    client: { ...client, processes: ['a', 'b', 'c', 'd', 'e'], moreProcesses: 7 },
    server: { ...server, processes: ['php-fpm', '\u001b[2J'] },
  };
  const open: ViewState = { ...FIRST, isOpen: true, selected: 'edge 7' };
  const text = lay(open, { columns: 80, rows: 24 }, { ...DATA, history: { ...HISTORY, edge } }).join('\n');
  assert.match(text, /^client +unit web\.service on host: a, b, c, d \+8$/m);
  assert.match(text, /^server +unit php\.service on host: php-fpm, /m);
  assert.ok(!text.includes('\u001b'));
});

test('an open edge tells its ends, failures with reasons, residual and spread', () => {
  const text = lay({ ...FIRST, isOpen: true, selected: 'edge 7' }, { columns: 80, rows: 24 }).join('\n');
  for (const part of [
    /^client +process client-7 on host$/m,
    /^server +private address 2001:db8::7$/m,
    /^failed +refused 3, timed out 2$/m,
    /^seen by +both ends 4, client alone 1, server alone 0$/m,
    /^residual +the ends differ by 12 B \(0\.01 %\) over 120 kB of closed connections$/m,
    /^rtt +least 10 us, mean 20 us, most 90 us, 9 samples$/m,
    /^rtt spread .*▂? ?▅?█.*9 samples$/m,
  ])
    assert.match(text, part);
});

test('FAILED stays at 80 columns with wide numbers when something failed', () => {
  const wide = makeEdge({
    client: processEnd('a-long-host-name', 'process'),
    server: processEnd('a-long-host-name', 'process'),
    bytes: { forward: 987_000_000, reverse: 987_000_000 },
    packets: { forward: 1_000, reverse: 0 },
    retransmits: { forward: 12, reverse: 0 },
    rtt: { count: 1, minUs: 123_000, meanUs: 123_000, maxUs: 123_000 },
    active: 123_456,
    connections: 123_456,
    failures: { ...NONE, refused: 123_456 },
  });
  const answer = { level: 'id_id', windowNs: 1e9, firstWindow: 1, lastWindow: 1, edges: [wide] } as const;
  const data: ScreenData = { ...DATA, answer: { ...answer, edges: [wide] } };
  for (const by of ['rate', 'rtt', 'retransmits', 'failures', 'active', 'new'] as const) {
    const lines = lay({ ...FIRST, by }, { columns: 80, rows: 24 }, data);
    assert.match(lines[2], /FAILED/, by);
    const [title] = {
      rate: ['SENT'],
      rtt: ['RTT'],
      retransmits: ['RETRANS'],
      failures: ['FAILED'],
      active: ['ACTIVE'],
      new: ['NEW'],
    }[by];
    assert.ok(lines[2].includes(title), `sorted by ${by}: ${lines[2]}`);
    assert.match(lines[3], /\b123456\b/);
  }
});

test('trouble and what was logged take the place of the health', () => {
  const size = { columns: 80, rows: 24 };
  assert.equal(lay(FIRST, size).at(-2), '1 agent');
  assert.equal(lay(FIRST, size, { ...DATA, trouble: 'no answer' }).at(-2), 'no answer');
  assert.equal(lay(FIRST, size, { ...DATA, notice: 'a ring is full' }).at(-2), 'a ring is full');
});

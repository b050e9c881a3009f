import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Edge, EdgesAnswer } from '../api/edge-answer.ts';
import { sortEdges } from '../api/edge-order.ts';
import { END, makeEdge } from '../api/testing/edge.ts';
import { renderLine, renderTable } from './edges-table.ts';

const EDGE = makeEdge({
  client: { ...END, id: 'client/iperf3', role: 'iperf3' },
  server: { ...END, id: 'web/iperf3', role: 'iperf3' },
  serverPort: 5201,
  bytes: { forward: 1_250_000, reverse: 21 },
  packets: { forward: 1_000, reverse: 0 },
  retransmits: { forward: 4, reverse: 0 },
  rtt: { count: 1, minUs: 121, maxUs: 121, meanUs: 121 },
  connections: 2,
  closed: 2,
  match: { both: 2, client: 0, server: 0 },
});

const LONG: Edge = {
  ...EDGE,
  key: 'long',
  client: { ...END, id: 'a-host-with-a-long-name.example.org/system-backup-nightly.service' },
  server: { ...END, id: '2001:db8:1111:2222:3333:4444:5555:6666', address: '2001:db8:1111:2222:3333:4444:5555:6666' },
  bytes: { forward: 987_600_000, reverse: 123_400_000 },
  packets: { forward: 10, reverse: 0 },
  retransmits: { forward: 0, reverse: 0 },
  rtt: null,
  active: 1_234,
  connections: 99_999,
  failures: { ...EDGE.failures, refused: 2, timedOut: 1 },
  match: { both: 0, client: 1, server: 0 },
};

const ANSWER: EdgesAnswer = { level: 'id_id', windowNs: 1e9, firstWindow: 9, lastWindow: 9, edges: [EDGE, LONG] };

test('at 160 columns everything is written out', () => {
  assert.deepEqual(renderTable(ANSWER, [EDGE], { width: 160 }), [
    'CLIENT         SERVER                SENT  RECEIVED     RTT  RETRANS  ACTIVE  NEW  FAILED  SEEN',
    'client/iperf3  web/iperf3:5201  1.25 MB/s    21 B/s  121 us   0.40 %       -    2       -  both',
  ]);
  const [head, , long] = renderTable(ANSWER, ANSWER.edges, { width: 160 });
  assert.ok(head.length <= 160 && long.length <= 160);
  assert.match(long, /…? {2}\[2001:db8:1111:2222:3333:4444:5555:6666\]:5201 {3}988 MB\/s {2}123 MB\/s/);
});

test('at 80 columns names are cut and the spare columns go, rates and ends stay', () => {
  const lines = renderTable(ANSWER, ANSWER.edges, { width: 80 });
  for (const line of lines) assert.ok(line.length <= 80, line);
  assert.match(lines[0], /^CLIENT .*SERVER .*SENT +RECEIVED +RTT +RETRANS +FAILED +SEEN$/);
  assert.match(lines[2], /^a-host.*… {2}\[200.*…:5201 +988 MB\/s +123 MB\/s +- +- +3 +client$/);
});

test('at 80 columns a name that needs no more than its part of them is whole, and ACTIVE and NEW go for it', () => {
  const edge: Edge = {
    ...EDGE,
    client: { ...END, id: 'vm/curl', role: 'curl' },
    server: { ...END, id: 'vm/python3.11', role: 'python3.11' },
  };
  const [head, line] = renderTable(ANSWER, [edge], { width: 80 });
  assert.match(line, /^vm\/curl {2}vm\/python3\.11:5201 {2}/);
  assert.match(head, / RTT {2}RETRANS .*SEEN$/);
});

test('FAILED says why where all columns have room for it, and how often elsewhere', () => {
  const failing = { ...EDGE, failures: { ...EDGE.failures, refused: 2, timedOut: 1 } };
  const [head, idle, full] = renderTable(ANSWER, [EDGE, failing], { width: 160 });
  assert.match(head, / NEW {18}FAILED {2}SEEN$/);
  assert.match(idle, / 2 {23}- {2}both$/);
  assert.match(full, / 2 {2}2 refused, 1 timed out {2}both$/);
  const short = renderTable(ANSWER, [EDGE, failing], { width: full.length - 1 });
  assert.match(short[0], / NEW {2}FAILED {2}SEEN$/);
  assert.match(short[2], / 2 {7}3 {2}both$/);
  assert.equal(renderTable(ANSWER, [EDGE, failing], { width: full.length })[2], full);
});

test('a protocol other than TCP stands behind the port, also where the name is cut', () => {
  const lookups: Edge = { ...EDGE, transport: 'udp', serverPort: 53 };
  const [, line] = renderTable(ANSWER, [lookups], { width: 160 });
  assert.match(line, /^client\/iperf3 {2}web\/iperf3:53\/udp {2}/);
  assert.match(renderTable(ANSWER, [{ ...LONG, transport: 'udp' }], { width: 80 })[1], /…:5201\/udp {2}/);
  assert.match(renderLine(ANSWER, lookups), / -> web\/iperf3:53 udp sent /);
});

test('every width from 80 on is kept', () => {
  for (let width = 80; width <= 200; width++)
    for (const line of renderTable(ANSWER, ANSWER.edges, { width }))
      assert.ok(line.length <= width, `${width}: ${line}`);
});

test('only as many edges as there are rows for', () => {
  assert.equal(renderTable(ANSWER, ANSWER.edges, { width: 160, rows: 1 }).length, 2);
});

test('a line says when, who, how much and how well', () => {
  assert.equal(
    renderLine(ANSWER, EDGE),
    '1970-01-01T00:00:10.000Z client/iperf3 -> web/iperf3:5201 tcp sent 1.25 MB/s received 21 B/s rtt 121 us retrans 0.40 % active 0 new 2 seen both',
  );
  assert.match(renderLine(ANSWER, LONG), /rtt - retrans - active 1234 new 99999 refused 2 timed out 1 seen client$/);
});

test('a program cannot command the terminal by its name', () => {
  const client = { ...END, id: 'h/\x1b]0;owned\x07\n\u009b2J\u202e' };
  for (const line of [
    ...renderTable(ANSWER, [{ ...EDGE, client }], { width: 160 }),
    renderLine(ANSWER, { ...EDGE, client }),
  ])
    assert.doesNotMatch(line, /\p{C}/u);
});

test('edges are sorted by what was asked for, ties stay as they were', () => {
  const late = { ...EDGE, spanSeconds: 1_000 };
  assert.deepEqual(sortEdges([late, EDGE], 'rate'), [EDGE, late]);
  assert.deepEqual(sortEdges([late, EDGE], 'bytes'), [late, EDGE]);
  for (const by of ['failures', 'active', 'new'] as const) assert.equal(sortEdges([EDGE, LONG], by)[0], LONG, by);
  for (const by of ['rtt', 'retransmits'] as const) assert.equal(sortEdges([LONG, EDGE], by)[0], EDGE, by);
});

test('at a level above the leaves an end is its role, with the zone where the level has one', () => {
  const client = { ...END, role: 'curl', zone: 'eu-1a' };
  const edge = { ...EDGE, client, server: { ...END, role: 'nginx', zone: 'eu-1b' }, serverPort: null };
  assert.match(renderLine({ ...ANSWER, level: 'az_role' }, edge), / curl@eu-1a -> nginx tcp /);
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { makeEdge, processEnd } from '../api/testing/edge.ts';
import { CSV_COLUMNS, csvHead, csvRecords } from './edges-csv.ts';

const ANSWER: EdgesAnswer = { level: 'id_id', windowNs: 10e9, firstWindow: 6, lastWindow: 7, edges: [] };

/** RFC 4180, sections 2.1 to 2.7, read by hand. */
function parse(text: string): string[][] {
  const records: string[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    records.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain);
    if (end === '\r\n') records.push([]);
  }
  return records.slice(0, -1);
}

test('each record has the columns of the head, and values where they are known', () => {
  const edge = makeEdge({
    client: processEnd('a', 'curl'),
    serverPort: null,
    bytes: { forward: 5, reverse: 7 },
    rtt: { count: 2, minUs: 10, meanUs: 15, maxUs: 20 },
  });
  const [head, first, second, ...more] = parse(csvHead() + csvRecords(ANSWER, [edge, makeEdge()]));
  assert.deepEqual(head, CSV_COLUMNS);
  assert.deepEqual([first.length, second.length, more.length], [head.length, head.length, 0]);
  const value = (name: string): string => first[head.indexOf(name)];
  assert.equal(value('start_time'), '1970-01-01T00:01:00.000Z');
  assert.equal(value('end_time'), '1970-01-01T00:01:20.000Z');
  assert.deepEqual([value('client_id'), value('client_process'), value('server_port')], ['a/curl', 'curl', '']);
  assert.deepEqual([value('bytes_forward'), value('bytes_reverse')], ['5', '7']);
  assert.deepEqual([value('rtt_min_us'), value('rtt_mean_us'), value('rtt_max_us')], ['10', '15', '20']);
  assert.equal(second[head.indexOf('rtt_min_us')], '');
});

test('names with commas, quotes and line ends stay one field, and none is a formula', () => {
  for (const name of ['a,b', 'say "hi"', 'two\nlines', 'two\r\nlines']) {
    const [record] = parse(csvRecords(ANSWER, [makeEdge({ client: processEnd('h', name) })]));
    assert.equal(record[CSV_COLUMNS.indexOf('client_process')], name);
  }
  const [record] = parse(csvRecords(ANSWER, [makeEdge({ client: processEnd('h', '=1+1') })]));
  assert.equal(record[CSV_COLUMNS.indexOf('client_process')], "'=1+1");
});

test('docs/live-view.md lists the columns in their order', () => {
  const page = readFileSync(new URL('../../docs/live-view.md', import.meta.url), 'utf8');
  const [, list] = /<!-- columns -->\n([\s\S]*?)<!-- -->/.exec(page) ?? assert.fail('no list of columns');
  assert.deepEqual(list.match(/[a-z_]+/g), CSV_COLUMNS);
});

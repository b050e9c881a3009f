import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linePattern, missingLine, readPage } from './page-commands.ts';

test('a page is its commands with their outputs, and its files', () => {
  const page = [
    '# Page',
    ...['```console', '$ one --flag', 'first', '  second', '$ two', '```'],
    ...['Prose.', '```console background', '$ three', '```'],
    ...['```yaml a.yml', 'a: 1', '```', '```', '$ not this', '```'],
  ].join('\n');
  assert.deepEqual(readPage(page), [
    { kind: 'command', command: 'one --flag', output: ['first', '  second'], isBackground: false },
    { kind: 'command', command: 'two', output: [], isBackground: false },
    { kind: 'command', command: 'three', output: [], isBackground: true },
    { kind: 'file', name: 'a.yml', text: 'a: 1\n' },
  ]);
});

const LINE = 'vm/iperf3  vm/iperf3:5201   125 MB/s         -  31 us        -       2    -       -  both';
for (const [line, printed, isMatch] of [
  [LINE, 'host/iperf3 host/iperf3:5201 1.2 GB/s 20 B/s 9 ms 0.5 % 3 1 - both', true],
  [LINE, 'host/curl host/iperf3:5201 1.2 GB/s 20 B/s 9 ms 0.5 % 3 1 - both', false],
  [LINE, 'host/iperf3 host/iperf3:5202 1.2 GB/s 20 B/s 9 ms 0.5 % 3 1 - both', false],
  [LINE, 'host/iperf3 host/iperf3:5201 1.2 GB/s 20 B/s 9 ms 0.5 % 3 1 - client', false],
  [LINE, 'host/iperf3 host/iperf3:5201 1.2 GB/s 20 B/s 9 ms 0.5 % both', false],
  ['2026-11-25T16:40:02.000Z vm:1 refused 1', '2027-01-02T00:00:00.500Z host:1 refused 12', true],
  ['{a="1"} => 125829120 @[1764088823.412]', '{a="1"} => 1.5 @[1764.1]', true],
  ['{a="1"} => 125829120 @[1764088823.412]', '{a="2"} => 1.5 @[1764.1]', false],
  ['compile agent.wasm: 5 s', 'compile agent.wasm: 41 s', true],
] as const)
  test(`"${printed}" is ${isMatch ? '' : 'not '}what "${line}" stands for`, () =>
    assert.equal(linePattern(line, 'host').test(printed), isMatch));

test('lines come in order, others may stand between them, and the first that is missing is named', () => {
  assert.equal(missingLine(['a', 'b 1'], 'x\na\ny\nb 2\n', 'host'), undefined);
  assert.equal(missingLine(['a', 'b'], 'b\na\n', 'host'), 'b');
  assert.equal(missingLine([], '', 'host'), undefined);
});

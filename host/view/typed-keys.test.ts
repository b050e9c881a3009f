import assert from 'node:assert/strict';
import { test } from 'node:test';
import { typedKeys } from './typed-keys.ts';
import { afterKey, firstState } from './view-state.ts';

const TYPED: [string, string[]][] = [
  ['k', ['k']],
  ['/port:80\r', ['/port:80', '<enter>']],
  ['ab\x7fc\r\nq', ['ab', '<backspace>', 'c', '<enter>', 'q']],
  ['x\x15y\x03', ['x', '<clear>', 'y', '<interrupt>']],
  ['a\tb\u200dc', ['a', 'bc']],
  ['', []],
];

for (const [text, keys] of TYPED)
  test(`${JSON.stringify(text)} in one piece is ${keys.length} keys`, () => {
    const names = typedKeys(text).map((key) => (key.name === 'text' ? key.text : `<${key.name}>`));
    assert.deepEqual(names, keys);
  });

test('a filter and two times Enter that come in one piece open the first edge', () => {
  const shown = { keys: ['one', 'two'], pageRows: 10 };
  const state = typedKeys('/curl\r\r').reduce(
    (before, key) => afterKey(before, key, shown),
    firstState('rate', 'id_id'),
  );
  assert.deepEqual([state.filterText, state.isTyping, state.isOpen, state.selected], ['curl', false, true, 'one']);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cutLine, fitText, printable, textOf } from './line.ts';

test('a text fills its columns, cut or padded', () => {
  assert.equal(fitText('curl', 6), 'curl  ');
  assert.equal(fitText('curl', 6, 'right'), '  curl');
  assert.equal(fitText('container', 6), 'conta…');
});

test('the tail of a text stays when it is cut', () => {
  assert.equal(fitText('vm/container:8080', 10, 'left', ':8080'), 'vm/c…:8080');
  assert.equal(fitText('vm:8080', 10, 'left', ':8080'), 'vm:8080   ');
});

test('letters that take two columns are counted as two and never halved', () => {
  assert.equal(fitText('日本語', 8), '日本語  ');
  assert.equal(fitText('日本語', 4), '日… ');
  assert.equal(fitText('e\u0301e\u0301', 3), 'e\u0301e\u0301 ');
});

test('a line is cut across its pieces', () => {
  const pieces = [
    { text: 'abc', tone: 'plain' },
    { text: 'def', tone: 'bad' },
  ] as const;
  assert.equal(textOf(cutLine(pieces, 5)), 'abcd…');
  assert.equal(textOf(cutLine(pieces, 3)), 'abc');
  assert.deepEqual(cutLine(pieces, 6), pieces);
});

test('a name can neither command the terminal nor turn the line around', () => {
  assert.doesNotMatch(printable('a\x1b[2Jb\u202e\n\x9b'), /\p{C}/u);
});

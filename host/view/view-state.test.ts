import assert from 'node:assert/strict';
import { test } from 'node:test';
import { afterKey, firstState, type NamedKey, type ShownEdges, type ViewState } from './view-state.ts';

const SHOWN: ShownEdges = { keys: ['a', 'b', 'c', 'd', 'e'], pageRows: 2 };
const FIRST = firstState('rate', 'id_id');

/** Words are names of keys, anything else is typed. */
function press(keys: string, state: ViewState = FIRST, shown = SHOWN): ViewState {
  const named: string[] = [
    'up',
    'down',
    'page_up',
    'page_down',
    'home',
    'end',
    'enter',
    'escape',
    'backspace',
    'clear',
  ];
  return keys.split(' ').reduce((before, key) => {
    const name = named.includes(key) ? (key as NamedKey) : 'text';
    return afterKey(before, name === 'text' ? { name, text: key } : { name }, shown);
  }, state);
}

test('each letter sorts by its column', () => {
  const cases = { r: 'rate', t: 'rtt', x: 'retransmits', f: 'failures', a: 'active', n: 'new' };
  for (const [letter, by] of Object.entries(cases)) assert.equal(press(letter).by, by);
  assert.deepEqual(press('z'), FIRST);
});

test('l and L go through the levels and around their ends; nothing stays selected', () => {
  assert.equal(press('l').level, 'id_az');
  assert.equal(press('L').level, 'role_role');
  assert.equal(press('l l l l l l l').level, 'id_id');
  assert.equal(press('down l').selected, undefined);
});

test('the cursor begins above the first edge and stops at the ends', () => {
  const cases: [string, string | undefined][] = [
    ['down', 'a'],
    ['down down', 'b'],
    ['j j k', 'a'],
    ['up', 'a'],
    ['end', 'e'],
    ['end down', 'e'],
    ['end home', 'a'],
    ['page_down', 'b'],
    ['page_down page_down page_up', 'b'],
    ['down escape', undefined],
  ];
  for (const [keys, selected] of cases) assert.equal(press(keys).selected, selected, keys);
  assert.equal(press('down', FIRST, { keys: [], pageRows: 2 }).selected, undefined);
});

test('when the selected edge is gone the cursor begins again', () => {
  assert.equal(press('down', { ...FIRST, selected: 'gone' }).selected, 'a');
});

test('letters belong to the filter while it is typed, and are commands afterwards', () => {
  const typing = press('/ q r backspace');
  assert.deepEqual([typing.filterText, typing.isTyping, typing.isEnded, typing.by], ['q', true, false, 'rate']);
  const kept = press('enter n', typing);
  assert.deepEqual([kept.filterText, kept.isTyping, kept.by], ['q', false, 'new']);
  assert.equal(press('escape', kept).filterText, '');
  assert.deepEqual(press('escape', typing), FIRST);
  assert.equal(press('clear', typing).filterText, '');
});

test('what is typed at once is taken letter by letter', () => {
  assert.deepEqual(press('n/curl'), { ...FIRST, by: 'new', isTyping: true, filterText: 'curl' });
});

test('arrows select while the filter is typed', () => {
  assert.equal(press('/ x down').selected, 'a');
});

test('a filter has a greatest length', () => {
  assert.equal(press(`/ ${'x'.repeat(1_000)}`).filterText.length, 200);
});

test('Enter opens the selected edge or the first, Esc goes back', () => {
  assert.deepEqual([press('enter').isOpen, press('enter').selected], [true, 'a']);
  assert.equal(press('end enter').selected, 'e');
  assert.equal(press('enter', FIRST, { keys: [], pageRows: 2 }).isOpen, false);
  const back = press('enter escape');
  assert.deepEqual([back.isOpen, back.selected], [false, 'a']);
  assert.equal(press('enter down').selected, 'b');
});

test('an open edge is not sorted, filtered or switched, but paused', () => {
  const open = press('enter');
  assert.deepEqual(press('n / l', open), open);
  assert.equal(press('p', open).isPaused, true);
});

test('any key leaves the help, q too', () => {
  assert.equal(press('?').isHelp, true);
  for (const key of ['?', 'q', 'n', 'down', 'escape']) assert.deepEqual(press(`? ${key}`), FIRST, key);
});

test('p and the space pause and go on', () => {
  assert.equal(press('p').isPaused, true);
  assert.equal(press('p p').isPaused, false);
  assert.equal(afterKey(FIRST, { name: 'text', text: ' ' }, SHOWN).isPaused, true);
});

test('q ends, and an interrupt ends everywhere', () => {
  assert.equal(press('q').isEnded, true);
  for (const keys of ['?', '/', 'enter'])
    assert.equal(afterKey(press(keys), { name: 'interrupt' }, SHOWN).isEnded, true);
});

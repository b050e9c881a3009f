// What the keys do. No terminal and no clock: a key and what is on the screen go in, the next state comes out.

import { LEVELS } from '../api/edge-answer.ts';
import type { SortKey } from '../api/edge-order.ts';
import type { LevelName } from '../export/levels.ts';

export interface ViewState {
  by: SortKey;
  level: LevelName;
  filterText: string;
  /** Letters belong to the filter and are not commands. */
  isTyping: boolean;
  isPaused: boolean;
  /** Key of the edge that the cursor is on. */
  selected: string | undefined;
  /** The selected edge fills the screen. */
  isOpen: boolean;
  isHelp: boolean;
  isEnded: boolean;
}

export type NamedKey =
  | 'up'
  | 'down'
  | 'page_up'
  | 'page_down'
  | 'home'
  | 'end'
  | 'enter'
  | 'escape'
  | 'backspace'
  | 'clear'
  | 'interrupt';

/** A key with a name, or letters as they were typed or pasted. */
export type ViewKey = { name: NamedKey } | { name: 'text'; text: string };

/** What is on the screen. */
export interface ShownEdges {
  /** Keys of all edges that the filter left, in their order. */
  keys: readonly string[];
  /** Edges on one screen. */
  pageRows: number;
}

export const SORT_LETTERS: Readonly<Record<string, SortKey>> = {
  r: 'rate',
  t: 'rtt',
  x: 'retransmits',
  f: 'failures',
  a: 'active',
  n: 'new',
};

export function firstState(by: SortKey, level: LevelName): ViewState {
  return {
    ...{ by, level, filterText: '', isTyping: false, isPaused: false, selected: undefined },
    ...{ isOpen: false, isHelp: false, isEnded: false },
  };
}

export function afterKey(state: ViewState, key: ViewKey, shown: ShownEdges): ViewState {
  if (key.name === 'interrupt') return { ...state, isEnded: true };
  if (state.isTyping) return afterTyping(state, key, shown);
  if (key.name === 'text') return [...key.text].reduce((before, letter) => afterLetter(before, letter, shown), state);
  if (state.isHelp) return { ...state, isHelp: false };
  return afterNamed(state, key.name, shown);
}

function afterTyping(state: ViewState, key: ViewKey, shown: ShownEdges): ViewState {
  switch (key.name) {
    case 'text':
      return { ...state, filterText: (state.filterText + key.text).slice(0, FILTER_LENGTH_MAX) };
    case 'backspace':
      return { ...state, filterText: [...state.filterText].slice(0, -1).join('') };
    case 'clear':
      return { ...state, filterText: '' };
    case 'enter':
      return { ...state, isTyping: false };
    case 'escape':
      return { ...state, isTyping: false, filterText: '' };
    default:
      return afterNamed(state, key.name, shown);
  }
}

const FILTER_LENGTH_MAX = 200;

function afterLetter(state: ViewState, letter: string, shown: ShownEdges): ViewState {
  if (state.isTyping) return afterTyping(state, { name: 'text', text: letter }, shown);
  if (state.isHelp) return { ...state, isHelp: false };
  if (letter === 'q') return { ...state, isEnded: true };
  if (letter === '?') return { ...state, isHelp: true };
  if (letter === 'p' || letter === ' ') return { ...state, isPaused: !state.isPaused };
  if (letter === 'j' || letter === 'k') return afterNamed(state, letter === 'j' ? 'down' : 'up', shown);
  if (state.isOpen) return state;
  if (letter === '/') return { ...state, isTyping: true };
  if (letter === 'l' || letter === 'L') return atLevel(state, letter === 'l' ? 1 : -1);
  const by = SORT_LETTERS[letter];
  return by === undefined ? state : { ...state, by };
}

/** Edges of another level are others: nothing is selected there. */
function atLevel(state: ViewState, step: number): ViewState {
  const level = LEVELS[(LEVELS.indexOf(state.level) + step + LEVELS.length) % LEVELS.length];
  return { ...state, level, selected: undefined };
}

function afterNamed(state: ViewState, name: NamedKey, { keys, pageRows }: ShownEdges): ViewState {
  const moves: Partial<Record<NamedKey, number>> = {
    ...{ up: -1, down: 1, page_up: -pageRows, page_down: pageRows },
    ...{ home: -keys.length, end: keys.length },
  };
  const move = moves[name];
  if (move !== undefined) return { ...state, selected: keyAt(keys, state.selected, move) };
  if (name === 'enter') {
    const selected = state.selected ?? keys[0];
    return selected === undefined ? state : { ...state, selected, isOpen: true };
  }
  if (name === 'escape') {
    if (state.isOpen) return { ...state, isOpen: false };
    return state.selected === undefined ? { ...state, filterText: '' } : { ...state, selected: undefined };
  }
  return state;
}

/** Without a selection, or when its edge is gone, the cursor comes from above the first edge. */
function keyAt(keys: readonly string[], selected: string | undefined, move: number): string | undefined {
  const from = selected === undefined ? -1 : keys.indexOf(selected);
  return keys[Math.max(0, Math.min(keys.length - 1, from + move))];
}

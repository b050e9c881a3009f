// Draws lines and hears keys. Loaded by live-view.ts alone, since Ink and React cost a fifth of a second that a pipe need not wait for.
import { Box, type Key, Text, useInput } from 'ink';
import { createElement, type ReactNode } from 'react';
import type { Line, Piece, Tone } from './line.ts';
import { typedKeys } from './typed-keys.ts';
import type { NamedKey, ViewKey } from './view-state.ts';

export interface ScreenProps {
  lines: readonly Line[];
  hasColors: boolean;
  /** False when standard input is no terminal: then no key can be heard. */
  hasKeys: boolean;
  onKey: (key: ViewKey) => void;
}

export function Screen({ lines, hasColors, hasKeys, onKey }: ScreenProps): ReactNode {
  useInput((input, key) => nameKeys(input, key).forEach(onKey), { isActive: hasKeys });
  const rows = lines.map((pieces, index) => createElement(Row, { key: index, pieces, hasColors }));
  return createElement(Box, { flexDirection: 'column' }, rows);
}

/** An empty line has a space, because Ink gives an empty text no row. */
function Row({ pieces, hasColors }: { pieces: Line; hasColors: boolean }): ReactNode {
  if (pieces.length === 0) return createElement(Text, undefined, ' ');
  const parts = mergeTones(pieces).map(({ text, tone }, index) =>
    createElement(Text, { key: index, ...styleOf(tone, hasColors) }, text),
  );
  return createElement(Text, { wrap: 'truncate' }, parts);
}

/** Neighbours that look alike become one: a row of a table is mostly one text. */
function mergeTones(pieces: Line): Piece[] {
  const merged: Piece[] = [];
  for (const { text, tone } of pieces) {
    const last = merged.at(-1);
    if (last?.tone === tone) last.text += text;
    else merged.push({ text, tone });
  }
  return merged;
}

function styleOf(tone: Tone, hasColors: boolean): Partial<Parameters<typeof Text>[0]> {
  switch (tone) {
    case 'strong':
      return { bold: true };
    case 'dim':
      return hasColors ? { color: 'gray' } : {};
    case 'bad':
      return hasColors ? { color: 'red', bold: true } : { bold: true };
    case 'selected':
      return { inverse: true };
    case 'plain':
      return {};
  }
}

function nameKeys(input: string, key: Key): ViewKey[] {
  const name = NAMES.find(([field]) => key[field])?.[1] ?? (key.ctrl ? CONTROLS[input] : undefined);
  if (name !== undefined) return [{ name }];
  return key.ctrl || key.meta ? [] : typedKeys(input);
}

const CONTROLS: Record<string, NamedKey> = { c: 'interrupt', u: 'clear' };

const NAMES: readonly [keyof Key, NamedKey][] = [
  ['upArrow', 'up'],
  ['downArrow', 'down'],
  ['pageUp', 'page_up'],
  ['pageDown', 'page_down'],
  ['home', 'home'],
  ['end', 'end'],
  ['return', 'enter'],
  ['escape', 'escape'],
  ['backspace', 'backspace'],
  ['delete', 'backspace'],
];

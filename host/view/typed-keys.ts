// Keys that came in one piece, because they were pasted or because the program was late: letters, and control characters among them.

import type { NamedKey, ViewKey } from './view-state.ts';

const CONTROL_KEYS: Readonly<Record<string, NamedKey>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\r\n': 'enter',
  '\b': 'backspace',
  '\x7f': 'backspace',
  '\x03': 'interrupt',
  '\x15': 'clear',
};

/** In their order. Other characters without a shape are left out. */
export function typedKeys(text: string): ViewKey[] {
  const pieces = text.split(/(\r\n|\p{Cc})/u);
  return pieces.flatMap((piece): ViewKey[] => {
    const name = CONTROL_KEYS[piece];
    if (name !== undefined) return [{ name }];
    const letters = piece.replace(/\p{C}/gu, '');
    return letters === '' ? [] : [{ name: 'text', text: letters }];
  });
}

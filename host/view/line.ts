// A line of the screen: pieces of text with what they mean. Colours are chosen where lines are drawn.
import stringWidth from 'string-width';

export type Tone = 'plain' | 'strong' | 'dim' | 'bad' | 'selected';

export interface Piece {
  text: string;
  tone: Tone;
}

export type Line = readonly Piece[];

export function line(text: string, tone: Tone = 'plain'): Line {
  return [{ text, tone }];
}

export function textOf(pieces: Line): string {
  return pieces.map(({ text }) => text).join('');
}

/** Any program chooses its name: it must not be able to command the terminal or to begin a line. */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, '\u{fffd}');
}

/** Exactly `width` columns: cut with an ellipsis before `tail`, its last letters, or filled with spaces. */
export function fitText(text: string, width: number, align: 'left' | 'right' = 'left', tail = ''): string {
  const cut =
    stringWidth(text) <= width ? text : cutText(text.slice(0, text.length - tail.length), width - tail.length) + tail;
  const fill = ' '.repeat(width - stringWidth(cut));
  return align === 'left' ? cut + fill : fill + cut;
}

const GRAPHEMES = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** At most `width` columns, of which some letters take two. */
function cutText(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let cut = '';
  let columns = 0;
  for (const { segment } of GRAPHEMES.segment(text)) {
    columns += stringWidth(segment);
    if (columns > width - 1) break;
    cut += segment;
  }
  return `${cut}…`;
}

/** The first `width` columns of a line. */
export function cutLine(pieces: Line, width: number): Line {
  const cut: Piece[] = [];
  let left = width;
  for (const { text, tone } of pieces) {
    if (left <= 0) break;
    const part = cutText(text, left);
    cut.push({ text: part, tone });
    left -= stringWidth(part);
  }
  return cut;
}

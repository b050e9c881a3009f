/**
 * A table of edges that is drawn again for each closed window. On a terminal it repaints in place and leaves the screen as it was; elsewhere it
 * prints one line per edge and window, so that a pipe or a log gets every window once.
 */
import type { WriteStream } from 'node:tty';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { type SortKey, sortEdges } from '../api/edge-order.ts';
import { renderLine, renderTable } from './edges-table.ts';

export interface LiveViewOptions {
  by: SortKey;
  /** First line of the screen. */
  title: string;
}

export interface Frame {
  answer: EdgesAnswer;
  /** One line about the pipeline itself. */
  health: string;
}

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_LINE_END = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
/** Title, empty line, table head, empty line, health. */
const FRAME_ROWS = 5;

export class LiveView {
  readonly #options: LiveViewOptions;
  readonly #out: WriteStream;
  #last: Frame | undefined;
  #shownWindow: number | null = null;
  readonly #repaint = (): void => this.#paint();
  /** The screen is given back however the process ends; writes to a terminal are done when they return. */
  readonly #leave = (): void => void this.#out.write(LEAVE);

  constructor(options: LiveViewOptions, out: WriteStream) {
    this.#options = options;
    this.#out = out;
  }

  start(): void {
    if (!this.#out.isTTY) return;
    this.#out.write(ENTER);
    this.#out.on('resize', this.#repaint);
    process.once('exit', this.#leave);
  }

  stop(): void {
    if (!this.#out.isTTY) return;
    this.#out.off('resize', this.#repaint);
    process.off('exit', this.#leave);
    this.#leave();
  }

  show(frame: Frame): void {
    this.#last = frame;
    if (this.#out.isTTY) this.#paint();
    else this.#print(frame);
  }

  #print({ answer, health }: Frame): void {
    if (answer.lastWindow === null || answer.lastWindow === this.#shownWindow) return;
    this.#shownWindow = answer.lastWindow;
    for (const edge of sortEdges(answer.edges, this.#options.by)) this.#out.write(`${renderLine(answer, edge)}\n`);
    if (answer.edges.length === 0) this.#out.write(`${health}\n`);
  }

  #paint(): void {
    if (this.#last === undefined) return;
    const { answer, health } = this.#last;
    const { columns, rows } = this.#out;
    const shown = Math.max(1, rows - FRAME_ROWS);
    const edges = sortEdges(answer.edges, this.#options.by);
    const table =
      edges.length === 0 ? ['waiting for the first connection that moves'] : renderTable(answer, edges, columns, shown);
    const hidden = edges.length > shown ? `  (${edges.length - shown} more)` : '';
    const lines = [`${this.#options.title}${hidden}`, '', ...table, '', health].map((line) => line.slice(0, columns));
    this.#out.write(HOME + lines.map((line) => line + CLEAR_LINE_END).join('\r\n') + CLEAR_BELOW);
  }
}

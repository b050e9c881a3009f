// What a view is in a pipe or a log: one line for each edge, each window once.
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { type SortKey, sortEdges } from '../api/edge-order.ts';
import { renderLine } from './edges-table.ts';

export class LinePrinter {
  readonly #by: SortKey;
  readonly #write: (text: string) => void;
  #printedWindow: number | null = null;

  constructor(by: SortKey, write: (text: string) => void) {
    this.#by = by;
    this.#write = write;
  }

  /** `health` is printed for a window in which nothing moved. */
  print(answer: EdgesAnswer, health: string): void {
    if (answer.lastWindow === null || answer.lastWindow === this.#printedWindow) return;
    this.#printedWindow = answer.lastWindow;
    for (const edge of sortEdges(answer.edges, this.#by)) this.#write(`${renderLine(answer, edge)}\n`);
    if (answer.edges.length === 0) this.#write(`${health}\n`);
  }
}

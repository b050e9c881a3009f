// What a run prints, and keeps as JSON: the machine first, then a table for each question, progress on standard error meanwhile.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describeMachine, type Machine, machineLine } from './machine.ts';
import { formatTable } from './table.ts';

const RESULTS = join(import.meta.dirname, '..', 'results');

interface Kept {
  benchmark: string;
  machine: Machine;
  measured: Record<string, unknown>;
  tables: Record<string, { head: string[]; rows: string[][] }>;
}

export class Report {
  readonly #path: string;
  readonly #kept: Kept;

  /** `path`: of the JSON file; bench/results/NAME.json by default. */
  constructor(benchmark: string, path = join(RESULTS, `${benchmark}.json`)) {
    this.#path = path;
    this.#kept = { benchmark, machine: describeMachine(), measured: {}, tables: {} };
    console.log(machineLine(this.#kept.machine));
  }

  progress(what: string): void {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${what}`);
    else process.stderr.write(`${what}\n`);
  }

  /** Raw values, for whoever wants to compute something else. */
  keep(what: string, values: unknown): void {
    this.#kept.measured[what] = values;
  }

  table(title: string, head: string[], rows: string[][]): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
    console.log(`\n${title}\n\n${formatTable(head, rows)}`);
    this.#kept.tables[title] = { head, rows };
  }

  finish(): void {
    mkdirSync(dirname(this.#path), { recursive: true });
    writeFileSync(this.#path, `${JSON.stringify(this.#kept, undefined, 2)}\n`);
    console.log(`\nkept in ${this.#path}`);
  }
}

/** What a run is at. Rounds from 0 are measured, those before are warm-up, and what is before these opens what lives. */
export function nameRound(round: number, { rounds, warmup }: { rounds: number; warmup: number }): string {
  if (round >= 0) return `round ${round + 1} of ${rounds}`;
  return round < -warmup ? 'opening' : `warm-up ${round + warmup + 1} of ${warmup}`;
}

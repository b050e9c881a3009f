// One case: both sides read the same windows in this thread, in turn, and must say the same of each.

import { isDeepStrictEqual } from 'node:util';
import { countRows } from '../../host/export/window-rows.ts';
import { cpuNs } from '../lib/cpu-clock.ts';
import { nameRound } from '../lib/report.ts';
import { rotate } from '../lib/statistics.ts';
import { Input, type InputWindow } from '../native/input.ts';
import { Ours } from '../native/ours.ts';
import { sumOutput } from '../native/stages.ts';
import type { FleetOptions } from '../reducer/fleet.ts';
import { addSums, NaiveReducer, noSums, type Tree } from './naive-reducer.ts';

export interface CaseOptions extends FleetOptions {
  /** Measured windows. */
  rounds: number;
  /** Windows of the mix before these. */
  warmup: number;
}

export interface CaseTimes {
  /** Of one measured window: updates, opens, closes and onces of both ends. */
  records: number;
  /** CPU time of a window, ns. */
  ours: number[];
  naive: number[];
}

export class DifferenceError extends Error {}

/** For each level: bytes, packets, connections, active, rows. */
type LevelSums = number[][];

export interface CaseTools {
  module: WebAssembly.Module;
  progress?: (what: string) => void;
  /** What the naive side is told in place of the window, to see that a difference is noticed. */
  alter?: (window: InputWindow) => InputWindow;
}

/** Throws DifferenceError at the first window of which the sides differ. */
export function measureCase(options: CaseOptions, { module, progress, alter }: CaseTools): CaseTimes {
  const { rounds, warmup } = options;
  const input = new Input(options);
  // Announcements have their places in the sequence of an agent, so each side has an input of its own to be told names by.
  const naive = new NaiveReducer(new Input(options));
  const ours = new Ours(module, input);
  const measured: CaseTimes = { records: 0, ours: [], naive: [] };
  // The first window opens what lives.
  for (let round = -warmup - 1; round < rounds; round++) {
    progress?.(nameRound(round, { rounds, warmup }));
    const window = input.nextWindow();
    const sums: Partial<Record<'ours' | 'naive', LevelSums>> = {};
    const times = { ours: 0, naive: 0 };
    for (const side of rotate(['ours', 'naive'] as const, round + warmup + 1)) {
      const start = cpuNs();
      if (side === 'ours') {
        const { output } = ours.run(window);
        times.ours = cpuNs() - start;
        sums.ours = sumOurs(output);
      } else {
        const tree = naive.run(alter?.(window) ?? window);
        times.naive = cpuNs() - start;
        sums.naive = sumTree(tree);
      }
    }
    compare(window, sums, ours.framesRefused);
    if (round < 0) continue;
    measured.records = window.records;
    measured.ours.push(times.ours);
    measured.naive.push(times.naive);
  }
  return measured;
}

function compare(window: InputWindow, sums: Partial<Record<'ours' | 'naive', LevelSums>>, refused: number): void {
  if (refused > 0) throw new DifferenceError(`reducer.wasm refused ${refused} frames by window ${window.window}`);
  if (window.records > 0 && sums.ours?.flat().every((sum) => sum === 0))
    throw new DifferenceError(`window ${window.window} has no sum at all`);
  if (isDeepStrictEqual(sums.ours, sums.naive)) return;
  const said = `ours says ${JSON.stringify(sums.ours)}, naive says ${JSON.stringify(sums.naive)}`;
  throw new DifferenceError(`window ${window.window}: ${said}`);
}

function sumOurs(output: Uint8Array): LevelSums {
  const rows = countRows(output);
  return sumOutput(output).levels.map((sums, level) => [...sums.slice(0, 4), rows[level]]);
}

function sumTree(tree: Tree): LevelSums {
  const levels: LevelSums = [];
  for (const [level, rows] of tree) {
    const sums = noSums();
    for (const row of rows.values()) addSums(sums, row);
    levels[level] = [sums.bytes, sums.packets, sums.connections, sums.active, rows.size];
  }
  return levels;
}

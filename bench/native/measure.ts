// One case: all sides read the same windows, one after another and in another order each round, and must say the same of each.

import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { nameRound } from '../lib/report.ts';
import { rotate } from '../lib/statistics.ts';
import type { FleetOptions } from '../reducer/fleet.ts';
import { ClangWasm } from './clang-wasm.ts';
import { Input, type InputWindow } from './input.ts';
import { Ours } from './ours.ts';
import { Peer, writeWindow } from './peer.ts';
import type { OutputSums, StageTimes } from './stages.ts';
import { sumOutput } from './stages.ts';

export interface CaseOptions extends FleetOptions {
  /** Measured windows. */
  rounds: number;
  /** Windows of the mix before these: code is compiled and memory touched by then. */
  warmup: number;
}

export interface CaseTools {
  /** The product's reducer.wasm. */
  module: WebAssembly.Module;
  /** Path of the native reducer, and a folder in which windows are handed to it. */
  binary: string;
  folder: string;
  /** The native side's code for WebAssembly, where clang can make it. */
  object?: WebAssembly.Module;
  /** What the native side is told in place of the window, to see that a difference is noticed. */
  alter?: (window: InputWindow) => InputWindow;
  progress?: (what: string) => void;
}

export interface CaseTimes {
  /** Of one measured window: updates, opens, closes and onces of both ends. */
  records: number;
  ours: StageTimes[];
  native: StageTimes[];
  /** Empty without `object`. */
  clangWasm: StageTimes[];
  /** Longest call of ours that took frames, in the window in which all sockets open. CPU ns. */
  openingCallNs: number;
}

/** The sides do not say the same of a window, or say nothing. */
export class DifferenceError extends Error {}

interface Answer {
  times: StageTimes;
  sums: OutputSums;
  framesRefused: number;
}

interface Side {
  name: keyof Omit<CaseTimes, 'records' | 'openingCallNs'>;
  run(window: InputWindow): Promise<Answer>;
}

/** Throws DifferenceError at the first window of which the sides differ. */
export async function measureCase(options: CaseOptions, tools: CaseTools): Promise<CaseTimes> {
  const input = new Input(options);
  const peer = new Peer(tools.binary, tools.folder);
  try {
    await peer.name(input.names());
    const ours = new Ours(tools.module, input);
    const sides = [inThread('ours', ours), nativeSide(peer, tools.folder, tools.alter)];
    if (tools.object !== undefined) sides.push(inThread('clangWasm', new ClangWasm(tools.object, input)));
    return await runRounds(options, input, { sides, ours }, tools.progress);
  } finally {
    await peer.stop();
  }
}

async function runRounds(
  { rounds, warmup }: CaseOptions,
  input: Input,
  { sides, ours }: { sides: Side[]; ours: Ours },
  progress: CaseTools['progress'],
): Promise<CaseTimes> {
  const measured: CaseTimes = { records: 0, ours: [], native: [], clangWasm: [], openingCallNs: 0 };
  // The first window opens what lives.
  for (let round = -warmup - 1; round < rounds; round++) {
    progress?.(nameRound(round, { rounds, warmup }));
    const window = input.nextWindow();
    const answers = new Map<Side['name'], Answer>();
    for (const side of rotate(sides, round + warmup + 1)) answers.set(side.name, await side.run(window));
    compare(window, answers);
    if (round === -warmup - 1) measured.openingCallNs = ours.longestCallNs;
    if (round < 0) continue;
    measured.records = window.records;
    for (const [name, { times }] of answers) measured[name].push(times);
  }
  return measured;
}

function compare({ window, records }: InputWindow, answers: Map<Side['name'], Answer>): void {
  const [[firstName, first], ...others] = answers;
  const told = first.sums.levels.flat();
  if (records > 0 && told.every((sum) => sum === 0)) throw new DifferenceError(`window ${window} has no sum at all`);
  for (const [name, { sums, framesRefused }] of answers) {
    if (framesRefused > 0) throw new DifferenceError(`${name} refused ${framesRefused} frames by window ${window}`);
    if (isDeepStrictEqual(sums, first.sums)) continue;
    throw new DifferenceError(
      `window ${window}: ${firstName} says ${JSON.stringify(first.sums)}, ${name} says ${JSON.stringify(sums)}`,
    );
  }
  if (others.length === 0) throw new DifferenceError('one side alone proves nothing');
}

function inThread(name: Side['name'], reducer: Ours | ClangWasm): Side {
  return {
    name,
    run: async (window) => {
      const { times, output } = reducer.run(window);
      return { times, sums: sumOutput(output), framesRefused: reducer.framesRefused };
    },
  };
}

function nativeSide(peer: Peer, folder: string, alter: CaseTools['alter']): Side {
  return {
    name: 'native',
    run: async (window) => {
      const path = join(folder, 'window');
      writeWindow(path, alter?.(window) ?? window);
      const { framesRefused, levels, outputBytes, outputHash, ...times } = await peer.run(path);
      return { times, sums: { levels, outputBytes, outputHash }, framesRefused };
    },
  };
}

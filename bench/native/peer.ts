// The native reducer as a process of its own: it waits while the other side runs, so that each has a core and its caches to itself.

import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { FIRST_WINDOW, type InputWindow, WINDOW_NS } from './input.ts';
import type { OutputSums, StageTimes } from './stages.ts';

export interface NativeAnswer extends StageTimes, OutputSums {
  framesRefused: number;
}

export class Peer {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #folder: string;

  /** `folder`: where windows are handed over. */
  constructor(binary: string, folder: string) {
    this.#folder = folder;
    this.#process = spawn(binary, [String(FIRST_WINDOW), String(WINDOW_NS)], { stdio: ['pipe', 'pipe', 'inherit'] });
    assert(this.#process.stdout !== null);
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  async name(names: Uint8Array): Promise<void> {
    const path = join(this.#folder, 'names');
    writeFileSync(path, names);
    await this.#ask(`names ${path}`);
  }

  /** The window must have been written by `writeWindow`. */
  async run(path: string): Promise<NativeAnswer> {
    return JSON.parse(await this.#ask(`window ${path}`)) as NativeAnswer;
  }

  async stop(): Promise<void> {
    const isOver = once(this.#process, 'exit');
    this.#process.stdin?.end();
    await isOver;
  }

  async #ask(line: string): Promise<string> {
    this.#process.stdin?.write(`${line}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error(`the native reducer has ended at: ${line}`);
    return value;
  }
}

/** Heads as src/main.cpp has them, each with its frames behind it. */
export function writeWindow(path: string, { agents }: InputWindow): void {
  const file = openSync(path, 'w');
  try {
    for (const { agent, data, end } of agents) {
      const dataBytes = data.reduce((sum, frame) => sum + frame.length, 0);
      const head = new Uint8Array(Uint32Array.of(agent, dataBytes, end.length, 0).buffer);
      for (const part of [head, ...data, end]) writeSync(file, part);
    }
  } finally {
    closeSync(file);
  }
}

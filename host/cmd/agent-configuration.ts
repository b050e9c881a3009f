// The configuration of an agent, read by a process of its own: libraries that read and check it take 8 MiB, which the agent would keep.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { deserialize, serialize } from 'node:v8';
import type { AgentOptions } from '../agent/options.ts';
import type { Compared } from '../config/reload.ts';
import { UsageError } from '../lib/usage-error.ts';
import { COMPILED } from './compiled.ts';

const PROGRAM = join(import.meta.dirname, 'program.ts');
/** Descriptor on which the process answers. */
const ANSWER = 3;

export interface AgentConfiguration extends Compared {
  options: AgentOptions;
}

/** What the process answers; nothing when it only had to print something. */
export type Answer = { configuration: AgentConfiguration } | { refusal: { code: string; message: string } };

/** In the process that was started to read. */
export function tellConfiguration(answer: Answer): void {
  const bytes = serialize(answer);
  for (let start = 0; start < bytes.length; ) start += writeSync(ANSWER, bytes, start);
}

/**
 * Reads command line, file and environment anew. Returns an exit code when that was all: a text of help, or a command line that is wrong, about
 * which everything is said. Rejects with UsageError when the configuration is wrong.
 */
export async function readConfiguration(): Promise<AgentConfiguration | number> {
  const child = spawn(process.execPath, [...process.execArgv, PROGRAM, ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: { NODE_COMPILE_CACHE: COMPILED, ...process.env },
  });
  const ended = once(child, 'close');
  const [bytes] = await Promise.all([buffer(answerOf(child)), ended]);
  if (bytes.length === 0) return child.exitCode ?? 1;
  const answer = deserialize(bytes) as Answer;
  if ('configuration' in answer) return answer.configuration;
  throw new UsageError(answer.refusal.code, answer.refusal.message);
}

function answerOf(child: ChildProcess): Readable {
  return child.stdio[ANSWER] as Readable;
}

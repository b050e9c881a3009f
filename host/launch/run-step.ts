// A step of the set-up: one child process, its output kept for the case that it fails, and a line that counts the seconds.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Without a terminal a line is for ever, so there it comes less often. */
const TICK_MS = process.stderr.isTTY ? 1_000 : 20_000;
/** A step that found nothing to do leaves no line. */
const WORTH_A_LINE_MS = 500;
/** Enough of a compiler's output to see the first error; the rest is dropped. */
const OUTPUT_CHARS_MAX = 64 * 1024;

export interface Step {
  /** What a person reads, for example `compile reducer.wasm`. */
  title: string;
  command: string;
  args: string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
}

export class StepError extends Error {
  override name = 'StepError';
}

/** Runs the step to its end. Throws StepError with the command and what it printed when it fails or cannot be started. */
export async function runStep({ title, command, args, cwd, env }: Step): Promise<void> {
  const started = performance.now();
  const elapsed = () => `${Math.round((performance.now() - started) / 1000)} s`;
  let failed = 'failed after ';
  const ticker = setInterval(() => showProgress(`${title}: ${elapsed()}`), TICK_MS);
  try {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        if (output.length < OUTPUT_CHARS_MAX) output += text;
      });
    }
    const [code, signal] = await once(child, 'close');
    if (code === 0) {
      failed = '';
      return;
    }
    throw new StepError(
      `${title} failed (${signal ?? `exit code ${code}`}): ${command} ${args.join(' ')}\n${output.trimEnd()}`,
    );
  } catch (error) {
    if (error instanceof StepError) throw error;
    throw new StepError(
      `${title} failed: ${command} cannot be started (${error instanceof Error ? error.message : error})`,
    );
  } finally {
    clearInterval(ticker);
    if (performance.now() - started >= WORTH_A_LINE_MS) endProgress(`${title}: ${failed}${elapsed()}`);
  }
}

function showProgress(line: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
}

function endProgress(line: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}\n` : `${line}\n`);
}

// Exit codes: 0 done, 1 failed, 2 wrong usage, 70 a stage of the pipeline trapped.
import { UsageError } from '../lib/usage-error.ts';

const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;

/** Says on standard error what went wrong; returns the exit code. */
export function report(error: unknown): number {
  if (error instanceof UsageError) {
    console.error(`tributary: ${error.message} (${error.code})`);
    return EXIT_USAGE;
  }
  console.error(`tributary: ${error instanceof Error ? error.message : String(error)}`);
  return EXIT_FAILURE;
}

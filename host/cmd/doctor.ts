// `tributary doctor`: what this machine offers the agent, and what each missing thing costs. Exit code 1 when nothing can be observed.
import type { Command } from 'commander';
import { examine, formatReport } from '../doctor/report.ts';

const EXIT_UNUSABLE = 1;

export function register(command: Command): void {
  command.option('--json', 'print an object with stable keys').action(run);
}

async function run({ json }: { json?: boolean }): Promise<void> {
  const report = await examine();
  console.log(json ? JSON.stringify(report, undefined, 2) : formatReport(report));
  if (report.verdict === 'unusable') process.exitCode = EXIT_UNUSABLE;
}

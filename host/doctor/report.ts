// The whole examination, as an object with stable keys (docs/doctor.md) and as text.
import { type Finding, judge, type Status } from './findings.ts';
import { type HookFinding, type KernelFindings, tryHooks } from './hooks.ts';
import { type Machine, readMachine } from './machine.ts';

export interface Report {
  /** Of this form; a key that changes its meaning raises it. */
  version: 1;
  /** `ready`: nothing is lost; `limited`: something is; `unusable`: no connection can be observed by this process. */
  verdict: 'ready' | 'limited' | 'unusable';
  /** Why the probes could not be tried. */
  obstacle?: string;
  findings: Finding[];
  hooks: HookFinding[];
}

export async function examine(): Promise<Report> {
  return makeReport(readMachine(), await tryHooks());
}

export function makeReport(machine: Machine, { hooks, clock, obstacle }: KernelFindings): Report {
  const findings = judge(machine, clock);
  const isBlind = obstacle !== undefined || hooks.some(({ status }) => status === 'missing');
  const isLimited = [...findings, ...hooks].some(({ status }) => status === 'limited');
  const verdict = isBlind ? 'unusable' : isLimited ? 'limited' : 'ready';
  return { version: 1, verdict, ...(obstacle === undefined ? {} : { obstacle }), findings, hooks };
}

const VERDICTS: Record<Report['verdict'], string> = {
  ready: 'Ready: everything that Tributary can observe can be observed here.',
  limited: 'Usable, with the limits above.',
  unusable: 'Nothing can be observed by this process.',
};

/** One line for each finding, below it what it costs and what helps. */
export function formatReport({ verdict, obstacle, findings, hooks }: Report): string {
  const lines = findings.flatMap(({ id, status, value, cost, fix }) => [
    line(status, id, value),
    ...detail('costs', cost),
    ...detail('fix', fix),
  ]);
  const hookLines = hooks.flatMap(({ hook, status, backend, error, cost }) => [
    line(status, hook, status === 'ok' ? (backend ?? '') : (error ?? 'no backend')),
    ...detail('costs', cost),
  ]);
  const tried = obstacle === undefined ? hookLines : [line('unseen', 'hooks', obstacle)];
  return [...lines, '', ...tried, '', VERDICTS[verdict]].join('\n');
}

function line(status: Status, name: string, value: string): string {
  return `${status.padEnd(8)} ${name.padEnd(22)} ${value}`;
}

function detail(label: string, text: string | undefined): string[] {
  return text === undefined ? [] : [`${' '.repeat(31)} ${label}: ${text}`];
}

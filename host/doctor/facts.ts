// What the doctor finds, as an agent tells it to its reducer (schemas/wire.fbs, Hello).
import { clockState, type HookStatus } from '@tributary/bpf';
import { FindingStatus } from '../wire/gen/wire-layout.ts';
import type { Finding, Hello, Hook } from '../wire/gen/wire-tables.ts';
import { judge, type Status } from './findings.ts';
import { readMachine } from './machine.ts';

/** Hello has 16 KiB. What the verifier says of a program may be many lines, and the first has the reason. */
const TEXT_LENGTH_MAX = 160;

const STATUS: Record<Status, FindingStatus> = {
  ok: FindingStatus.Ok,
  limited: FindingStatus.Limited,
  missing: FindingStatus.Missing,
  unseen: FindingStatus.Unseen,
};

/** Of this machine and this process, and of the probes that it has loaded. */
export function readFacts(hooks: readonly HookStatus[]): Pick<Hello, 'findings' | 'hooks'> {
  const findings = judge(readMachine(), clockState()).map(
    ({ id, status, value }): Finding => ({ id, status: STATUS[status], text: value.slice(0, TEXT_LENGTH_MAX) }),
  );
  return { findings, hooks: hooks.map(toHook) };
}

function toHook({ hook, backend = '', attached, error = '' }: HookStatus): Hook {
  return { name: hook, backend: attached ? backend : '', error: attached ? '' : error.slice(0, TEXT_LENGTH_MAX) };
}

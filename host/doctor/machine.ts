// What the kernel says about this machine and this process, read from its files; undefined is what this process may not see.
import { accessSync, constants, readFileSync, readlinkSync } from 'node:fs';
import { arch, release } from 'node:os';
import { join } from 'node:path';

export interface Machine {
  kernel: string;
  architecture: string;
  /** The kernel describes its own types, and this process may read it. */
  hasBtf: boolean;
  /** none, integrity or confidentiality; undefined also without the lockdown module, which locks nothing. */
  lockdown: string | undefined;
  /** Of CAPABILITIES, those that are effective. */
  capabilities: CapabilityName[] | undefined;
  /** kernel.unprivileged_bpf_disabled: 0 = everybody may load programs. */
  unprivilegedBpfDisabled: number | undefined;
  lockedMemoryMax: string | undefined;
  cgroups: 'v2' | 'hybrid' | 'v1' | 'none' | undefined;
  isHostPidNamespace: boolean | undefined;
  isHostCgroupNamespace: boolean | undefined;
  /** /proc shows each user only its own processes. */
  hidesProcesses: boolean | undefined;
  clockSource: string | undefined;
  /** net.core.bpf_jit_enable is not 0. */
  compilesBpf: boolean | undefined;
  hasTracefs: boolean | undefined;
  hasBpffs: boolean | undefined;
}

/** Bit in the masks of /proc/PID/status (linux/capability.h). */
export const CAPABILITIES = {
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;
export type CapabilityName = keyof typeof CAPABILITIES;

/** The inode numbers of the first namespaces are fixed (linux/proc_ns.h). */
const HOST_CGROUP_NAMESPACE = 'cgroup:[4026531835]';
const HOST_PID_NAMESPACE = 'pid:[4026531836]';

/** `root`: where /proc and /sys are; elsewhere than / for a machine that was recorded. */
export function readMachine(root = '/'): Machine {
  const read = (path: string): string | undefined => attempt(() => readFileSync(join(root, path), 'utf8').trim());
  const link = (path: string): string | undefined => attempt(() => readlinkSync(join(root, path)));
  const mounts = attempt(() => parseMounts(readFileSync(join(root, 'proc/self/mountinfo'), 'utf8')));
  const unprivileged = read('proc/sys/kernel/unprivileged_bpf_disabled');
  const jit = read('proc/sys/net/core/bpf_jit_enable');
  return {
    kernel: read('proc/sys/kernel/osrelease') ?? release(),
    architecture: arch(),
    hasBtf: isReadable(join(root, 'sys/kernel/btf/vmlinux')),
    lockdown: /\[(\w+)\]/.exec(read('sys/kernel/security/lockdown') ?? '')?.[1],
    capabilities: parseCapabilities(read('proc/self/status')),
    unprivilegedBpfDisabled: unprivileged === undefined ? undefined : Number(unprivileged),
    lockedMemoryMax: /^Max locked memory +(\S+)/m.exec(read('proc/self/limits') ?? '')?.[1],
    cgroups: mounts && layoutOf(mounts),
    isHostPidNamespace: compare(link('proc/self/ns/pid'), HOST_PID_NAMESPACE),
    isHostCgroupNamespace: compare(link('proc/self/ns/cgroup'), HOST_CGROUP_NAMESPACE),
    hidesProcesses: mounts?.some(({ type, options }) => type === 'proc' && /\bhidepid=(?!0|off)/.test(options)),
    clockSource: read('sys/devices/system/clocksource/clocksource0/current_clocksource'),
    compilesBpf: jit === undefined ? undefined : jit !== '0',
    hasTracefs: mounts?.some(({ type }) => type === 'tracefs'),
    hasBpffs: mounts?.some(({ type }) => type === 'bpf'),
  };
}

interface Mount {
  type: string;
  options: string;
}

/** proc_pid_mountinfo(5): fields, of which some are optional, a dash, then type, source and options. */
function parseMounts(text: string): Mount[] {
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [type = '', , options = ''] = line.slice(line.indexOf(' - ') + 3).split(' ');
      return { type, options };
    });
}

function layoutOf(mounts: readonly Mount[]): Machine['cgroups'] {
  const hasV2 = mounts.some(({ type }) => type === 'cgroup2');
  const hasV1 = mounts.some(({ type }) => type === 'cgroup');
  if (hasV1) return hasV2 ? 'hybrid' : 'v1';
  return hasV2 ? 'v2' : 'none';
}

function parseCapabilities(status: string | undefined): CapabilityName[] | undefined {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? '')?.[1];
  if (mask === undefined) return undefined;
  const names = Object.keys(CAPABILITIES) as CapabilityName[];
  return names.filter((name) => (BigInt(`0x${mask}`) >> BigInt(CAPABILITIES[name])) & 1n);
}

function compare(found: string | undefined, expected: string): boolean | undefined {
  return found === undefined ? undefined : found === expected;
}

function isReadable(path: string): boolean {
  return attempt(() => accessSync(path, constants.R_OK) ?? true) ?? false;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

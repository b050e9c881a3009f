// Judges a machine: what each fact means for its user, and what would change it.
import type { ClockState } from '@tributary/bpf';
import type { Machine } from './machine.ts';

/** `missing`: nothing can be observed; `limited`: something is worse than it could be; `unseen`: this process may not look. */
export type Status = 'ok' | 'limited' | 'missing' | 'unseen';

export interface Finding {
  id: string;
  status: Status;
  value: string;
  /** What the user loses. */
  cost?: string;
  fix?: string;
}

const TRIED_KERNEL_MIN = [6, 1] as const;
const FAST_CLOCKS = /^(tsc|kvm-clock|arch_sys_counter|hyperv_clocksource.*|xen)$/;

type Judgement = Omit<Finding, 'id'>;

export function judge(machine: Machine, clock: ClockState | undefined): Finding[] {
  const judgements: Record<string, Judgement> = {
    kernel: judgeKernel(machine),
    architecture: judgeArchitecture(machine),
    btf: judgeBtf(machine),
    lockdown: judgeLockdown(machine),
    capabilities: judgeCapabilities(machine),
    unprivileged_bpf: judgeUnprivileged(machine),
    locked_memory: told(machine.lockedMemoryMax),
    jit: judgeFlag(machine.compilesBpf, 'on', 'off', {
      cost: 'the probes are interpreted, so each event takes more processor time',
      fix: 'sysctl -w net.core.bpf_jit_enable=1',
    }),
    cgroups: judgeCgroups(machine),
    pid_namespace: judgeFlag(machine.isHostPidNamespace, "the host's", "a container's", {
      cost: 'processes outside of the container keep their short name only',
      fix: "run the agent in the host's pid namespace (hostPID: true, --pid=host)",
    }),
    cgroup_namespace: judgeFlag(machine.isHostCgroupNamespace, "the host's", "a container's", {
      cost: 'connections of other containers are not named by their container',
      fix: "run the agent in the host's cgroup namespace (--cgroupns=host)",
    }),
    process_list: judgeFlag(invert(machine.hidesProcesses), 'of all users', 'of each user alone (hidepid)', {
      cost: 'without CAP_SYS_PTRACE, processes of other users keep their short name only',
      fix: 'give the agent CAP_SYS_PTRACE, or mount /proc without hidepid',
    }),
    clock_source: judgeClockSource(machine),
    clock_synchronization: judgeSynchronization(clock),
    tracefs: mounted(machine.hasTracefs),
    bpffs: mounted(machine.hasBpffs),
  };
  return Object.entries(judgements).map(([id, judgement]) => ({ id, ...judgement }));
}

function judgeKernel({ kernel }: Machine): Judgement {
  const [major, minor] = kernel.split('.').map(Number);
  const [majorMin, minorMin] = TRIED_KERNEL_MIN;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return { status: 'ok', value: kernel };
  return {
    ...{
      status: 'limited',
      value: kernel,
      cost: 'the probes were not tried on kernels before 6.1; the hooks below say what works',
    },
    fix: 'use a kernel from 6.1 on',
  };
}

function judgeArchitecture({ architecture }: Machine): Judgement {
  if (architecture === 'x64' || architecture === 'arm64') return { status: 'ok', value: architecture };
  return { status: 'missing', value: architecture, cost: 'there is no Node binary for it', fix: 'use x64 or arm64' };
}

function judgeBtf({ hasBtf }: Machine): Judgement {
  if (hasBtf) return { status: 'ok', value: '/sys/kernel/btf/vmlinux' };
  return {
    ...{ status: 'missing', value: 'none', cost: 'the probes cannot be fitted to this kernel: nothing is observed' },
    fix: 'use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y; those of Debian, Ubuntu and Fedora are',
  };
}

function judgeLockdown({ lockdown }: Machine): Judgement {
  if (lockdown !== 'confidentiality') return { status: 'ok', value: lockdown ?? 'none' };
  return {
    ...{ status: 'missing', value: lockdown, cost: 'the kernel lets no program read its memory: nothing is observed' },
    fix: 'boot with lockdown=integrity or without it',
  };
}

function judgeCapabilities({ capabilities }: Machine): Judgement {
  if (capabilities === undefined) return told(undefined);
  const value = capabilities.join(' ') || 'none';
  if (capabilities.includes('CAP_SYS_ADMIN')) return { status: 'ok', value };
  if (!capabilities.includes('CAP_BPF') || !capabilities.includes('CAP_PERFMON')) {
    return {
      ...{ status: 'missing', value, cost: 'this user may not load the probes: nothing is observed' },
      fix: 'run as root, or with CAP_BPF and CAP_PERFMON',
    };
  }
  if (capabilities.includes('CAP_SYS_PTRACE') && capabilities.includes('CAP_DAC_READ_SEARCH'))
    return { status: 'ok', value };
  return {
    ...{ status: 'limited', value, cost: 'processes of other users keep their short name only' },
    fix: 'add CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH',
  };
}

/** The agent does not mind; that everybody may load programs is the machine's risk, so it is said. */
function judgeUnprivileged({ unprivilegedBpfDisabled: disabled }: Machine): Judgement {
  if (disabled === undefined) return told(undefined);
  if (disabled !== 0) return { status: 'ok', value: 'only with capabilities' };
  return {
    ...{
      status: 'limited',
      value: 'everybody',
      cost: 'nothing for Tributary, but every user of this machine may load eBPF programs',
    },
    fix: 'sysctl -w kernel.unprivileged_bpf_disabled=2',
  };
}

function judgeCgroups({ cgroups }: Machine): Judgement {
  if (cgroups === undefined) return told(undefined);
  if (cgroups === 'v2') return { status: 'ok', value: cgroups };
  if (cgroups === 'hybrid') {
    return {
      ...{
        status: 'limited',
        value: cgroups,
        cost: 'units and containers are found by process: of those that end at once, some stay unnamed',
      },
      fix: 'boot with systemd.unified_cgroup_hierarchy=1',
    };
  }
  return {
    ...{ status: 'limited', value: cgroups, cost: 'connections are named by process, not by unit or container' },
    fix: 'mount cgroup2 on /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1',
  };
}

function judgeClockSource({ clockSource }: Machine): Judgement {
  if (clockSource === undefined) return told(undefined);
  if (FAST_CLOCKS.test(clockSource)) return { status: 'ok', value: clockSource };
  return {
    ...{
      status: 'limited',
      value: clockSource,
      cost: 'reading the time takes longer, and the probes read it for each event',
    },
    fix: 'write tsc to /sys/devices/system/clocksource/clocksource0/current_clocksource, where it is available',
  };
}

function judgeSynchronization(clock: ClockState | undefined): Judgement {
  if (clock === undefined) return told(undefined);
  if (clock.synchronized) return { status: 'ok', value: `within ${Math.ceil(clock.maxErrorUs / 1000)} ms` };
  return {
    ...{
      status: 'limited',
      value: 'not synchronized',
      cost: 'windows follow the clock of the reducer; times in logs of several hosts do not agree',
    },
    fix: 'run chrony or systemd-timesyncd',
  };
}

function judgeFlag(
  flag: boolean | undefined,
  good: string,
  bad: string,
  otherwise: { cost: string; fix: string },
): Judgement {
  if (flag === undefined) return told(undefined);
  return flag ? { status: 'ok', value: good } : { status: 'limited', value: bad, ...otherwise };
}

/** Nothing of ours needs it; for whoever reads a report from elsewhere. */
function told(value: string | undefined): Judgement {
  return value === undefined ? { status: 'unseen', value: 'not visible to this process' } : { status: 'ok', value };
}

function mounted(isMounted: boolean | undefined): Judgement {
  return told(isMounted === undefined ? undefined : `${isMounted ? 'mounted' : 'not mounted'}, not needed`);
}

function invert(flag: boolean | undefined): boolean | undefined {
  return flag === undefined ? undefined : !flag;
}

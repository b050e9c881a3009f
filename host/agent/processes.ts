// Names a process from /proc while it runs. Its arguments are never read: they hold secrets.
import { readFileSync, readlinkSync } from 'node:fs';
import type { ProcessToName } from '../wire/gen/agent-layout.ts';
import type { ProcessName } from './agent-core.ts';
import { chooseCgroupPath, readCgroupPath } from './cgroup.ts';
import type { CgroupPaths } from './cgroup-paths.ts';

/** /proc shows times in hundredths of a second on every architecture (USER_HZ). */
const NS_PER_TICK = 10_000_000n;
/** Fields of /proc/PID/stat after the parenthesis that ends comm; the start time is field 22 of all. */
const START_TIME_FIELD = 22 - 3;

export interface KeptOfProcesses {
  paths: CgroupPaths;
  /** What the kernel kept of the process: the name of its executable. */
  executableOf: (process: ProcessToName) => string | undefined;
}

/** By /proc, and by what was kept of a process that has ended, or is about to: its executable goes before its number. */
export function nameOwner(process: ProcessToName, { paths, executableOf }: KeptOfProcesses): ProcessName | undefined {
  const name = nameProcess(process);
  if (name === undefined) return nameEnded(process, { paths, executable: executableOf(process) });
  return name.executable === '' ? { ...name, executable: executableOf(process) ?? '' } : name;
}

/** Undefined when the process has ended, or its number belongs to another one by now. */
export function nameProcess({ pid, startTimeNs }: Pick<ProcessToName, 'pid' | 'startTimeNs'>): ProcessName | undefined {
  try {
    const folder = `/proc/${pid}`;
    const cgroup = chooseCgroupPath(readFileSync(`${folder}/cgroup`, 'utf8'));
    const executable = readExecutable(folder);
    // Last, so that all of the above was read of this process.
    if (readStartTicks(readFileSync(`${folder}/stat`, 'utf8')) !== startTimeNs / NS_PER_TICK) return undefined;
    return { executable, cgroup, ...readCgroupPath(cgroup) };
  } catch (error) {
    if (hasEnded(error)) return undefined;
    throw error;
  }
}

/**
 * What is left to be said of a process that has ended: by its control group, where the root group, in which v1 hosts keep everyone, says
 * nothing, and the name of its `executable` as the kernel kept it. Undefined when nothing is.
 */
export function nameEnded(
  { cgroupId }: Pick<ProcessToName, 'cgroupId'>,
  { paths, executable }: { paths: CgroupPaths; executable: string | undefined },
): ProcessName | undefined {
  const cgroup = paths.pathOf(cgroupId) ?? '/';
  if (cgroup === '/' && executable === undefined) return undefined;
  return { executable: executable ?? '', cgroup, ...readCgroupPath(cgroup) };
}

/** "" for a kernel thread, for a process that exits, and for one that this one may not inspect. */
function readExecutable(folder: string): string {
  try {
    return readlinkSync(`${folder}/exe`);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EACCES')) return '';
    throw error;
  }
}

/** `stat`: comm may hold parentheses and spaces, so it ends at the last parenthesis. */
export function readStartTicks(stat: string): bigint {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return BigInt(fields[START_TIME_FIELD]);
}

function hasEnded(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH');
}

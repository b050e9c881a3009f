// The part of a host that an agent looks at, when it is not all of it.
import { readlinkSync, statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { UsageError } from '../lib/usage-error.ts';
import { findCgroupRoot } from './cgroup-paths.ts';

export type ScopeKind = 'netns' | 'cgroup';

/** As the user names it: a network namespace, or a v2 control group with all below it. */
export interface ScopeSetting {
  kind: ScopeKind;
  path: string;
}

export interface Scope extends ScopeSetting {
  /** The kernel's number of it; of a control group that is the inode of its folder (cgroups(7)). */
  inode: number;
  /** Of a control group: how far it is below the root. */
  level: number;
}

/** The inode number of the first one is fixed (linux/proc_ns.h). */
const HOST_CGROUP_NAMESPACE = 'cgroup:[4026531835]';

/** Throws UsageError TRB_AGENT_SCOPE. `mounts`: text of /proc/PID/mountinfo. */
export function resolveScope(setting: ScopeSetting, mounts?: string): Scope {
  if (setting.kind === 'netns') {
    const { ino } = statScope(setting, setting.path, 'ip netns list shows the names under /run/netns');
    return { ...setting, inode: ino, level: 0 };
  }
  const root = findCgroupRoot(mounts);
  if (root === undefined) throw refusal(setting, 'this host has no v2 control groups');
  // From within, nobody can tell how far below the root a group is.
  if (readlinkSync('/proc/self/ns/cgroup') !== HOST_CGROUP_NAMESPACE)
    throw refusal(setting, "run the agent in the host's cgroup namespace (--cgroupns=host)");
  const path = resolve(isBelow(root, setting.path) ? setting.path : join(root, setting.path));
  const { ino } = statScope(setting, path, 'systemd-cgls shows the groups of this host');
  const below = relative(root, path);
  return { kind: 'cgroup', path, inode: ino, level: below === '' ? 0 : below.split('/').length };
}

/** Of which part an agent tells, on the wire. */
export function formatScope(scope: Scope | undefined): string {
  return scope === undefined ? '' : `${scope.kind}:${scope.inode}`;
}

function statScope(setting: ScopeSetting, path: string, hint: string): { ino: number } {
  try {
    return statSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw refusal(setting, `${reason}; ${hint}`);
  }
}

function refusal({ kind, path }: ScopeSetting, reason: string): UsageError {
  return new UsageError('TRB_AGENT_SCOPE', `--scope ${kind}=${path}: ${reason}`);
}

function isBelow(root: string, path: string): boolean {
  return path === root || path.startsWith(`${root}/`);
}

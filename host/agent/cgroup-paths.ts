// Path of a control group by its id, for processes that ended before anybody could ask /proc: the id of a v2 group is the inode of its
// directory (cgroups(7)). Groups come and go slowly, so the tree is walked when an unknown id turns up, and not more often than it is worth.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const WALK_PERIOD_MS = 1_000;
/** Directories of one walk; beyond it the rest stays unknown. */
const DIRECTORY_COUNT_MAX = 20_000;

export class CgroupPaths {
  readonly #root: string | undefined;
  readonly #nowMs: () => number;
  #paths = new Map<bigint, string>();
  #walkedMs = -Infinity;

  /** `root`: where the v2 hierarchy is mounted; undefined when it is not. `nowMs`: a clock that never steps. */
  constructor(root: string | undefined, nowMs: () => number) {
    this.#root = root;
    this.#nowMs = nowMs;
  }

  /** As /proc/PID/cgroup shows it; undefined when the group is not known, or gone. */
  pathOf(id: bigint): string | undefined {
    const known = this.#paths.get(id);
    if (known !== undefined || this.#root === undefined || this.#nowMs() - this.#walkedMs < WALK_PERIOD_MS)
      return known;
    this.#walkedMs = this.#nowMs();
    this.#paths = walk(this.#root);
    return this.#paths.get(id);
  }
}

function walk(root: string): Map<bigint, string> {
  const paths = new Map<bigint, string>();
  const waiting = ['/'];
  for (let path = waiting.pop(); path !== undefined && paths.size < DIRECTORY_COUNT_MAX; path = waiting.pop()) {
    const folder = join(root, path);
    try {
      paths.set(statSync(folder, { bigint: true }).ino, path);
      const entries = readdirSync(folder, { withFileTypes: true });
      for (const entry of entries) if (entry.isDirectory()) waiting.push(join(path, entry.name));
    } catch (error) {
      // Groups are removed while the tree is walked.
      if (!(error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENODEV')))
        throw error;
    }
  }
  return paths;
}

/** Mount point of the v2 hierarchy: "/sys/fs/cgroup" as a rule, elsewhere on hybrid hosts. `mounts`: text of /proc/PID/mountinfo. */
export function findCgroupRoot(mounts = readFileSync('/proc/self/mountinfo', 'utf8')): string | undefined {
  for (const line of mounts.split('\n')) {
    const [before, after] = line.split(' - ');
    const [, , , , mountPoint] = before.split(' ');
    if (after?.startsWith('cgroup2 ')) return mountPoint;
  }
  return undefined;
}

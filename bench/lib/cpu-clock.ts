/**
 * CPU time of this thread, ns. The kernel tells getrusage(2) of a thread what its last tick saw; asking for the whole process brings the running
 * thread up to date first (thread_group_cputime in kernel/sched/cputime.c).
 */
export function cpuNs(): number {
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return (user + system) * 1_000;
}

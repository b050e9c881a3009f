// What the numbers of a run were made on, and how busy it was besides.

import { readdirSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  processor: string;
  processors: number;
  architecture: string;
  kernel: string;
  node: string;
  memoryGib: number;
  /** Processes that want to run, mean of the last minute before the run. */
  load: number;
  time: string;
}

export function describeMachine(): Machine {
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    processors: availableParallelism(),
    architecture: arch(),
    kernel: release(),
    node: process.version,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    load: loadavg()[0],
    time: new Date().toISOString(),
  };
}

export function machineLine(machine: Machine): string {
  const { processor, processors, architecture, kernel, node, memoryGib, load, time } = machine;
  return `${processors} x ${processor} (${architecture}), ${memoryGib} GiB, Linux ${kernel}, Node ${node}, load ${load.toFixed(2)}, ${time}`;
}

/** Clock ticks of USER_HZ, which Linux fixes at 100 for user space. */
const TICK_MS = 10;

/** What all processors did since the start of the machine, ms: /proc/stat, proc(5). */
export interface ProcessorTime {
  /** Everything but idle and iowait, time stolen by the hypervisor left out. */
  busyMs: number;
  softirqMs: number;
  stolenMs: number;
}

export function readProcessorTime(): ProcessorTime {
  const [user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'latin1')
    .split('\n', 1)[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return {
    busyMs: (user + nice + system + irq + softirq) * TICK_MS,
    softirqMs: softirq * TICK_MS,
    stolenMs: steal * TICK_MS,
  };
}

export interface ProcessUse {
  cpuMs: number;
  rssMib: number;
  /** The greatest `rssMib` so far. */
  peakMib: number;
}

/** Of a process with all its threads; throws when it has ended. */
export function readProcessUse(pid: number): ProcessUse {
  // The name, which may hold anything, ends with the last parenthesis.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const mib = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) / 1024;
  const cpuMs = (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  return { cpuMs, rssMib: mib('VmRSS'), peakMib: mib('VmHWM') };
}

export interface ThreadTime {
  id: number;
  name: string;
  /** Time on a processor: the first field of /proc/PID/task/TID/schedstat. */
  cpuNs: number;
}

/** Of the threads that a process has now, in the order in which they began. */
export function readThreadTimes(pid: number): ThreadTime[] {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder)
    .map(Number)
    .sort((a, b) => a - b)
    .map((id) => ({
      id,
      name: readFileSync(`${folder}/${id}/comm`, 'latin1').trim(),
      cpuNs: Number(readFileSync(`${folder}/${id}/schedstat`, 'latin1').split(' ', 1)[0]),
    }));
}

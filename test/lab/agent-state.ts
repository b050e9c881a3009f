// What an agent says of itself when it is asked with SIGUSR1 (docs/operating.md).
import type { CollectorStats } from '@tributary/bpf';
import type { Role } from './lab.ts';
import { waitFor } from './wait.ts';

export interface AgentState {
  windows: { told: number; next: number; committed?: number };
  /** 64-bit numbers, as text. */
  core: Record<string, string>;
  kernel: CollectorStats;
  memory: { residentBytes: number };
}

export async function readState(agent: Role): Promise<AgentState> {
  const from = agent.log.length;
  agent.process.kill('SIGUSR1');
  return waitFor(
    () => {
      // What follows the last end of a line is still being written.
      const lines = agent.log.slice(from).split('\n').slice(0, -1);
      const line = lines.find((each) => each.includes('"msg":"state"'));
      return line === undefined ? undefined : (JSON.parse(line) as AgentState);
    },
    `${agent.name} to tell its state`,
    { detail: () => agent.log.slice(-4000) },
  );
}

/** Events that found the ring full, of all types. */
export function lostIn({ kernel }: AgentState): number {
  return Object.values(kernel.eventsLost).reduce((sum, count) => sum + count, 0);
}

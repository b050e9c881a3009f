// Connections that are open, by the agents and by `ss`.
import type { Lab } from './lab.ts';
import { waitFor } from './wait.ts';

/** Every connection has one end on each host, so what both show is one number; it needs a moment, since ends and windows come one by one. */
export async function assertActive(lab: Lab, hosts: readonly string[] = ['cli', 'srv']): Promise<void> {
  let last = '';
  await waitFor(
    async () => {
      const truth: number[] = [];
      for (const name of hosts) {
        const output = await lab.network.host(name).exec('ss', '-Htn', 'state', 'established');
        truth.push(output.split('\n').filter((line) => line !== '').length);
      }
      const { edges } = await lab.edges('role_role', 1);
      const active = edges.filter(({ transport }) => transport === 'tcp').reduce((sum, edge) => sum + edge.active, 0);
      last = `ss ${truth}, active ${active}`;
      return truth.every((count) => count === active) ? true : undefined;
    },
    'active to equal ss',
    { detail: () => last },
  );
}

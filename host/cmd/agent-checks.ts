// What the agent refuses at its start, apart from the other roles: their checks load the exporters, which an agent has no memory for.
import { type AgentOptions, resolveAgentOptions } from '../agent/options.ts';
import { refuseWithout } from '../config/conflicts.ts';
import type { Loaded } from '../config/load.ts';

/** Without effect when there is no reducer to connect to. */
export const OF_CONNECTION = ['agent.zstd', 'insecure', 'tls.ca', 'tls.cert', 'tls.key', 'tls.server-name'];

/** Throws UsageError. */
export function agentOptionsOf(loaded: Loaded): AgentOptions {
  const { agent, tls } = loaded.values;
  const options = resolveAgentOptions(loaded.values);
  if (agent.reducer === undefined) refuseWithout(loaded, 'agent.reducer', OF_CONNECTION);
  if (tls.cert === undefined) refuseWithout(loaded, 'tls.cert', ['tls.server-name']);
  if (!agent.dns) refuseWithout(loaded, 'agent.dns', ['agent.dns-names']);
  if (!agent.udp) refuseWithout(loaded, 'agent.udp', ['agent.udp-idle']);
  return options;
}

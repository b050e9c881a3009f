// The command line of `tributary agent`, in the process that reads it for the agent (agent-configuration.ts).
import type { Command } from 'commander';
import { addConfiguration, type Load } from '../config/load.ts';
import { UsageError } from '../lib/usage-error.ts';
import { agentOptionsOf } from './agent-checks.ts';
import { type AgentConfiguration, tellConfiguration } from './agent-configuration.ts';

const EXAMPLES = `
Examples:
  tributary agent --reducer 127.0.0.1:4400
  tributary agent --reducer reducer.example:4400 --tls-ca ca.pem --tls-cert web1.pem --tls-key web1-key.pem
  tributary agent --output file:/tmp/web1.zst --window 1s`;

export function register(command: Command): void {
  const load = addConfiguration(command, 'agent');
  command.addHelpText('after', EXAMPLES).action(() => tell(load));
}

function tell(load: Load): void {
  try {
    tellConfiguration({ configuration: read(load) });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    tellConfiguration({ refusal: { code: error.code, message: error.message } });
  }
}

/** Plain data: what checks an option stays behind. */
function read(load: Load): AgentConfiguration {
  const loaded = load();
  const { values } = loaded;
  const settings = loaded.settings.map(({ named: { key, roles }, given }) => ({ named: { key, roles }, given }));
  return { options: agentOptionsOf(loaded), values, settings };
}

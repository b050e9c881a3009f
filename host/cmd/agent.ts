// `tributary agent`: looks at the sockets of this host until it is told to stop.
import type { Command } from 'commander';
import { resolveAgentOptions } from '../agent/options.ts';
import { addConfiguration, type Load } from '../config/load.ts';
import { createLog } from '../telemetry/log.ts';
import { createAgent } from './create-agent.ts';
import { stopSignal } from './stop-signal.ts';

export function register(command: Command): void {
  const load = addConfiguration(command, 'agent');
  command.action(() => run(load));
}

async function run(load: Load): Promise<void> {
  const { values } = load();
  const failed = Promise.withResolvers<never>();
  const agent = await createAgent(resolveAgentOptions(values), createLog('agent', values.log), failed.reject);
  try {
    await agent.start();
    await Promise.race([stopSignal(), failed.promise]);
  } finally {
    await agent.stop();
  }
}

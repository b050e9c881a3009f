// `tributary agent`: looks at the sockets of this host until it is told to stop.
import type { Command } from 'commander';
import { addConfiguration, type Load } from '../config/load.ts';
import { Reload } from '../config/reload.ts';
import { createLog, DEFAULT_LOG_LEVEL } from '../telemetry/log.ts';
import { agentOptionsOf } from './agent-checks.ts';
import { createAgent, logMachine } from './create-agent.ts';
import { stopInTime, stopSignal, tellStateOnSignal } from './stop-signal.ts';

const EXAMPLES = `
Examples:
  tributary agent --reducer 127.0.0.1:4400
  tributary agent --reducer reducer.example:4400 --tls-ca ca.pem --tls-cert web1.pem --tls-key web1-key.pem
  tributary agent --output file:/tmp/web1.zst --window 1s`;

export function register(command: Command): void {
  const load = addConfiguration(command, 'agent');
  command.addHelpText('after', EXAMPLES).action(() => run(load));
}

async function run(load: Load): Promise<void> {
  const loaded = load();
  const stopped = stopSignal();
  const failed = Promise.withResolvers<never>();
  const log = createLog('agent', loaded.values.log);
  const reload = new Reload(
    { role: 'agent', loaded },
    {
      ...{ load, log, check: agentOptionsOf },
      apply: {
        'log.level': ({ log: { level = DEFAULT_LOG_LEVEL } }) => {
          log.level = level;
        },
      },
      always: () => agent.reload(),
    },
  );
  reload.start();
  const agent = await createAgent(agentOptionsOf(loaded), log, failed.reject);
  tellStateOnSignal(log, () => agent.state());
  try {
    await agent.start();
    logMachine(log, agent);
    reload.ready();
    await Promise.race([stopped, failed.promise]);
  } finally {
    reload.stop();
    await stopInTime(log, () => agent.stop());
  }
}

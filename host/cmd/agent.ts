// `tributary agent`: looks at the sockets of this host until it is told to stop.
import { Reload } from '../config/reload.ts';
import { UsageError } from '../lib/usage-error.ts';
import { createLog, DEFAULT_LOG_LEVEL } from '../telemetry/log.ts';
import { type AgentConfiguration, readConfiguration } from './agent-configuration.ts';
import { report } from './exit-code.ts';
import { stopInTime, stopSignal, tellStateOnSignal } from './stop-signal.ts';

type Program = typeof import('./create-agent.ts');

/** A file that changed while it was read is read again after the start. */
let isReloadDue = false;
const noteReload = (): void => {
  isReloadDue = true;
};
process.on('SIGHUP', noteReload);

try {
  // Most of this program is loaded while the other process reads.
  const [configuration, program] = await Promise.all([readConfiguration(), import('./create-agent.ts')]);
  if (typeof configuration === 'number') process.exit(configuration);
  await run(configuration, program);
  process.exit();
} catch (error) {
  // Not only exitCode: what was started by then would keep the process alive.
  process.exit(report(error));
}

async function run(configuration: AgentConfiguration, { createAgent, logMachine }: Program): Promise<void> {
  const stopped = stopSignal();
  const failed = Promise.withResolvers<never>();
  const log = createLog('agent', configuration.values.log);
  const reload = new Reload(
    { role: 'agent', loaded: configuration },
    {
      ...{ load: readAgain, log },
      apply: {
        'log.level': ({ log: { level = DEFAULT_LOG_LEVEL } }) => {
          log.level = level;
        },
      },
      always: () => agent.reload(),
    },
  );
  reload.start();
  process.off('SIGHUP', noteReload);
  if (isReloadDue) void reload.reload();
  const agent = await createAgent(configuration.options, log, failed.reject);
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

async function readAgain(): Promise<AgentConfiguration> {
  try {
    const configuration = await readConfiguration();
    if (typeof configuration !== 'number') return configuration;
    throw new UsageError('TRB_CONFIG', `the process that reads it ended with ${configuration}`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError('TRB_CONFIG', error instanceof Error ? error.message : String(error));
  }
}

// `tributary reducer`: joins, names and rolls up what agents tell until it is told to stop.
import type { Command } from 'commander';
import { addConfiguration, checked, type Load } from '../config/load.ts';
import { Reload } from '../config/reload.ts';
import { createLog, DEFAULT_LOG_LEVEL } from '../telemetry/log.ts';
import { EXIT_TRAP } from './defaults.ts';
import { ReducerService } from './reducer-service.ts';
import { reducerOptionsOf } from './role-checks.ts';
import { stopInTime, stopSignal, tellStateOnSignal } from './stop-signal.ts';

const EXAMPLES = `
Where to export by OTLP is said by OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_ENDPOINT first of all.

Examples:
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 tributary reducer --level az_az --level role_role
  tributary reducer --listen :4400 --tls-ca ca.pem --tls-cert reducer.pem --tls-key reducer-key.pem
  tributary reducer --prometheus-listen 127.0.0.1:9464`;

export function register(command: Command): void {
  const load = addConfiguration(command, 'reducer');
  command.addHelpText('after', EXAMPLES).action(() => run(load));
}

async function run(load: Load): Promise<void> {
  const loaded = load();
  const stopped = stopSignal();
  const log = createLog('reducer', loaded.values.log);
  const service = new ReducerService(reducerOptionsOf(loaded), {
    log,
    environment: process.env,
    fail: () => process.exit(EXIT_TRAP),
  });
  const reload = new Reload(
    { role: 'reducer', loaded },
    {
      ...{ load: checked(load, reducerOptionsOf), log },
      apply: {
        'log.level': ({ log: { level = DEFAULT_LOG_LEVEL } }) => {
          log.level = level;
        },
        'reducer.level': ({ reducer }) => service.exportLevels(reducer.level),
      },
      always: () => service.reload(),
    },
  );
  tellStateOnSignal(log, () => service.state());
  reload.start();
  await service.start();
  reload.ready();
  const signal = await stopped;
  reload.stop();
  log.info({ signal }, 'stopping');
  await stopInTime(log, () => service.stop());
}
